"""Write an actor package whole or not at all, and check every file of one that is read."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visualdub import __version__, temporaries
from visualdub.actor.record import RECORD, ActorRecord, load_record, read_json
from visualdub.errors import ActorError, InternalError, OutputError
from visualdub.render.providers import EXACT_HERE, RuntimeChoice, candidates
from visualdub.stops import held
from visualdub.storage import require_short_name, sync_below, write_json

if TYPE_CHECKING:
    from visualdub.face.seen import Likeness
    from visualdub.render.detail_frames import DetailFrames
    from visualdub.render.runtime import Renderer
    from visualdub.speech.style import SpeechStyle

IDENTITY, STYLE, RENDERER = "identity.npz", "style.safetensors", "renderer.onnx"
TEXTURE, WEIGHTS, REFERENCES, PREVIEW = (
    "texture.safetensors",
    "renderer.safetensors",
    "references",
    "preview.jpg",
)
REQUIRED = (IDENTITY, STYLE, RENDERER, TEXTURE, WEIGHTS)
SUFFIX = ".actor"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Actor:
    """One person, ready to be rendered. V model vertices, K expression components, R references."""

    folder: Path
    record: ActorRecord
    identity: NDArray[np.float64]  # (V, 3) neutral mesh, mouth closed, model units
    rest_jaw: float  # radians, the actor's mouth at rest
    rest_expression: NDArray[np.float64]  # (K,)
    references: NDArray[np.uint8]  # (R, 256, 256, 3) R'G'B' crops; the renderer holds them, too
    style: SpeechStyle  # how this actor speaks
    runtime: RuntimeChoice = EXACT_HERE  # what the renderer runs on

    @property
    def is_draft(self) -> bool:
        """Whether the actor has no network yet, and is drawn out of `detail_frames` alone."""
        return False

    @property
    def renderer_path(self) -> Path:
        """The ONNX renderer's file."""
        return self.folder / RENDERER

    @cached_property
    def renderer_hash(self) -> str:
        """SHA-256 of the ONNX file that is rendered with, which holds network, texture and references."""
        exact = not self.runtime.fast
        return file_hash(self.renderer_path if exact else self.renderer.model_path)

    @cached_property
    def likeness(self) -> Likeness:
        """What the actor is recognised by; made on first use."""
        from visualdub.face.recognise import likeness_of

        return likeness_of(self.record.face_model, self.identity, self.references)

    @cached_property
    def renderer(self) -> Renderer:
        """The renderer, loaded on first use. Raises `ActorError` where its file is no renderer, `BadInput`
        where it cannot run as `runtime` has it.
        """
        from visualdub.render.runtime import Renderer

        return Renderer(self.renderer_path, choice=self.runtime)

    @cached_property
    def colours(self) -> NDArray[np.float32] | None:
        """(S, S, 3) R'G'B' 0..1 of the actor's texture by texture coordinates, in the light of the
        adaptation; NaN where it knows none. None where the package's texture holds no colours.
        """
        return _load_colours(self.folder / TEXTURE)

    @cached_property
    def detail_frames(self) -> DetailFrames | None:
        """Frames of the footage that lend their fine detail, read on first use; None where the package has
        none. Raises `ActorError` where they cannot be read.
        """
        from visualdub.actor.detail import read_detail

        return read_detail(self.folder)


# ---- writing -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def actor_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that is sealed and renamed to `path` at the end of the block.

    Where the block raises, it is removed. A package that is already at `path` stays until the new one is
    whole. Raises `ActorError` where `path` is anything but an actor package, `OutputError` where nothing can
    be written there.
    """
    require_package_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with held():
            partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
            temporaries.register(partial)
    except OSError as e:
        raise OutputError(f"{path.parent}: no actor package can be written here ({e.strerror})") from e
    try:
        yield partial
        seal(partial)
        partial.chmod(0o755)
        sync_below(partial)
        with held():
            _swap(partial, path)
            temporaries.forget(partial)
    except BaseException:
        temporaries.remove(partial)
        raise


def require_package_path(path: Path) -> None:
    """Raise `ActorError` where `path` holds anything else than an actor package, `OutputError` where nothing
    can be written there. Folders above it may be missing.
    """
    require_short_name(path)
    if path.is_file() or (path.is_dir() and not (path / RECORD).is_file() and any(path.iterdir())):
        raise ActorError(f"{path} exists and is not an actor package; it is not replaced")
    above = next(p for p in path.absolute().parents if p.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        found = "is read-only" if above.is_dir() else "is not a folder"
        raise OutputError(f"{above} {found}; no actor package can be written there")


def _swap(partial: Path, path: Path) -> None:
    """Move `partial` to `path`; a package that was there is removed afterwards."""
    if not path.exists():
        partial.rename(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent)) / path.name
    path.rename(old)
    try:
        partial.rename(path)
    except BaseException:
        old.rename(path)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


def write_package(
    folder: Path,
    record: ActorRecord,
    identity: NDArray[np.float64],
    rest_jaw: float,
    rest_expression: NDArray[np.float64],
    references: NDArray[np.uint8],
    style: SpeechStyle,
) -> None:
    """Write everything of a package but its networks into `folder`, usually one of `actor_folder`.

    identity: (V, 3). rest_jaw: radians. rest_expression: (K,). references: uint8 (R, 256, 256, 3). The caller
    adds texture, weights and graph of the renderer: `texture.safetensors`, `renderer.safetensors` and
    `renderer.onnx`.
    """
    if references.dtype != np.uint8 or references.ndim != 4 or references.shape[1:] != (256, 256, 3):
        raise InternalError(
            f"references are {references.dtype} {references.shape}; expected uint8 (R, 256, 256, 3)"
        )
    np.savez_compressed(
        folder / IDENTITY,
        identity=np.asarray(identity, np.float64),
        rest_jaw=np.float64(rest_jaw),
        rest_expression=np.asarray(rest_expression, np.float64),
    )
    _save_style(style, folder / STYLE)
    (folder / REFERENCES).mkdir(exist_ok=True)
    for i, picture in enumerate(references):
        Image.fromarray(picture).save(folder / REFERENCES / f"{i:02d}.png")
    Image.fromarray(references[0]).save(folder / PREVIEW, quality=90)
    write_record(folder, record)


def write_record(folder: Path, record: ActorRecord) -> None:
    """Write `actor.json`; the file hashes that are in it stay."""
    files = read_json(folder).get("files", {}) if (folder / RECORD).is_file() else {}
    if not record.version:
        record = dataclasses.replace(record, version=__version__)
    write_json(folder / RECORD, {**record.to_json(), "files": files})


def seal(folder: Path) -> None:
    """Write the SHA-256 of every file of the package into its `actor.json`, where `load_actor` checks them.

    Call it again after a file was changed on purpose, such as by another export of the renderer. Raises
    `ActorError` where a file is missing.
    """
    data = read_json(folder)
    _check_present(folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != RECORD)
    data["files"] = {p.relative_to(folder).as_posix(): file_hash(p) for p in files}
    write_json(folder / RECORD, data)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


# ---- reading -----------------------------------------------------------------------------------------------


def load_actor(folder: Path, runtime: RuntimeChoice = EXACT_HERE) -> Actor:
    """Read and check the package at `folder`. runtime: what its renderer runs on.

    Raises `ActorError` where a file is missing, was changed or is of another kind, and where consent is
    withdrawn: nothing is rendered from such an actor; `BadInput` where it cannot run as `runtime` has it.
    """
    record = load_record(folder)
    if record.consent.withdrawn is not None:
        raise ActorError(
            f"{folder}: {record.consent.who} withdrew consent on {record.consent.withdrawn}; nothing is"
            " rendered from this actor"
        )
    _check_present(folder)
    if runtime != EXACT_HERE:
        candidates(runtime, folder / RENDERER)
    for name, expected in sorted(read_json(folder).get("files", {}).items()):
        _check_hash(folder, name, expected)
    identity, rest_jaw, rest_expression = _load_identity(folder / IDENTITY)
    log.debug("%s: actor %s, %d steps, prior %s", folder, record.name, record.steps, record.prior_hash)
    return Actor(
        folder,
        record,
        identity,
        rest_jaw,
        rest_expression,
        _load_references(folder),
        _load_style(folder / STYLE),
        runtime,
    )


def _check_present(folder: Path) -> None:
    for name in REQUIRED:
        if not (folder / name).is_file():
            raise ActorError(f"{folder} holds no {name}; expected the whole package as written by vdub adapt")
    if not any((folder / REFERENCES).glob("*.png")):
        raise ActorError(
            f"{folder} holds no {REFERENCES}/*.png; expected the whole package as written by vdub adapt"
        )


def _check_hash(folder: Path, name: str, expected: str) -> None:
    path = folder / name
    if not path.is_file():
        raise ActorError(f"{folder} holds no {name}; expected the whole package as written by vdub adapt")
    if file_hash(path) != expected:
        raise ActorError(
            f"{path} is not the file this package was sealed with; expected SHA-256 {expected[:12]}..."
        )


def _load_identity(path: Path) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    try:
        with np.load(path, allow_pickle=False) as z:
            identity, jaw, expression = z["identity"], float(z["rest_jaw"]), z["rest_expression"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as e:
        raise ActorError(f"{path} is not an identity written by vdub adapt: {e}") from e
    if identity.ndim != 2 or identity.shape[1] != 3 or expression.ndim != 1:
        raise ActorError(
            f"{path} holds shapes {identity.shape} and {expression.shape}; expected (V, 3) and (K,)"
        )
    return identity, jaw, expression


def _load_references(folder: Path) -> NDArray[np.uint8]:
    pictures = []
    for path in sorted((folder / REFERENCES).glob("*.png")):
        try:
            with Image.open(path) as picture:
                pictures.append(np.asarray(picture.convert("RGB")))
        except OSError as e:
            raise ActorError(f"{path} is not a picture: {e}") from e
        if pictures[-1].shape != (256, 256, 3):
            raise ActorError(f"{path} is {pictures[-1].shape[1]}x{pictures[-1].shape[0]}; expected 256x256")
    return np.stack(pictures)


KNOWN_FROM = 0.0  # of the texture's confidence, its channel 3, a logit


def _load_colours(path: Path) -> NDArray[np.float32] | None:
    """The colours of a neural texture (1, C, S, S), its channels 0 to 2."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as f:
            texture = np.asarray(f.get_tensor("texture"), np.float32)
    except (SafetensorError, OSError) as e:
        log.debug("%s holds no texture: %s", path, e)
        return None
    if texture.ndim != 4 or texture.shape[0] != 1 or texture.shape[1] < 4:
        log.debug("%s holds a texture of shape %s", path, texture.shape)
        return None
    colours = np.moveaxis(texture[0, :3], 0, -1)
    return np.where(texture[0, 3, :, :, None] > KNOWN_FROM, colours, np.float32(np.nan))


# ---- speech style: numbers as arrays, text as metadata ----------------------------------------------------


def _save_style(style: SpeechStyle, path: Path) -> None:
    from safetensors.numpy import save_file

    values = style.to_json()
    words = {k: v for k, v in values.items() if isinstance(v, str)}
    save_file(
        {k: np.atleast_1d(np.asarray(v, np.float64)) for k, v in values.items() if k not in words},
        path,
        metadata=words,
    )


def _load_style(path: Path) -> SpeechStyle:
    from safetensors import SafetensorError, safe_open

    from visualdub.speech.style import SpeechStyle

    try:
        with safe_open(path, framework="numpy") as f:
            values = {k: f.get_tensor(k).tolist() for k in f.keys()}  # noqa: SIM118  (not a mapping)
            words = f.metadata() or {}
        return SpeechStyle.from_json(
            {**{k: v[0] if k == "seconds" else v for k, v in values.items()}, **words}
        )
    except (SafetensorError, OSError, TypeError, ValueError) as e:
        raise ActorError(f"{path} is not a speech style written by vdub adapt: {e}") from e

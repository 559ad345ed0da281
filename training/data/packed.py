"""Packed clips: crops as WebP, face parameters and spectrograms. UV maps and masks are computed again from
the parameters.

A dataset is a folder: `dataset.json` lists its clips, each of which is a shard, a memory-mapped safetensors
file beside it. Reading needs neither MediaPipe nor the clips themselves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from training.data.aligned_references import ReferencePool, no_references
from training.data.frames import View
from training.data.uvmap import pack_uv
from visualdub.box import Box
from visualdub.errors import BadInput
from visualdub.face.camera import WEAK_PERSPECTIVE, Camera
from visualdub.face.crop import Crop
from visualdub.face.geometry import frame_geometry
from visualdub.face.models import DEFAULT_FACE_MODEL
from visualdub.face.track import Performance, Track
from visualdub.render.aligned_references import CHANNELS
from visualdub.storage import atomic_path

SCHEMA = 1
INDEX = "dataset.json"
SUFFIX = ".shard"
META = "shard"  # the entry of a shard's metadata that holds its facts as JSON
RATE = Fraction(25)  # frames per second of every packed clip
PARAMETERS = ("confidence", "scale", "rotation", "translation", "identity", "jaw", "expression")


@dataclass(frozen=True)
class ClipFacts:
    """One packed clip as the index lists it."""

    name: str  # of its shard, without suffix
    speaker: str
    split: str  # "train" or "validation"
    frames: int
    usable: int  # frames with a face
    face_pixels: float  # median side of the crop in square pixels; below 256 the crop is enlarged
    source_hash: str
    sound: bool
    # ms by which the audio leads the video in the clip, corrected in the shard; None: not known
    av_offset_ms: float | None = None


# ---- writing -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShardPictures:
    """The pictures of a shard and where they lie."""

    crops: Iterable[NDArray[np.uint8]]  # n of (S, S, 3) R'G'B'
    affine: NDArray[np.float64]  # (n, 2, 3) of `Crop.affine`: square to crop pixels
    mouth: NDArray[np.int32]  # (n, 4) the lips' boxes


def write_shard(
    path: Path,
    track: Track,
    frames: ShardPictures,
    mel: NDArray[np.float32] | None,
    quality: int,
    recipe: str = "",
    av_offset_ms: float | None = None,
) -> None:
    """Write the shard of the frames of `track`, which is already at `RATE`; the file is whole or absent.

    mel: (n, 80, 16), or None. quality: of WebP, 1..100. recipe: everything else that the shard's bytes
    depend on. av_offset_ms: ms by which the audio led the video, corrected in `mel`. Raises `OutputError`
    where the file cannot be written.
    """
    pictures = [
        cv2.imencode(".webp", np.ascontiguousarray(c[..., ::-1]), [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
        for c in frames.crops
    ]
    ends = np.cumsum([0, *(len(p) for p in pictures)]).astype(np.int64)
    tensors: dict[str, NDArray[Any]] = {k: np.ascontiguousarray(getattr(track, k)) for k in PARAMETERS}
    tensors |= {
        "pictures": np.concatenate([p.ravel() for p in pictures]),
        "ends": ends,
        "affine": frames.affine,
        "mouth": frames.mouth,
    }
    if mel is not None:
        tensors["mel"] = mel.astype(np.float16)
    unusual = {} if track.camera == WEAK_PERSPECTIVE else {"camera": json.dumps(track.camera.to_json())}
    if track.pixel_aspect != 1:
        unusual["pixel_aspect"] = str(track.pixel_aspect)
    meta = unusual | {
        "schema": str(SCHEMA),
        "quality": str(quality),
        "face_model": track.face_model,
        "source": track.source,
        "source_hash": track.source_hash,
        "size": json.dumps(track.size),
        "rate": str(track.rate),
        "recipe": recipe,
        "av_offset_ms": json.dumps(av_offset_ms),
    }
    facts = json.dumps(meta | {"checksum": _checksum(tensors, meta)}, sort_keys=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(
            save(tensors, {META: facts})
        )  # one entry: safetensors writes several in random order


def _checksum(tensors: Mapping[str, NDArray[Any]], meta: Mapping[str, str]) -> str:
    """BLAKE2b (128 bits, hexadecimal) of everything in a shard."""
    total = hashlib.blake2b(json.dumps(sorted(meta.items())).encode(), digest_size=16)
    for name in sorted(tensors):
        total.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        total.update(np.ascontiguousarray(tensors[name]).data)
    return total.hexdigest()


# ---- reading -----------------------------------------------------------------------------------------------


def _open(path: Path) -> Any:
    return safe_open(path, "np")  # its methods carry no types


def _meta(file: Any) -> dict[str, str]:
    """The facts that `write_shard` stored; none in another file."""
    facts = json.loads((file.metadata() or {}).get(META, "{}"))
    return facts if isinstance(facts, dict) else {}


def read_whole(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Metadata and tensors of a shard, its checksum verified. Raises `BadInput` where a byte differs from
    what was written.
    """
    try:
        with _open(path) as file:
            meta = _meta(file)
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, json.JSONDecodeError) as e:
        raise BadInput(f"{path} is not a whole shard of vdub train prepare: {e}") from e
    if meta.pop("checksum", "") != _checksum(tensors, meta):
        raise BadInput(
            f"{path} is damaged: its bytes are not those that vdub train prepare wrote; prepare it again"
        )
    return meta, tensors


@dataclass(frozen=True)
class _FrameCache:
    """Frames that were decoded once, in one array each: many small arrays between the network's large ones
    would fragment the heap.
    """

    frames: View
    cached: NDArray[np.bool_]  # (n,)

    @classmethod
    def empty(cls, count: int, view_box: Box) -> _FrameCache:
        """Room for `count` frames, of which none is there yet."""
        h, w = view_box.height, view_box.width
        crops, uv = np.empty((count, h, w, 3), np.uint8), np.empty((count, h, w, 2), np.uint16)
        return cls(View(crops, uv, np.empty((count, h, w), np.uint8)), np.zeros(count, np.bool_))


class PackedClip:
    """`Frames` of one shard, read one by one; can be sent to worker processes."""

    def __init__(
        self, path: Path, view_box: Box, keep: bool = False, model: str = DEFAULT_FACE_MODEL
    ) -> None:
        """view_box: the part of the crop to serve. keep: whether frames that were read stay in memory. model:
        the face model that the shard must be made with.

        Raises `BadInput` for a file that is not a shard of this version and face model.
        """
        self.path, self.view_box, self.keep = path, view_box, keep
        try:
            self._file = _open(path)
            meta = _meta(self._file)
            if meta.get("schema") != str(SCHEMA):
                raise BadInput(
                    f"{path} is a shard of schema {meta.get('schema')}; this version reads schema {SCHEMA}"
                )
            held = {k: self._file.get_tensor(k) for k in (*PARAMETERS, "affine", "mouth", "ends")}
            sound = "mel" in self._file.keys()  # noqa: SIM118 (safe_open is no mapping)
            self.mel: NDArray[np.float16] | None = self._file.get_tensor("mel") if sound else None
        except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as e:
            raise BadInput(f"{path} is not a whole shard of vdub train prepare: {e}") from e
        if meta["face_model"] != model:
            raise BadInput(
                f"{path} was made with face model {meta['face_model']}; expected {model}: prepare it again"
            )
        n = len(held["confidence"])
        none = np.full((n, 478, 3), np.nan, np.float32)
        width, height = json.loads(meta["size"])
        self.track = Track(
            meta["source"],
            meta["source_hash"],
            (width, height),
            Fraction(meta["rate"]),
            0,
            none,
            face_model=meta["face_model"],
            camera=Camera.from_json(json.loads(meta["camera"])) if "camera" in meta else WEAK_PERSPECTIVE,
            pixel_aspect=Fraction(meta.get("pixel_aspect", "1")),
            **{k: held[k] for k in PARAMETERS},
        )
        self.crop = Crop(held["affine"], pixel_aspect=self.track.pixel_aspect)
        self.mouth, self._ends = held["mouth"], held["ends"]
        self.usable = self.track.usable
        self._performance = Performance.of_track(self.track)
        self._cache: _FrameCache | None = None

    def __len__(self) -> int:
        return len(self.usable)

    @property
    def face_pixels(self) -> float:
        """Median side of the crop in square pixels; below the crop's own size it is enlarged."""
        return float(self.crop.size / np.median(self.crop.scale[self.usable]))

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_file", "_cache")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _file=_open(state["path"]), _cache=None)

    def view(self, rows: Sequence[int]) -> View:
        """The frames `rows`, cut to the view. Raises `BadInput` where one is damaged."""
        return View(*(np.stack(parts) for parts in zip(*(self._one(int(i)) for i in rows), strict=True)))

    def _one(self, i: int) -> View:
        if self.keep and self._cache is None:
            self._cache = _FrameCache.empty(len(self), self.view_box)
        if self._cache is not None and self._cache.cached[i]:
            return View(*(x[i] for x in self._cache.frames))
        part = self.view_box.slices()
        geometry = frame_geometry(self.track, self.crop, self._performance, i)
        made = View(
            self.picture(i)[part].copy(),
            pack_uv(geometry.uv[part]),
            (geometry.mask[part] > 0.5).astype(np.uint8),
        )
        if self._cache is not None:
            self._cache.cached[i] = True
            frames = self._cache.frames
            frames.crops[i], frames.uv[i], frames.mask[i] = made
        return made

    def aligned(self, rows: Sequence[int], pool: ReferencePool | None) -> NDArray[np.uint8]:
        """(t, h, w, 4) the aligned references of the frames `rows`, out of `pool`."""
        if pool is None:
            return no_references(len(rows), self.view_box.height, self.view_box.width, CHANNELS)
        references, part = pool.aligned_to(self), self.view_box.slices()
        return np.stack([references.of_frame(int(i))[part] for i in rows])

    def picture(self, i: int) -> NDArray[np.uint8]:
        """Crop `i`, (S, S, 3) R'G'B'. Raises `BadInput` where it is damaged."""
        data = self._file.get_slice("pictures")[int(self._ends[i]) : int(self._ends[i + 1])]
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
        if picture is None or picture.shape[:2] != (self.crop.size, self.crop.size):
            raise BadInput(
                f"{self.path}: frame {i} cannot be decoded; the shard is damaged, delete it and prepare again"
            )
        return np.asarray(picture[..., ::-1])


class Dataset:
    """The index of a packed dataset."""

    def __init__(self, folder: Path) -> None:
        """folder: of the dataset. Raises `BadInput` where it is not a dataset of this version."""
        self.folder = folder
        path = folder / INDEX
        try:
            index = path.read_bytes()
            data, self.hash = json.loads(index), hashlib.sha256(index).hexdigest()
            if data.get("schema") != SCHEMA:
                raise BadInput(f"{path} has schema {data.get('schema')}; this version reads schema {SCHEMA}")
            self.clips = [ClipFacts(**c) for c in data["clips"]]
        except FileNotFoundError:
            raise BadInput(f"{folder} holds no {INDEX}; expected a dataset of vdub train prepare") from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, TypeError, KeyError, AttributeError) as e:
            raise BadInput(f"{path} is not the index of a dataset: {e}") from e

    def people(self, split: str) -> dict[str, list[ClipFacts]]:
        """The clips of a split ("train" or "validation") by speaker, both sorted by name."""
        names = sorted({c.speaker for c in self.clips if c.split == split})
        return {
            s: sorted((c for c in self.clips if c.speaker == s and c.split == split), key=lambda c: c.name)
            for s in names
        }

    def open(self, clip: ClipFacts, view_box: Box, keep: bool = False) -> PackedClip:
        """Open the clip's shard; arguments as in `PackedClip`.

        Raises `BadInput` where it is missing, damaged or of another length than the index says.
        """
        packed = PackedClip(self.folder / f"{clip.name}{SUFFIX}", view_box, keep)
        if len(packed) != clip.frames:
            raise BadInput(
                f"{packed.path} holds {len(packed)} frames, {INDEX} says {clip.frames}; prepare it again"
            )
        return packed


def thinned(track: Track, most: int) -> tuple[Track, NDArray[np.int64]]:
    """The track at `RATE`, of at most `most` frames, and the numbers (n,) of its frames in the given track.

    Each new frame is the one on screen in its middle. A clip slower than `RATE` keeps all its frames and its
    rate.
    """
    rate = min(track.rate, RATE)
    count = min(most, int(len(track) * rate / track.rate))
    rows = np.array([int((i + Fraction(1, 2)) * track.rate / rate) for i in range(count)], np.int64)
    per_frame = {k: getattr(track, k)[rows] for k in (*PARAMETERS, "landmarks") if k != "identity"}
    return replace(track, rate=rate, **per_frame), rows

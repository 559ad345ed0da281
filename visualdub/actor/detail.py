"""The frames of an actor package that lend their fine detail: written and read.

A package keeps them in the folder `detail`: pictures `000.jpg`, `001.jpg`, ... of the lower face at the
plate's resolution, and `frames.npz` with what the face did in each. A package without the folder is drawn
without them.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from visualdub.errors import ActorError
from visualdub.render.detail_frames import DetailFrames

FOLDER, NUMBERS = "detail", "frames.npz"
FORMAT = 1


def write_detail(folder: Path, frames: DetailFrames) -> None:
    """Write the frames into the package at `folder`, which is sealed afterwards by whoever writes it."""
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    for i, picture in enumerate(frames.pictures):
        (target / f"{i:03d}.jpg").write_bytes(picture)
    np.savez_compressed(
        target / NUMBERS,
        format=FORMAT,
        mesh=frames.mesh,
        jaw=frames.jaw,
        expression=frames.expression,
        rotation=frames.rotation,
        scale=frames.scale,
        source_hash=np.array(frames.source_hash),
        number=frames.number,
    )


def read_detail(folder: Path) -> DetailFrames | None:
    """The frames in the package at `folder`; None where it has none. Raises `ActorError` where they cannot be
    read.
    """
    target = folder / FOLDER
    if not target.is_dir():
        return None
    path = target / NUMBERS
    try:
        with np.load(path, allow_pickle=False) as z:
            if int(z["format"]) != FORMAT:
                raise ActorError(f"{path} has format {int(z['format'])}; this version reads {FORMAT}")
            count = len(z["number"])
            frames = DetailFrames(
                pictures=tuple((target / f"{i:03d}.jpg").read_bytes() for i in range(count)),
                mesh=np.asarray(z["mesh"], np.float32),
                jaw=np.asarray(z["jaw"], np.float64),
                expression=np.asarray(z["expression"], np.float64),
                rotation=np.asarray(z["rotation"], np.float64),
                scale=np.asarray(z["scale"], np.float64),
                source_hash=tuple(str(h) for h in z["source_hash"]),
                number=np.asarray(z["number"], np.int64),
            )
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as e:
        raise ActorError(f"{path} and its pictures are not detail frames written by vdub adapt: {e}") from e
    _check_shapes(path, frames)
    return frames


def _check_shapes(path: Path, frames: DetailFrames) -> None:
    n = len(frames)
    shapes = (frames.mesh.shape[::2], frames.jaw.shape, frames.rotation.shape, frames.scale.shape)
    if n == 0 or shapes != ((n, 3), (n,), (n, 3, 3), (n,)) or frames.expression.shape[:1] != (n,):
        raise ActorError(f"{path} holds shapes {shapes} for {n} frames; expected one entry for each frame")

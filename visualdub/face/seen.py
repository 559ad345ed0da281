"""A face that was seen in a stretch of frames, what it is recognised by, and both in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Likeness:
    """What a person is known by, from `count` frames."""

    shape: NDArray[np.float32]  # (468, 3) neutral face, mouth closed, in face widths
    texels: NDArray[np.float32] | None  # (T, 3) mean of `plain_texels`; None: the looks are not known
    count: int


@dataclass(frozen=True)
class SeenFace:
    """One face from where it comes into view to where it is lost, within one shot."""

    start: int  # first frame of the clip that it is found in
    end_exclusive: int
    count: int  # frames between them in which it is found
    person: int  # 0 is the most present person of the tracked frames
    best: int  # frame of the clip in which it is largest
    box: tuple[float, float, float, float]  # left, top, right, bottom of its landmarks there, square pixels
    likeness: Likeness


def shifted(face: SeenFace, frames: int) -> SeenFace:
    """The same face where the numbers of all frames are larger by `frames`."""
    start, end, best = face.start + frames, face.end_exclusive + frames, face.best + frames
    return replace(face, start=start, end_exclusive=end, best=best)


# ---- in files ----------------------------------------------------------------------------------------------


def faces_to_arrays(faces: Sequence[SeenFace]) -> dict[str, NDArray[Any]]:
    """Arrays by name that `read_faces` reads; F faces, T texels."""
    if not faces:
        empty = {"faces": np.zeros((0, 5), np.int64), "face_boxes": np.zeros((0, 4))}
        return empty | {name: np.zeros((0, 0, 3), np.float32) for name in ("face_shapes", "face_texels")}
    texels = [f.likeness.texels for f in faces]
    rows = [(f.start, f.end_exclusive, f.count, f.person, f.best) for f in faces]
    return {
        "faces": np.array(rows, np.int64).reshape(-1, 5),
        "face_boxes": np.array([f.box for f in faces], np.float64).reshape(-1, 4),
        "face_shapes": np.array([f.likeness.shape for f in faces], np.float32).reshape(len(faces), -1, 3),
        "face_texels": np.array(texels, np.float32).reshape(len(faces), -1, 3),
    }


def read_faces(arrays: Mapping[str, NDArray[Any]]) -> tuple[SeenFace, ...]:
    """What `faces_to_arrays` gave."""
    columns = [arrays[name] for name in ("faces", "face_boxes", "face_shapes", "face_texels")]
    faces = []
    for (start, end, count, person, best), box, shape, texels in zip(*columns, strict=True):
        left, top, right, bottom = box.tolist()
        numbers = (int(start), int(end), int(count), int(person), int(best))
        faces.append(SeenFace(*numbers, (left, top, right, bottom), Likeness(shape, texels, int(count))))
    return tuple(faces)

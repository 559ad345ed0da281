"""An artist's holdout matte, a movie or numbered pictures, read frame by frame in step with its clip."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput, MediaError
from visualdub.media.frame import ClipInfo, Frame
from visualdub.media.pixel_format import is_rgb
from visualdub.media.source import open_source, probe
from visualdub.media.yuv import luma_code
from visualdub.stages import Progress
from visualdub.storage import content_hash
from visualdub.timing import FrameRange

PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".webp")
_PATTERN = re.compile(r"#+|%0?\d*d")  # in a name, what stands for the number of a picture
_NUMBERED = re.compile(r"(.*?)(\d+)(\.[A-Za-z]+)")  # start, number and suffix of a picture's name


@dataclass(frozen=True)
class HoldoutMatte:
    """A matte of a whole clip: white where the plate stays, black where the mouth may be drawn."""

    path: Path  # as it was given
    pictures: tuple[Path, ...]  # one for each frame, in order; empty for a movie
    width: int  # pixels
    height: int
    frame_count: int
    rate: Fraction | None  # frames per second; None for pictures, which have none

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that is read."""
        return self.pictures or (self.path,)

    @cached_property
    def hash(self) -> str:
        """Hexadecimal; two mattes of one hash have the same bytes."""
        hashes = [content_hash(p) for p in self.files]
        if len(hashes) == 1:
            return hashes[0]
        return hashlib.blake2b(" ".join(hashes).encode(), digest_size=16).hexdigest()

    def frames(self, frames: FrameRange) -> Iterator[NDArray[np.uint8]]:
        """The matte (H, W) of each frame of the clip in `frames`, in order, 255 = white; one at a time.

        Raises `MediaError` where a picture cannot be read or is of another size.
        """
        if self.pictures:
            yield from (self._picture(self.pictures[i]) for i in frames)
            return
        with open_source(self.path) as source:
            yield from (_brightness(frame) for frame in source.frames(frames))

    def _picture(self, path: Path) -> NDArray[np.uint8]:
        found = read_picture(path)
        if found.shape != (self.height, self.width):
            raise MediaError(
                f"{path} is {found.shape[1]} x {found.shape[0]}; expected {self.width} x {self.height} like"
                f" {self.pictures[0].name}"
            )
        return found


# ---- opening -----------------------------------------------------------------------------------------------


def open_holdout_matte(path: Path, clip: ClipInfo, progress: Progress | None = None) -> HoldoutMatte:
    """The matte at `path` for `clip`: a movie, a folder of numbered pictures, one of these pictures, or their
    name with `####` or `%04d` for the number.

    Raises `MediaError` where it cannot be read and `BadInput` where it has not as many frames as the clip, or
    another rate or size.
    """
    pictures = picture_files(path)
    if pictures:
        height, width = read_picture(pictures[0]).shape
        matte = HoldoutMatte(path, pictures, width, height, len(pictures), None)
    else:
        info = probe(path, progress)
        matte = HoldoutMatte(path, (), info.image.width, info.image.height, info.frame_count, info.rate)
    wanted = (clip.frame_count, clip.image.width, clip.image.height)
    same_rate = matte.rate is None or matte.rate == clip.rate
    if (matte.frame_count, matte.width, matte.height) != wanted or not same_rate:
        at = "" if matte.rate is None else f" at {matte.rate}/s"
        raise BadInput(
            f"{path} is a matte of {matte.frame_count} frames{at}, {matte.width} x {matte.height}; expected"
            f" {clip.frame_count} frames{at and f' at {clip.rate}/s'}, {clip.image.width} x"
            f" {clip.image.height}, like {clip.path.name}"
        )
    return matte


def holdout_files(path: Path | None) -> tuple[Path, ...]:
    """Every file that the matte at `path` is read from, or the folder they lie in; none without a path.

    Raises as `picture_files`.
    """
    if path is None:
        return ()
    return (path, *(() if path.is_dir() else picture_files(path)))


def picture_files(path: Path) -> tuple[Path, ...]:
    """The numbered pictures that `path` names, in order; none where it names a movie.

    Raises `MediaError` where there is none to be found, one is missing in between, or a folder holds several
    sequences.
    """
    if path.is_dir():
        return _sequence(path, [p for p in path.iterdir() if p.suffix.lower() in PICTURES])
    pattern = None if path.exists() else _PATTERN.search(path.name)
    if pattern is not None:
        start, end = path.name[: pattern.start()], path.name[pattern.end() :]
    elif path.suffix.lower() in PICTURES and (numbered := _NUMBERED.fullmatch(path.name)):
        start, end = numbered[1], numbered[3]
    else:
        return (path,) if path.is_file() and path.suffix.lower() in PICTURES else ()
    name = re.compile(re.escape(start) + r"\d+" + re.escape(end))
    found = path.parent.iterdir() if path.parent.is_dir() else ()
    return _sequence(path, [p for p in found if name.fullmatch(p.name)])


def _sequence(path: Path, pictures: list[Path]) -> tuple[Path, ...]:
    """`pictures` by their numbers."""
    if not pictures:
        raise MediaError(f"{path}: no numbered pictures are there; expected one for each frame of the clip")
    numbers: dict[int, Path] = {}
    names = set()
    for picture in pictures:
        parts = _NUMBERED.fullmatch(picture.name)
        if parts is None:
            raise MediaError(f"{picture} has no number in its name; expected one like matte.0001.png")
        names.add((parts[1], parts[3]))
        numbers[int(parts[2])] = picture
    if len(names) > 1:
        first, second = sorted(f"{a}#{b}" for a, b in names)[:2]
        raise MediaError(f"{path} holds pictures {first} and {second}; expected those of one matte")
    ordered = sorted(numbers)
    gap = next((n for n, m in pairwise(ordered) if m != n + 1), None)
    if gap is not None:
        raise MediaError(f"{path}: the picture after {numbers[gap].name} is missing; expected one per frame")
    return tuple(numbers[n] for n in ordered)


# ---- pictures ----------------------------------------------------------------------------------------------


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The brightness of a picture file, (H, W), 255 = white; colours count by their mean, alpha does not.

    Raises `MediaError` where it cannot be read.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as e:
        raise MediaError(f"{path} cannot be read: {e.strerror}; expected a picture of a matte") from e
    found = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if found is None:
        raise MediaError(f"{path} is not a picture that can be read; expected PNG, TIFF or JPEG")
    pixels = np.asarray(found)
    white = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}.get(pixels.dtype, 1.0)
    deep = pixels if pixels.ndim == 3 else pixels[..., None]
    colour = deep[..., : 3 if deep.shape[2] >= 3 else 1]
    return _bytes(colour.astype(np.float32).mean(-1) / np.float32(white))


def _brightness(frame: Frame) -> NDArray[np.uint8]:
    """(H, W) of a movie's frame, 255 = white."""
    if is_rgb(frame.image.pix_fmt):
        planes = [np.asarray(p, np.float32) for p in frame.planes[:3]]
        values = (planes[0] + planes[1] + planes[2]) / 3
    else:
        values = np.asarray(frame.planes[0], np.float32)
    black, scale = luma_code(frame.image)
    return _bytes((values - black) / scale)


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.nan_to_num(values).clip(0, 1) * 255), np.uint8)

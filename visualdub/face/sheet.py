"""A sheet of the people in a clip, a picture of each with their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.face.seen import SeenFace
from visualdub.face.track import Track
from visualdub.media.frame import SQUARE
from visualdub.media.source import open_source
from visualdub.media.square import square_pixels
from visualdub.media.yuv import frame_rgb
from visualdub.timing import FrameRange

SIDE, BORDER, LINE = 192, 8, 44  # pixels: of a picture, around it, and of the text below it
ACROSS = 6  # pictures in a row
AROUND = 1.6  # side of a picture in faces


@dataclass(frozen=True)
class Person:
    """One person of a clip, from all their faces."""

    number: int  # as `--face` takes it
    frames: int  # in which they are found
    share: float  # of all tracked frames
    ranges: tuple[str, ...]  # half open, A:B, in frames of the clip
    best: SeenFace  # the face that is largest

    def as_dict(self) -> dict[str, object]:
        """Plain values."""
        ranges = list(self.ranges)
        return {"person": self.number, "frames": self.frames, "share": round(self.share, 4), "ranges": ranges}


def people_of(track: Track) -> list[Person]:
    """Everybody in a track's frames, by number."""
    people = []
    for number in sorted({face.person for face in track.faces}):
        faces = [face for face in track.faces if face.person == number]
        frames = sum(face.count for face in faces)
        ranges = tuple(f"{face.start}:{face.end_exclusive}" for face in faces)
        best = max(faces, key=lambda f: (f.box[2] - f.box[0]) * (f.box[3] - f.box[1]))
        people.append(Person(number, frames, min(1.0, frames / len(track)), ranges, best))
    return people


def people_sheet(clip: Path, people: Sequence[Person], aspect: Fraction = SQUARE) -> NDArray[np.uint8]:
    """(H, W, 3) a picture of everybody, out of the clip, with number, frames and share below it. aspect:
    `Track.pixel_aspect`.
    """
    rows, columns = -(-len(people) // ACROSS), min(ACROSS, len(people))
    step_x, step_y = SIDE + 2 * BORDER, SIDE + 2 * BORDER + LINE
    sheet = np.full((rows * step_y, columns * step_x, 3), 24, np.uint8)
    with open_source(clip) as source:
        for i, person in enumerate(people):
            top, left = i // ACROSS * step_y + BORDER, i % ACROSS * step_x + BORDER
            (frame,) = source.frames(FrameRange(person.best.best, person.best.best + 1))
            sheet[top : top + SIDE, left : left + SIDE] = _picture(
                square_pixels(frame_rgb(frame), aspect), person.best
            )
            lines = f"person {person.number}", f"{person.frames} frames, {100 * person.share:.0f} %"
            for k, text in enumerate(lines):
                at = (left, top + SIDE + 18 + 20 * k)
                cv2.putText(sheet, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (235, 235, 235), 1, cv2.LINE_AA)
    return sheet


def _picture(rgb: NDArray[np.uint8], face: SeenFace) -> NDArray[np.uint8]:
    """(SIDE, SIDE, 3) the square around a face, grey where it leaves the picture."""
    left, top, right, bottom = face.box
    side = max(right - left, bottom - top) * AROUND
    scale = SIDE / side
    shift = SIDE / 2 - scale * np.array([(left + right) / 2, (top + bottom) / 2])
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    mode = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(
        cv2.warpAffine(rgb, matrix, (SIDE, SIDE), flags=mode, borderValue=(96, 96, 96)), np.uint8
    )

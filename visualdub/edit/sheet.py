"""Pictures of what a dub of an edit changed: of each shot its plate, and the mouth before and after,
enlarged; all of them on one sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visualdub.errors import BadInput
from visualdub.media.source import open_source
from visualdub.media.yuv import frame_rgb
from visualdub.storage import atomic_path
from visualdub.timing import FrameRange

HEIGHT, TEXT, BORDER = 216, 26, 6  # pixels: of a picture, of the text below it, around both
WIDEST = 2.0  # width of a plate in heights; wider ones lie between bars
CROP = 4 / 3  # width of the enlarged mouth in heights
AROUND = 1.1  # height of the enlarged part in heights of what the dub changed
SAMPLES = 3  # frames of a shot of which the one that changed most is shown
LEAST = 6  # codes of 255 by which a pixel has changed; codecs change others by fewer
ACROSS, MOST = 2, 96  # shots in a row of the sheet, and on it
QUALITY = 88
Picture = NDArray[np.uint8]  # (H, W, 3) R'G'B'
GREY, WHITE, YELLOW = (24, 24, 24), (235, 235, 235), (255, 210, 60)


@dataclass(frozen=True)
class Box:
    """A rectangle of a picture, in pixels, half open."""

    left: int
    top: int
    right: int
    bottom: int


# ---- one shot ----------------------------------------------------------------------------------------------


def dubbed_picture(plate: Path, movie: Path, numbers: Sequence[int], text: str) -> Picture:
    """Plate, mouth before and mouth after of the frame that a dub changed most.

    numbers: the frame of `plate` behind each frame of `movie`. Raises `MediaError` where one cannot be read.
    """
    count = len(numbers)
    wanted = sorted({round(count * (i + 0.5) / SAMPLES - 0.5) for i in range(SAMPLES)})
    pairs = list(zip(stills(plate, [numbers[k] for k in wanted]), stills(movie, wanted), strict=True))
    moved = [changes(before, after) for before, after in pairs]
    before, after = pairs[int(np.argmax([m.sum() for m in moved]))]
    box = box_of(np.any(moved, 0))
    marked = before.copy()
    thick = max(1, before.shape[0] // 200)
    cv2.rectangle(marked, (box.left, box.top), (box.right, box.bottom), YELLOW, thick)
    size = round(HEIGHT * CROP), HEIGHT
    parts = [fitted(marked, round(HEIGHT * WIDEST), HEIGHT)]
    parts += [fitted(p[box.top : box.bottom, box.left : box.right], *size) for p in (before, after)]
    return captioned(np.concatenate(parts, 1), text)


def kept_picture(plate: Path | None, number: int, text: str) -> Picture:
    """A frame of a shot that is left alone; black where it has no media. Raises `MediaError` as above."""
    width = round(HEIGHT * WIDEST), 2 * round(HEIGHT * CROP)
    black = np.full((HEIGHT, width[0], 3), GREY[0], np.uint8)
    shown = black if plate is None else fitted(stills(plate, [number])[0], width[0], HEIGHT)
    return captioned(np.concatenate([shown, np.full((HEIGHT, width[1], 3), GREY[0], np.uint8)], 1), text)


def stills(movie: Path, numbers: Sequence[int]) -> list[Picture]:
    """Some frames of a movie."""
    with open_source(movie) as source:
        return [frame_rgb(frame) for n in numbers for frame in source.frames(FrameRange(n, n + 1))]


def changes(before: Picture, after: Picture) -> NDArray[np.bool_]:
    """(H, W) True where two pictures of one size differ by more than a codec makes them."""
    apart = np.abs(before.astype(np.int16) - after.astype(np.int16)).max(2).astype(np.uint8)
    smooth = np.asarray(cv2.blur(apart, (5, 5)))
    return smooth > max(LEAST, int(smooth.max()) // 4)


def box_of(changed: NDArray[np.bool_]) -> Box:
    """The part of a picture around what changed, in the shape of `CROP`; its middle where nothing has."""
    height, width = changed.shape
    rows, columns = np.nonzero(changed)
    if len(rows) == 0:
        rows, columns = np.array([height // 3, 2 * height // 3]), np.array([width // 3, 2 * width // 3])
    low, high = np.percentile(rows, (1, 99)), np.percentile(columns, (1, 99))
    tall = AROUND * max(low[1] - low[0], (high[1] - high[0]) / CROP, height / 16)
    tall = min(tall, height, width / CROP)
    top = int(np.clip(low.mean() - tall / 2, 0, height - tall))
    left = int(np.clip(high.mean() - tall * CROP / 2, 0, width - tall * CROP))
    return Box(left, top, left + max(1, round(tall * CROP)), top + max(1, round(tall)))


def fitted(picture: Picture, width: int, height: int) -> Picture:
    """A picture scaled into `width` x `height`, between bars."""
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    out = np.full((height, width, 3), GREY[0], np.uint8)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    out[top : top + size[1], left : left + size[0]] = cv2.resize(picture, size, interpolation=way)
    return out


def captioned(picture: Picture, text: str) -> Picture:
    """A picture with a line of text below it; the line's letters are those of ASCII."""
    bar = np.full((TEXT, picture.shape[1], 3), GREY[0], np.uint8)
    plain = text.encode("ascii", "replace").decode()
    while (
        len(plain) > 1 and cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0] > bar.shape[1] - 12
    ):
        plain = plain[:-2] + "~"
    cv2.putText(bar, plain, (6, TEXT - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, WHITE, 1, cv2.LINE_AA)
    return np.concatenate([picture, bar], 0)


# ---- files -------------------------------------------------------------------------------------------------


def save_picture(picture: Picture, path: Path) -> None:
    """Write a picture as JPEG. Raises `OutputError` where it cannot be written."""
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, format="JPEG", quality=QUALITY)


def save_sheet(pictures: Sequence[Path], path: Path) -> None:
    """Write the first `MOST` pictures of shots, files of one size, as one. Raises as `save_picture`."""
    shown = [np.asarray(Image.open(p).convert("RGB")) for p in pictures[:MOST]]
    if not shown:
        raise BadInput(f"{path}: no shot to show")
    height, width = shown[0].shape[0] + BORDER, shown[0].shape[1] + BORDER
    across = min(ACROSS, len(shown))
    rows = -(-len(shown) // across)
    sheet = np.full((rows * height + BORDER, across * width + BORDER, 3), 60, np.uint8)
    for i, picture in enumerate(shown):
        top, left = BORDER + i // across * height, BORDER + i % across * width
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    save_picture(sheet, path)

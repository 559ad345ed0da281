"""What the nodes of the double show, in the samples' own codes: no colour management, no transformation."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.media.source import open_source
from visualdub.media.yuv import frame_rgb
from visualdub.timing import FrameRange

Picture = NDArray[np.float64]  # (H, W, 4) red, green, blue and alpha, 1.0 = white
MOVIES = (".mkv", ".mov", ".mp4")


class Evaluator:
    """Evaluates nodes at a frame of the script.

    shape: (H, W) of a Read without a file to tell it. movies: False: they are not opened but black.
    """

    def __init__(self, shape: tuple[int, int], movies: bool = True) -> None:
        self.shape, self.movies = shape, movies
        self.read_files: list[str] = []

    def picture(self, node: Any, time: int) -> Picture:
        """The picture of a node. Raises `RuntimeError` as a render does."""
        if node is None:
            return np.zeros((*self.shape, 4))
        if node._get("disable"):
            return self.picture(node.input(0), time)
        evaluate: Callable[[Any, int], Picture] = getattr(self, f"_{node._class.lower()}")
        return evaluate(node, time)

    def _group(self, node: Any, time: int) -> Picture:
        return self.picture(node.output(), time)

    def _output(self, node: Any, time: int) -> Picture:
        return self.picture(node.input(0), time)

    _dot = _noop = _write = _output

    def _input(self, node: Any, time: int) -> Picture:
        inputs = [n for n in node._parent._children if n._class == "Input"]
        return self.picture(node._parent.input(inputs.index(node)), time)

    def _switch(self, node: Any, time: int) -> Picture:
        return self.picture(node.input(int(node._get("which"))), time)

    def _keymix(self, node: Any, time: int) -> Picture:
        plate, dub, mask = (self.picture(node.input(i), time) for i in range(3))
        weight = mask[..., 3:] * node._get("mix")
        mixed: Picture = dub * weight + plate * (1 - weight)
        return mixed

    def _expression(self, node: Any, time: int) -> Picture:
        source = self.picture(node.input(0), time)
        out = source.copy()
        for i in range(4):
            text = node._get(f"expr{i}")
            if text == "a > 0":
                out[..., i] = source[..., 3] > 0
            elif text == "a":
                out[..., i] = source[..., 3]
            else:
                assert not text, f"the double cannot evaluate {text}"
        return out

    def _read(self, node: Any, time: int) -> Picture:
        path, number = node._get("file"), node._file_frame(time)
        if not path:
            raise RuntimeError(f"{node._name}: no file name")
        low, high = node._get("first"), node._get("last")
        if number < low or number > high:
            edge = node._get("before" if number < low else "after")
            if edge == "black":
                return np.zeros((*self.shape, 4))
            assert edge == "hold", f"the double does not {edge}"
            number = min(max(number, low), high)
        if Path(path).suffix in MOVIES:
            if not self.movies:
                return np.zeros((*self.shape, 4))
            return _movie_picture(Path(path), number - node._get("origfirst"))
        return self._numbered(node, path, number)

    def _numbered(self, node: Any, pattern: str, number: int) -> Picture:
        if not Path(pattern % number).is_file():
            treatment = node._get("on_error")
            if treatment == "black":
                return np.zeros((*self.shape, 4))
            there = _numbers_there(pattern)
            if treatment != "nearest frame" or not there:
                raise RuntimeError(f"{pattern % number}: no such file")
            number = min(there, key=lambda n: abs(n - number))
        self.read_files.append(pattern % number)
        return read_png(Path(pattern % number))


def read_png(path: Path) -> Picture:
    """A PNG with alpha, read by OpenCV."""
    codes = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert codes is not None and codes.shape[2] == 4, path
    rgba: Picture = codes[..., [2, 1, 0, 3]] / np.iinfo(codes.dtype).max
    return rgba


def _numbers_there(pattern: str) -> list[int]:
    folder, name = Path(pattern).parent, Path(pattern).name
    matching = re.compile(re.sub(r"%0?\d*d", r"(\\d+)", name.replace(".", r"\.")))
    found = (matching.fullmatch(p.name) for p in folder.iterdir())
    return sorted(int(m.group(1)) for m in found if m)


def _movie_picture(path: Path, index: int) -> Picture:
    with open_source(path) as source:
        rgb = frame_rgb(next(iter(source.frames(FrameRange(index, index + 1)))))
    return np.dstack([rgb / 255, np.zeros(rgb.shape[:2])])

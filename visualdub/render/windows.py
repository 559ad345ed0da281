"""Windows of frames on a grid anchored at the shot's first frame, rendered as a stream (DESIGN.md 2.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import InternalError
from visualdub.render.recent import Latest
from visualdub.stages import mapped
from visualdub.timing import FrameRange

Codes = NDArray[Any]  # R'G'B', full range, 0..255: uint8, or float32, which may go further
# crops, texture coordinates, masks and aligned references of a window, as `Renderer.render` takes them
RenderWindow = Callable[
    [Codes, NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8] | None], NDArray[np.float32]
]


@dataclass(frozen=True)
class RenderInput:
    """The network's input for one frame of the shot; `crop` is None where the frame has no usable face."""

    index: int  # frame of the shot, from 0
    crop: NDArray[np.uint8] | None  # (S, S, 3) full-range R'G'B'
    uv: NDArray[np.float32] | None  # (S, S, 2) texture coordinates, -1 off the mesh
    mask: NDArray[np.float32] | None  # (S, S) 0/1
    drawn: bool = True  # False: only neighbours in its window need it, its own picture is not needed
    aligned: NDArray[np.uint8] | None = None  # (S, S, 4) see `render.aligned_references`; None: none


class WindowInput(Protocol):
    """What a record holds so that the network can look at its frame; `RenderInput` is the smallest one."""

    @property
    def index(self) -> int: ...
    @property
    def crop(self) -> Codes | None: ...
    @property
    def uv(self) -> NDArray[np.float32] | None: ...
    @property
    def mask(self) -> NDArray[np.float32] | None: ...
    @property
    def aligned(self) -> NDArray[np.uint8] | None: ...
    @property
    def drawn(self) -> bool: ...


Input = TypeVar("Input", bound=WindowInput)


@dataclass(frozen=True)
class Rendered(Generic[Input]):
    """One frame's inputs and its rendered crop; `rgb` is None where it was not wanted or there is no face."""

    inputs: Input
    rgb: NDArray[np.float32] | None  # (S, S, 3) R'G'B' 0..1


# ------------------------------------------------------------------------------------------------------------


def window_count(count: int, window: int) -> int:
    """How many windows cover a shot of `count` frames; one starts at every `window - 1`st frame."""
    return max(1, -(-(count - 1) // (window - 1)))


def windows_of(index: int, count: int, window: int) -> tuple[int, ...]:
    """Numbers of the one or two windows that hold frame `index` of a shot of `count` frames, in order."""
    stride = window - 1
    last = window_count(count, window) - 1
    k = min(index // stride, last)
    return (k - 1, k) if k > 0 and index == k * stride else (k,)


def frames_needed(chunk: FrameRange, count: int, window: int) -> FrameRange:
    """The frames of the shot whose inputs `render_shot` needs for `chunk`: whole windows, cut at the end."""
    chunk.within(count, "the shot")
    first = windows_of(chunk.start, count, window)[0]
    last = windows_of(chunk.end_exclusive - 1, count, window)[-1]
    return FrameRange(first * (window - 1), min(last * (window - 1) + window, count))


# ------------------------------------------------------------------------------------------------------------


def _filled(inputs: list[Input], window: int) -> list[Input] | None:
    """`window` inputs, each with a face; None where none of `inputs` has one.

    A frame without a face is replaced by the nearest one with a face, and the end is filled with the last.
    """
    usable = [i for i, x in enumerate(inputs) if x.crop is not None]
    if not usable:
        return None
    filled = [inputs[min(usable, key=lambda j: (abs(j - i), j))] for i in range(len(inputs))]
    return filled + [filled[-1]] * (window - len(filled))


def _render_window(render: RenderWindow, inputs: list[Input], window: int) -> NDArray[np.float32] | None:
    if not any(x.drawn and x.crop is not None for x in inputs):
        return None
    filled = _filled(inputs, window)
    if filled is None:
        return None
    crops, uvs, masks = [], [], []
    for x in filled:
        if x.crop is None or x.uv is None or x.mask is None:
            raise InternalError(
                f"frame {x.index} of the shot has a crop but no texture coordinates or mask; expected all or"
                " none"
            )
        crops.append(x.crop)
        uvs.append(x.uv)
        masks.append(x.mask)
    return render(np.stack(crops), np.stack(uvs), np.stack(masks), _aligned(filled))


def _aligned(inputs: Sequence[WindowInput]) -> NDArray[np.uint8] | None:
    """(T, S, S, 4) the aligned references of a window; None where no frame has any."""
    aligned = [x.aligned for x in inputs]
    given = next((x for x in aligned if x is not None), None)
    if given is None:
        return None
    return np.stack([np.zeros_like(given) if x is None else x for x in aligned])


# ------------------------------------------------------------------------------------------------------------


def render_shot(
    render: RenderWindow,
    window: int,
    inputs: Iterable[Input],
    count: int,
    chunk: FrameRange | None = None,
    first: int = 0,
    kept: Latest[int, NDArray[np.float32]] | None = None,
    at_once: int = 1,
) -> Iterator[Rendered[Input]]:
    """Render a shot of `count` frames, or the frames `chunk` of it, in order, `at_once` windows at a time.

    render: `Renderer.render`. window: T, `Renderer.window`. inputs: in order, one for each frame of
    `frames_needed(chunk, count, window)` (of the whole shot without a chunk). first: the number that the
    shot's first input carries. kept: pictures of windows, by the number that their first input carries: those
    that are there are not rendered again. Windows start at the shot's frames 0, T-1, 2(T-1), ...; the border
    frame that two windows share is the mean of both; the last window repeats the shot's last frame. A frame's
    bits therefore depend on the shot and its number alone. Windows in which no frame is to be drawn are not
    run. Raises `InternalError` where the inputs have gaps.
    """
    chunk = chunk or FrameRange(0, count)

    def window_of(part: _Window[Input]) -> NDArray[np.float32] | None:
        rgb = None if kept is None else kept.get(first + part.start)
        if rgb is None:
            rgb = _render_window(render, part.inputs, window)
            if kept is not None and rgb is not None:
                kept.put(first + part.start, rgb)
        return rgb

    carried: NDArray[np.float32] | None = None  # the picture of the frame that is shared with the next window
    for part, rgb in mapped(window_of, _windows(iter(inputs), chunk, count, window, first), at_once):
        start, current = part.start, part.inputs
        stop = len(current) if start + len(current) == count else window - 1
        for i in range(stop):
            picture = _merged(carried if i == 0 else None, None if rgb is None else rgb[i])
            if start + i in range(chunk.start, chunk.end_exclusive):
                x = current[i]
                yield Rendered(x, picture if x.drawn and x.crop is not None else None)
        carried = None if rgb is None else rgb[window - 1]


@dataclass(frozen=True)
class _Window(Generic[Input]):
    start: int  # its first frame, counted in the shot
    inputs: list[Input]


def _windows(
    source: Iterator[Input], chunk: FrameRange, count: int, window: int, first: int
) -> Iterator[_Window[Input]]:
    """The windows that hold the frames of `chunk`, each with the frame that it shares with the one before."""
    current: list[Input] = []
    last = windows_of(chunk.end_exclusive - 1, count, window)[-1]
    for k in range(windows_of(chunk.start, count, window)[0], last + 1):
        start = k * (window - 1)
        current = current[-1:]
        while len(current) < min(window, count - start):
            current.append(_next(source, first + start + len(current)))
        yield _Window(start, current)


def _next(source: Iterator[Input], index: int) -> Input:
    inputs = next(source, None)
    if inputs is None or inputs.index != index:
        raise InternalError(
            f"frame {index} of the shot was expected next, {'the end' if inputs is None else inputs.index}"
            " came; expected every frame of frames_needed in order"
        )
    return inputs


def _merged(
    before: NDArray[np.float32] | None, now: NDArray[np.float32] | None
) -> NDArray[np.float32] | None:
    """The mean of the pictures that two windows give of the frame they share, or the only one there is."""
    if before is None or now is None:
        return now if before is None else before
    return (before + now) * np.float32(0.5)

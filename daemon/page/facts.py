"""What a worker notes of a shot for whoever reviews it: where the mouth is, and how each frame turned out."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.page.flags import QUALITY, SHOT
from visualdub.dub import PreparedRender
from visualdub.face.crop import VIEW
from visualdub.records import pass_reasons
from visualdub.render.shot_renderer import RenderedFrame
from visualdub.storage import write_text
from visualdub.timing import FrameRange

DECIMALS = 4
STEADY, STILL = 0.25, 0.01  # see `_flicker`: a plate that stands still or is compressed has none
Samples = NDArray[np.float32]
Region = tuple[slice, slice]

# ---- before the first frame is drawn -----------------------------------------------------------------------


def write_facts(folder: Path, render: PreparedRender) -> None:
    """Note what is known of a shot once it is prepared, in the job's folder, one value for each frame:

    boxes: the mouth's surroundings, pixels of the clip: left, top, right, bottom. enlarged: plate pixels for
    each pixel of the network's picture; above 1 it is enlarged. confidence: of the track, 0 to 1. passed: why
    the frame keeps its pixels, null where it is drawn. occluded: what covers the mouth, null where nothing
    does.
    """
    renderer, info = render.renderer, render.renderer.shot.info
    shot, track = renderer.shot, renderer.track
    covered = render.occlusion.reasons()
    scale = np.maximum(renderer.crop.scale, 1e-6)
    values = {
        "clip": str(shot.source),
        "dialogue": str(shot.cues[0].recording) if shot.cues else None,
        "place_s": float(shot.cues[0].place_s - shot.cues[0].in_point_s) if shot.cues else 0.0,
        "frames": str(shot.frames),
        "start_s": float(shot.start_s),
        "rate": str(shot.rate),
        "times": [round(t, 6) for t in shot.part.frame_times().tolist()],
        "width": info.image.width,
        "height": info.image.height,
        "pixel_aspect": float(info.image.pixel_aspect),
        "boxes": _boxes(renderer.crop.stored_affine, info.image.width, info.image.height).tolist(),
        "enlarged": np.round(1 / scale, DECIMALS).tolist(),
        "confidence": np.round(track.confidence.astype(np.float64), DECIMALS).tolist(),
        "passed": pass_reasons(track, renderer.performance, shot.skips(), covered),
        "occluded": list(covered) or [None] * len(track),
    }
    _write(folder / SHOT, values)


def _boxes(affine: NDArray[np.float64], width: int, height: int) -> NDArray[np.int64]:
    """(n, 4) the part of the crop that a mouth is drawn in, in pixels of the clip, within the picture."""
    top, bottom, left, right = VIEW
    corners = np.array([[left, top], [right, bottom]], np.float64)
    scale = np.maximum(affine[:, None, [0, 1], [0, 1]], 1e-6)
    points = np.round((corners - affine[:, None, :, 2]) / scale)
    limits = np.array([width, height])
    low = np.clip(points[:, 0], 0, limits - 2)
    high = np.maximum(np.clip(points[:, 1], 0, limits), low + 2)
    return np.asarray(np.concatenate([low, high], 1), np.int64)


# ---- while frames are drawn --------------------------------------------------------------------------------


def measured(folder: Path, wanted: FrameRange, frames: Iterator[RenderedFrame]) -> Iterator[RenderedFrame]:
    """`frames` of `wanted` as they come; once all have, their figures are noted in the job's folder.

    sharpness: variance of the Laplacian over the changed pixels, dub over plate. flicker: `unsteadiness`
    there, dub over plate; null for frames that are not drawn. Only three frames are held.
    """
    sharp: list[float | None] = [None] * len(wanted)
    flicker: list[float | None] = [None] * len(wanted)
    last: deque[RenderedFrame] = deque(maxlen=3)
    for finished in frames:
        i = finished.frame.index - wanted.start
        region = _region(finished.matte) if finished.inputs.drawn else None
        if region is not None:
            sharp[i] = _over(*(_laplacian(p[region]) for p in _lumas(finished)))
        last.append(finished)
        if len(last) == 3:
            flicker[i - 1] = _flicker(*last)
        yield finished
    _write(folder / QUALITY, {"frames": str(wanted), "sharpness": sharp, "flicker": flicker})


def _lumas(finished: RenderedFrame) -> tuple[NDArray[Any], NDArray[Any]]:
    return finished.frame.planes[0], finished.inputs.frame.planes[0]


def _region(matte: NDArray[np.uint8]) -> Region | None:
    rows, columns = np.flatnonzero(matte.any(1)), np.flatnonzero(matte.any(0))
    if len(rows) < 3 or len(columns) < 3:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _laplacian(plane: NDArray[Any]) -> float:
    return float(np.var(cv2.Laplacian(np.ascontiguousarray(plane, np.float32), cv2.CV_32F, ksize=1)))


def _flicker(before: RenderedFrame, middle: RenderedFrame, after: RenderedFrame) -> float | None:
    region = _region(middle.matte)
    if region is None or not all(f.inputs.drawn for f in (before, middle, after)):
        return None
    dub, plate = (
        unsteadiness(*(p[region].astype(np.float32) for p in planes))
        for planes in zip(*(_lumas(f) for f in (before, middle, after)), strict=True)
    )
    return _over(dub, max(plate, STEADY))


def unsteadiness(a: Samples, b: Samples, c: Samples) -> float:
    """How much comes and goes with the middle one of three frames, against how much moves on from the first
    to the last: about 1 for noise alone, below 0.5 for a mouth in motion, far above for a flicker.

    Samples of any range: what is below STILL of the picture's own contrast counts as still.
    """
    onward = np.abs(c - a)
    returning = np.maximum(np.abs(2 * b - a - c) - onward, 0)
    still = STILL * float(b.std()) + 1e-6
    return float(returning.mean()) / (float(onward.mean()) + still)


def _over(dub: float, plate: float) -> float | None:
    """Their ratio; None where the plate has none: still pictures."""
    return round(dub / plate, DECIMALS) if plate > 1e-6 else None


def _write(path: Path, values: dict[str, Any]) -> None:
    write_text(path, json.dumps(values, ensure_ascii=False) + "\n")

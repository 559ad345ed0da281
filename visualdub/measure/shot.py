"""All measures of one shot in one table, from arrays alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import InternalError
from visualdub.face.landmarks import lip_opening
from visualdub.measure.mouth import by_yaw, control, leak, lip_distances, open_share
from visualdub.measure.pictures import (
    border_flicker,
    flicker,
    mask_share,
    mouth_box,
    psnr,
    seam,
    sharpness,
    source_box,
    ssim,
)

Table = dict[str, Any]


@dataclass(frozen=True)
class ShotArrays:
    """What a shot is measured from: n frames in order. Pictures are S x S crops, R'G'B', uint8 (or
    0..255).
    """

    real: NDArray[np.uint8]  # (n, S, S, 3) the source's crops
    raw: NDArray[np.uint8]  # (n, S, S, 3) the network's own output; only its masked region is looked at
    composite: NDArray[np.uint8]  # (n, S, S, 3) crops of the finished frames, taken by the same affine
    masks: NDArray[np.float32]  # (n, S, S) the region that was drawn, 0/1
    landmarks_real: NDArray[np.float32]  # (n, 478, 3) of the source, clip pixels; NaN where no face
    landmarks_output: NDArray[
        np.float32
    ]  # (n, 478, 3) measured on the finished frames, clip pixels; NaN where no face
    affine: NDArray[np.float64]  # (n, 2, 3) clip pixel -> crop pixel
    commanded: NDArray[np.float64] | None = None  # (n,) lip opening that the driving performance asked for
    yaw: NDArray[np.float64] | None = None  # (n,) degrees
    window: int = 5  # T of the renderer
    first: int = (
        0  # frame of the shot of the first row, to place the window grid, where `numbers` is not given
    )
    numbers: NDArray[np.int64] | None = (
        None  # (n,) frame of the shot of each row, where frames were left out between them
    )

    def __post_init__(self) -> None:
        n = len(self.real)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray) and len(value) != n:
                raise InternalError(f"{name} has {len(value)} frames, real has {n}; expected as many")


def evaluate_shot(shot: ShotArrays, own_performance: bool = True) -> Table:
    """The measures of DESIGN.md 5 that need no download, of one shot.

    own_performance: the shot re-enacts itself, so that output and source may be compared pixel by pixel;
    otherwise (another performance or another voice drove it) only control, leak, seam, sharpness, flicker and
    open mouths are given. "raw" is the network's output cut out along the mask and laid hard over the real
    crop, "composite" the finished frame. Values that cannot be had (too few frames, no face) are None, so
    that the table is JSON.
    """
    size = shot.real.shape[1]
    table: Table = {"frames": len(shot.real), "mask_share": mask_share(shot.masks)}
    mouths = mouth_box(shot.landmarks_real, shot.affine, size)
    drawn = np.where(np.asarray(shot.masks)[..., None] >= 0.5, shot.raw, shot.real)
    for name, pictures in (("raw", drawn), ("composite", shot.composite)):
        table[name] = _of_pictures(shot, pictures, mouths)
        if own_performance:
            table[name] |= _likeness(shot, pictures)
    table["mouth"] = _of_mouth(shot, own_performance)
    if own_performance and shot.yaw is not None:
        table["by_yaw"] = _tables_by_yaw(shot)
    cleaned: Table = _clean(table)
    return cleaned


def _of_pictures(
    shot: ShotArrays, pictures: NDArray[np.uint8], mouths: list[tuple[int, int, int, int] | None]
) -> Table:
    numbers = shot.first + np.arange(len(pictures)) if shot.numbers is None else shot.numbers
    return {
        "sharpness": sharpness(pictures, shot.real, mouths),
        "flicker": flicker(pictures, shot.real, shot.masks, numbers),
        "border_flicker": border_flicker(pictures, shot.real, shot.masks, shot.window, numbers),
        "seam": seam(pictures, shot.real, shot.masks),
    }


def _likeness(shot: ShotArrays, pictures: NDArray[np.uint8]) -> Table:
    """PSNR and SSIM on the whole crop, the mask, and the box that does not know the mask; means over
    frames.
    """
    size = shot.real.shape[1]
    rows: list[tuple[float, ...]] = []
    for mine, real, mask, box in zip(
        pictures, shot.real, shot.masks, source_box(shot.landmarks_real, shot.affine, size), strict=True
    ):
        region = np.zeros((size, size), np.float32)
        if box:
            region[box[1] : box[3], box[0] : box[2]] = 1
        rows.append(tuple(f(mine, real, r) for f in (psnr, ssim) for r in (None, mask, region)))
    names = [f"{m}_{r}" for m in ("psnr", "ssim") for r in ("crop", "mask", "source_box")]
    return {name: _mean(np.array([row[i] for row in rows])) for i, name in enumerate(names)}


def _of_mouth(shot: ShotArrays, own_performance: bool) -> Table:
    measured, source = (
        lip_opening(x.astype(np.float64)) for x in (shot.landmarks_output, shot.landmarks_real)
    )
    table: Table = {"open_share": open_share(measured), "faces_found": int(np.isfinite(measured).sum())}
    if own_performance:
        table["lmd"] = _mean(lip_distances(shot.landmarks_real, shot.landmarks_output))
    if shot.commanded is not None:
        table["control"] = control(shot.commanded, measured)
        if not own_performance:
            table["leak"] = leak(shot.commanded, measured, source)
    return table


def _tables_by_yaw(shot: ShotArrays) -> Table:
    if shot.yaw is None:
        return {}
    values = np.array([psnr(a, b) for a, b in zip(shot.composite, shot.real, strict=True)])
    return {
        "psnr": by_yaw(values, shot.yaw),
        "lmd": by_yaw(lip_distances(shot.landmarks_real, shot.landmarks_output), shot.yaw),
    }


def _mean(values: NDArray[np.float64]) -> float:
    good = values[np.isfinite(values)]
    return float(good.mean()) if len(good) else float("nan")


def _clean(value: Any) -> Any:
    """NaN and infinity to None, numpy numbers to Python's, all the way down."""
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items()}
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value

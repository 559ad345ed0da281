"""The table of a shot computed from whole arrays, to hold the streamed one against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.face.landmarks import lip_opening
from visualdub.measure.mouth import by_yaw, control, leak, lip_distances, open_share
from visualdub.measure.pictures import (
    edge_gradient,
    laplacian_variance,
    luma,
    mouth_box,
    psnr,
    source_box,
    ssim,
)
from visualdub.measure.shot import MeasuredFrame


def array_table(
    frames: list[MeasuredFrame], output: NDArray[np.float32], window: int, own_performance: bool
) -> dict[str, Any]:
    """The table of n frames; output: (n, 478, 3) landmarks measured on the finished frames."""
    real, raw, composite, masks = (
        np.stack([getattr(f, k) for f in frames]) for k in ("real", "raw", "composite", "mask")
    )
    landmarks = np.stack([f.landmarks for f in frames])
    drawn = np.where(masks[..., None] >= 0.5, raw, real)
    table: dict[str, Any] = {"frames": len(frames), "mask_share": float((masks >= 0.5).mean())}
    for name, pictures in (("raw", drawn), ("composite", composite)):
        table[name] = _of_pictures(frames, pictures, window, own_performance)
    opening, source = (lip_opening(x.astype(np.float64)) for x in (output, landmarks))
    commanded, yaw = np.array([f.commanded for f in frames]), np.array([f.yaw for f in frames])
    distances = lip_distances(landmarks, output)
    table["mouth"] = {"open_share": open_share(opening), "faces_found": int(np.isfinite(opening).sum())}
    if own_performance:
        table["mouth"]["lmd"] = float(np.nanmean(distances))
        likeness = np.array([psnr(a, b) for a, b in zip(composite, real, strict=True)])
        table["by_yaw"] = {"psnr": by_yaw(likeness, yaw), "lmd": by_yaw(distances, yaw)}
    table["mouth"]["control"] = control(commanded, opening)
    if not own_performance:
        table["mouth"]["leak"] = leak(commanded, opening, source)
    return table


def _of_pictures(
    frames: list[MeasuredFrame], pictures: NDArray[np.uint8], window: int, likeness: bool
) -> dict[str, float]:
    size = pictures.shape[1]
    mouths = [mouth_box(f.landmarks, f.affine, size) for f in frames]
    with_mouth = [(p, f.real, b) for p, f, b in zip(pictures, frames, mouths, strict=True) if b]
    edges = np.array(
        [
            (edge_gradient(p, f.mask), edge_gradient(f.real, f.mask))
            for p, f in zip(pictures, frames, strict=True)
        ]
    )
    edges = edges[np.isfinite(edges).all(1)]
    real = np.stack([f.real for f in frames])
    mine, theirs = _second_differences(frames, pictures), _second_differences(frames, real)
    good = np.isfinite(mine) & np.isfinite(theirs)
    places = np.array([f.number for f in frames])[1:-1] % (window - 1)
    near = good & ((places == 0) | (places == 1 % (window - 1)) | (places == window - 2))
    away = good & ~near

    def ratio(rows: NDArray[np.bool_]) -> float:
        return float(mine[rows].sum() / theirs[rows].sum())

    table = {
        "sharpness": sum(laplacian_variance(p, b) for p, _, b in with_mouth)
        / sum(laplacian_variance(r, b) for _, r, b in with_mouth),
        "flicker": ratio(good),
        "border_flicker": ratio(near) / ratio(away),
        "seam": float(edges[:, 0].sum() / edges[:, 1].sum()),
    }
    return table | _likeness(frames, pictures) if likeness else table


def _second_differences(frames: list[MeasuredFrame], pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n - 2,) for the whole array at once; NaN where frames between were left out or masks do not meet."""
    grey = luma(pictures)
    inside = np.stack([f.mask for f in frames]) >= 0.5
    common = inside[:-2] & inside[1:-1] & inside[2:]
    change = np.abs(grey[:-2] - 2 * grey[1:-1] + grey[2:])
    numbers = np.array([f.number for f in frames])
    values = np.array(
        [c[m].mean(dtype=np.float64) if m.any() else np.nan for c, m in zip(change, common, strict=True)]
    )
    return np.where(numbers[2:] - numbers[:-2] == 2, values, np.nan)


def _likeness(frames: list[MeasuredFrame], pictures: NDArray[np.uint8]) -> dict[str, float]:
    table: dict[str, list[float]] = {}
    for picture, frame in zip(pictures, frames, strict=True):
        region = np.zeros(frame.mask.shape)
        box = source_box(frame.landmarks, frame.affine, len(region))
        if box:
            region[box[1] : box[3], box[0] : box[2]] = 1
        for measure in (psnr, ssim):
            for name, where in (("crop", None), ("mask", frame.mask), ("source_box", region)):
                value = measure(picture, frame.real, where)
                table.setdefault(f"{measure.__name__}_{name}", []).append(value)
    return {name: float(np.nanmean(values)) for name, values in table.items()}


def numbers_of(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a table by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat |= (
            numbers_of(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
        )
    return flat

"""All measures of one shot in one table, gathered frame by frame: no picture outlives its measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import InternalError
from visualdub.face.landmarks import lip_opening
from visualdub.measure.mouth import by_yaw, control, leak, open_share
from visualdub.measure.pictures import (
    RatioOfMeans,
    SecondDifferences,
    border_flicker,
    edge_gradient,
    flicker,
    laplacian_variance,
    mouth_box,
    psnr,
    source_box,
    ssim,
)

Table = dict[str, Any]
LIKENESS = ("psnr_crop", "psnr_mask", "psnr_source_box", "ssim_crop", "ssim_mask", "ssim_source_box")


@dataclass(frozen=True)
class MeasuredFrame:
    """One rendered frame of a shot, as its measures take it. Pictures are S x S crops, R'G'B', uint8.

    Raises `BadInput` for pictures of other shapes.
    """

    number: int  # of the frame in the shot, from 0; it places the frame on the window grid
    real: NDArray[np.uint8]  # (S, S, 3) crop of the source
    raw: NDArray[np.uint8]  # (S, S, 3) the network's output; only its masked region is used
    composite: NDArray[np.uint8]  # (S, S, 3) crop of the finished frame, of the same area
    mask: NDArray[np.float32]  # (S, S) the region that was rendered, 0/1
    landmarks: NDArray[np.float32]  # (478, 3) of the source, square pixels; NaN where no face
    affine: NDArray[np.float64]  # (2, 3) square pixel -> crop pixel
    commanded: float  # lip opening of the driving performance, in distances between the outer eye corners
    yaw: float  # of the head, degrees

    def __post_init__(self) -> None:
        size = self.real.shape[0]
        expected = {"real": (size, size, 3), "raw": (size, size, 3), "composite": (size, size, 3)}
        for name, shape in {**expected, "mask": (size, size), "affine": (2, 3)}.items():
            if getattr(self, name).shape != shape:
                raise InternalError(
                    f"{name} of frame {self.number} is {getattr(self, name).shape}; expected {shape}"
                )


@dataclass(frozen=True)
class OutputMouth:
    """What was measured on the mouth in the n rendered frames of a shot; NaN where no face was found."""

    opening: NDArray[np.float64]  # (n,) lip opening, in distances between the outer eye corners
    lip_distance: NDArray[np.float64]  # (n,) distance of the lips from the source's, in % of the face width


class ShotMeasures:
    """The measures of DESIGN.md 5 that need no download: add the rendered frames of a shot, then ask `table`.

    own_performance: the shot re-enacts itself, so that output and source may be compared pixel by pixel.
    Otherwise another performance or other dialogue drove it, and only control, leak, seam, sharpness, flicker
    and open mouths are measured. window: T of the renderer. Memory grows by some numbers for each frame.
    """

    def __init__(self, window: int, *, own_performance: bool = True) -> None:
        self.window, self.own_performance = window, own_performance
        self._raw, self._composite = _OutputMeasures(own_performance), _OutputMeasures(own_performance)
        self._source_differences = SecondDifferences()
        self._masked = self._pixels = 0
        self.numbers: list[int] = []  # of the frames that were added, in the shot
        self._commanded: list[float] = []
        self._yaw: list[float] = []
        self._source_opening: list[float] = []

    def __len__(self) -> int:
        return len(self.numbers)

    def add(self, frame: MeasuredFrame) -> None:
        """Take the next rendered frame of the shot; frames that pass through are left out."""
        inside = np.asarray(frame.mask) >= 0.5
        source = _SourceFrame(frame)
        self._raw.add(np.where(inside[..., None], frame.raw, frame.real), source)
        self._composite.add(frame.composite, source)
        self._source_differences.add(frame.real, frame.mask, frame.number)
        self._masked += int(inside.sum())
        self._pixels += inside.size
        self.numbers.append(frame.number)
        self._commanded.append(frame.commanded)
        self._yaw.append(frame.yaw)
        self._source_opening.append(float(lip_opening(frame.landmarks.astype(np.float64))))

    def table(self, mouth: OutputMouth) -> Table:
        """Every measure, as plain values; None for what cannot be had (too few frames, no face).

        "raw" is the network's output cut out along the mask and put over the source without a blend,
        "composite" the finished frame. mouth: of the frames that were added, in their order. Raises
        `InternalError` where it has another number of frames.
        """
        if not len(mouth.opening) == len(mouth.lip_distance) == len(self):
            raise InternalError(
                f"the mouth was measured in {len(mouth.opening)} frames; expected {len(self)}"
            )
        share = self._masked / self._pixels if self._pixels else float("nan")
        table: Table = {"frames": len(self), "mask_share": share}
        for name, output in (("raw", self._raw), ("composite", self._composite)):
            table[name] = output.table(self._source_differences, self.window)
        table["mouth"] = self._of_mouth(mouth)
        if self.own_performance:
            psnr_crop = self._composite.likeness["psnr_crop"]
            yaw = np.array(self._yaw)
            table["by_yaw"] = {
                "psnr": by_yaw(np.array(psnr_crop), yaw),
                "lmd": by_yaw(mouth.lip_distance, yaw),
            }
        cleaned: Table = plain(table)
        return cleaned

    def _of_mouth(self, mouth: OutputMouth) -> Table:
        commanded = np.array(self._commanded)
        table: Table = {
            "open_share": open_share(mouth.opening),
            "faces_found": int(np.isfinite(mouth.opening).sum()),
        }
        if self.own_performance:
            table["lmd"] = _finite_mean(mouth.lip_distance)
        table["control"] = control(commanded, mouth.opening)
        if not self.own_performance:
            table["leak"] = leak(commanded, mouth.opening, np.array(self._source_opening))
        return table


class _SourceFrame:
    """What both outputs of a frame are compared with, computed once."""

    def __init__(self, frame: MeasuredFrame) -> None:
        self.frame = frame
        size = frame.real.shape[0]
        self.mouth = mouth_box(frame.landmarks, frame.affine, size)
        self.laplacian = laplacian_variance(frame.real, self.mouth) if self.mouth else float("nan")
        self.edge = edge_gradient(frame.real, frame.mask)
        box = source_box(frame.landmarks, frame.affine, size)
        self.region = np.zeros((size, size), np.float32)
        if box:
            self.region[box[1] : box[3], box[0] : box[2]] = 1


class _OutputMeasures:
    """The measures of one output, the network's own or the composite, frame by frame."""

    def __init__(self, likeness: bool) -> None:
        self._sharpness, self._seam = RatioOfMeans(), RatioOfMeans()
        self._differences = SecondDifferences()
        self.likeness: dict[str, list[float]] = {name: [] for name in LIKENESS} if likeness else {}

    def add(self, picture: NDArray[np.uint8], source: _SourceFrame) -> None:
        frame = source.frame
        if source.mouth:
            self._sharpness.add(laplacian_variance(picture, source.mouth), source.laplacian)
        self._seam.add(edge_gradient(picture, frame.mask), source.edge)
        self._differences.add(picture, frame.mask, frame.number)
        if self.likeness:
            values = [
                f(picture, frame.real, r) for f in (psnr, ssim) for r in (None, frame.mask, source.region)
            ]
            for name, value in zip(LIKENESS, values, strict=True):
                self.likeness[name].append(value)

    def table(self, source: SecondDifferences, window: int) -> Table:
        return {
            "sharpness": self._sharpness.value,
            "flicker": flicker(self._differences, source),
            "border_flicker": border_flicker(self._differences, source, window),
            "seam": self._seam.value,
            **{name: _finite_mean(np.array(values)) for name, values in self.likeness.items()},
        }


def _finite_mean(values: NDArray[np.float64]) -> float:
    good = values[np.isfinite(values)]
    return float(good.mean()) if len(good) else float("nan")


def plain(value: Any) -> Any:
    """A table as JSON can hold it: NaN and infinity to None, numpy numbers to Python's, all the way down."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value

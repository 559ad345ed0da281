"""LPIPS and FID of drawn crops against the source's, by networks that the user gives: both need weights of
others, which are not part of this program.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.measure.pictures import Picture
from visualdub.speech.session import open_network

if TYPE_CHECKING:
    import onnxruntime

FEWEST = 2  # pictures that a covariance can be had of


@dataclass(frozen=True)
class PerceptualNetworks:
    """The networks of both measures; None where one was not given. Read from ONNX files by `open`."""

    lpips: onnxruntime.InferenceSession | None = None
    fid: onnxruntime.InferenceSession | None = None

    @classmethod
    def open(cls, lpips: Path | None, fid: Path | None) -> PerceptualNetworks:
        """Raises `BadInput` for a file that is no ONNX network, or has other inputs than its measure needs.

        lpips: takes two pictures (1, 3, H, W), R'G'B' in -1..1, gives one number (Zhang 2018). fid: takes a
        picture (1, 3, H, W), R'G'B' in 0..1, gives its features, any shape of D numbers (Heusel 2017).
        """
        return cls(
            None if lpips is None else _opened(lpips, "a network of LPIPS", 2),
            None if fid is None else _opened(fid, "a network of features for FID", 1),
        )


def _opened(path: Path, what: str, inputs: int) -> onnxruntime.InferenceSession:
    session = open_network(path, what)
    found = len(session.get_inputs())
    if found != inputs:
        raise BadInput(f"{path} is not {what}: it takes {found} inputs; expected {inputs}")
    return session


@dataclass
class PerceptualMeasures:
    """Add the crops of a shot frame by frame, then ask `table`. Of each frame some numbers are kept."""

    networks: PerceptualNetworks
    _lpips: list[float] = field(default_factory=list)
    _drawn: list[NDArray[np.float64]] = field(default_factory=list)  # features
    _real: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, drawn: Picture, real: Picture) -> None:
        """Take a crop (S, S, 3) of the finished frame and of the source, R'G'B' on the scale 0..255."""
        a, b = (np.ascontiguousarray(np.moveaxis(p, -1, 0)[None], np.float32) / 255 for p in (drawn, real))
        if self.networks.lpips is not None:
            self._lpips.append(float(_run(self.networks.lpips, 2 * a - 1, 2 * b - 1).mean()))
        if self.networks.fid is not None:
            self._drawn.append(_run(self.networks.fid, a))
            self._real.append(_run(self.networks.fid, b))

    def table(self) -> dict[str, float]:
        """`lpips`, the mean, and `fid`; NaN where there are too few frames, nothing without its network."""
        table = {}
        if self.networks.lpips is not None:
            table["lpips"] = float(np.mean(self._lpips)) if self._lpips else float("nan")
        if self.networks.fid is not None:
            few = len(self._drawn) < FEWEST
            both = (self._drawn, self._real)
            table["fid"] = float("nan") if few else frechet_distance(*(np.stack(x) for x in both))
        return table


def _run(session: onnxruntime.InferenceSession, *pictures: NDArray[np.float32]) -> NDArray[np.float64]:
    """(D,) the first output of a network. Raises `BadInput` where it does not take such pictures."""
    names = [i.name for i in session.get_inputs()]
    try:
        result: Any = session.run(None, dict(zip(names, pictures, strict=True)))[0]
    except Exception as e:  # ONNX Runtime has no common base for its errors
        raise BadInput(
            f"the perceptual network does not take pictures of {pictures[0].shape}:"
            f" {str(e).splitlines()[0]}; export it with free height and width"
        ) from e
    return np.asarray(result, np.float64).ravel()


def frechet_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The squared distance of the Gaussians with the means and covariances of features a (n, D) and b (m, D),
    n and m at least 2: |mean a - mean b|² + tr(A + B - 2 (A B)^½) (Heusel 2017, 2).

    The trace of the root is the sum of the singular values of the product of both centred matrices, so that
    it is exact also where there are fewer pictures than features.
    """
    centred = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    traces = sum(float(np.square(x).sum()) for x in centred)
    root = float(np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum())
    return float(np.square(a.mean(0) - b.mean(0)).sum()) + traces - 2 * root

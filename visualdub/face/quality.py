"""The quality of a track, measured against the landmarks to which it was fitted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visualdub.face.camera import project
from visualdub.face.crop import stable_crop
from visualdub.face.landmarks import LANDMARK_COUNT, face_width, lip_opening
from visualdub.face.models import posed_landmarks
from visualdub.face.track import Track

FOREHEAD = (10, 151, 9, 8, 67, 109, 338, 297, 69, 108, 337, 299, 104, 333)  # MediaPipe's numbers
LONGEST_LAG = 5  # frames; lags are tried this far either way


def track_figures(track: Track) -> dict[str, float | int | None]:
    """The figures of one track; None where too little was tracked to measure.

    `reprojection_percent`: mean distance of the fitted mesh from the landmarks, in per cent of face width, in
    the picture. `forehead_jitter`: second difference in time of forehead vertices, fit / raw landmarks.
    `lip_lag_frames`: by how many frames the fit's lip opening follows the landmarks'. `lip_amplitude`: its
    standard deviation over theirs. `crop_size_opening_r2`: share of the lip opening's variance that the
    crop's size predicts. `crop_scale`: mean crop pixels per square pixel.
    """
    rows = np.flatnonzero(track.usable & track.seen)
    if len(rows) < 2 * LONGEST_LAG + 3:
        return dict.fromkeys(
            (
                "reprojection_percent",
                "forehead_jitter",
                "lip_lag_frames",
                "lip_amplitude",
                "crop_size_opening_r2",
                "crop_scale",
            )
        )
    apart, openings, foreheads = _fit_against_landmarks(track)
    scale = stable_crop(track).scale
    return {
        "reprojection_percent": round(float(100 * apart[rows].mean()), 3),
        "forehead_jitter": round(_jitter(foreheads[0], rows) / max(_jitter(foreheads[1], rows), 1e-9), 3),
        "lip_lag_frames": best_lag(openings[0][rows], openings[1][rows]),
        "lip_amplitude": round(float(openings[0][rows].std() / max(openings[1][rows].std(), 1e-12)), 3),
        "crop_size_opening_r2": round(squared_correlation(1 / scale[rows], openings[1][rows]), 4),
        "crop_scale": round(float(scale[rows].mean()), 3),
    }


def _fit_against_landmarks(
    track: Track,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Distance of mesh and landmarks in face widths (n,); lip openings (2, n) and foreheads in the picture
    (2, n, k, 2), of the fit and of the landmarks. In blocks of frames: the meshes are never held at once.
    """
    model, pose, n = track.model, track.pose, len(track)
    width = track.scale * float(face_width(model.landmarks(track.identity)))
    apart, openings, foreheads = np.zeros(n), np.zeros((2, n)), np.zeros((2, n, len(FOREHEAD), 2))
    for rows, mesh in posed_landmarks(model, track.identity, track.jaw, track.expression):
        fitted = project(mesh, pose[rows], track.camera)[..., :2]
        raw = track.landmarks[rows, :LANDMARK_COUNT].astype(np.float64)
        apart[rows] = np.linalg.norm(fitted - raw[..., :2], axis=-1).mean(1) / width[rows]
        openings[:, rows] = lip_opening(mesh), lip_opening(raw)
        foreheads[:, rows] = fitted[:, FOREHEAD], raw[:, FOREHEAD, :2]
    return apart, openings, foreheads


def _jitter(points: NDArray[np.float64], rows: NDArray[np.int64]) -> float:
    """Mean length of the second difference of (n, k, 2) over runs of three neighbouring `rows`."""
    inner = rows[1:-1][(rows[2:] - rows[:-2]) == 2]
    second = points[inner - 1] - 2 * points[inner] + points[inner + 1]
    return float(np.linalg.norm(second, axis=-1).mean()) if len(inner) else float("nan")


def best_lag(follower: NDArray[np.float64], leader: NDArray[np.float64]) -> int:
    """The lag of `follower` (n,) behind `leader` (n,), in frames, at which they correlate best."""
    lags = sorted(range(-LONGEST_LAG, LONGEST_LAG + 1), key=abs)
    return max(lags, key=lambda k: squared_correlation(_shift(follower, k), _shift(leader, -k)))


def _shift(x: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """`x` without its first `k` entries, or without its last `-k`."""
    return x[k:] if k >= 0 else x[:k]


def squared_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """R² of the straight line from `a` to `b`, both (n,); 0 where either is constant."""
    if np.ptp(a) < 1e-12 or np.ptp(b) < 1e-12:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1] ** 2)

"""The overlay movie of `vdub track --overlay`: mesh, box, mask and confidence drawn over the picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.face.camera import project
from visualdub.face.crop import Crop
from visualdub.face.geometry import mask_of
from visualdub.face.track import Track

MESH, BOX, MASK, LOST = (90, 220, 120), (250, 210, 60), (240, 80, 140), (235, 60, 50)  # R, G, B


def draw_overlay(rgb: NDArray[np.uint8], track: Track, crop: Crop, i: int) -> NDArray[np.uint8]:
    """A copy of picture `rgb` (H, W, 3), whose pixels are square, with frame `i` of the track drawn on it; a
    frame without a face says so.
    """
    out = rgb.copy()
    unit = max(1, round(min(rgb.shape[:2]) / 500))
    label = f"frame {track.start + i}  confidence {track.confidence[i]:.2f}"
    colour = MESH if track.usable[i] else LOST
    if track.usable[i]:
        _draw_mask(out, track, crop, i)
        _draw_mesh(out, track, i)
        inverse = cv2.invertAffineTransform(crop.affine[i])
        corners = np.array([[0, 0], [crop.size, crop.size]]) @ inverse[:, :2].T + inverse[:, 2]
        (x0, y0), (x1, y1) = corners.round().astype(int).tolist()
        cv2.rectangle(out, (x0, y0), (x1, y1), BOX, unit)
    cv2.putText(
        out,
        label,
        (8 * unit, 20 * unit),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.5 * unit,
        (0, 0, 0),
        3 * unit,
        cv2.LINE_AA,
    )
    cv2.putText(
        out, label, (8 * unit, 20 * unit), cv2.FONT_HERSHEY_SIMPLEX, 0.5 * unit, colour, unit, cv2.LINE_AA
    )
    return out


def _draw_mesh(out: NDArray[np.uint8], track: Track, i: int) -> None:
    model = track.model
    mesh = model.vertices(track.identity, track.jaw[i], track.expression[i])
    points = project(mesh, track.pose[i : i + 1], track.camera)[0, :, :2]
    lines = (points[model.skin_triangles] * 16).round().astype(np.int32)
    cv2.polylines(out, list(lines), True, MESH, 1, cv2.LINE_AA, shift=4)


def _draw_mask(out: NDArray[np.uint8], track: Track, crop: Crop, i: int) -> None:
    mask = (mask_of(track, crop, i) * 255).astype(np.uint8)
    inverse = cv2.invertAffineTransform(crop.affine[i])
    full = cv2.warpAffine(mask, inverse, (out.shape[1], out.shape[0]), flags=cv2.INTER_LINEAR)
    share = (full.astype(np.float32) / 255 * 0.35)[..., None]
    out[:] = (out * (1 - share) + np.array(MASK, np.float32) * share).round().astype(np.uint8)

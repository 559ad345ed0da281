"""Holdouts: where the plate stays in front of the drawn mouth, because a hand or something else covers it
there or an artist's matte says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, binary_propagation, gaussian_filter

from visualdub.arrays import smoothstep
from visualdub.face.crop import Crop
from visualdub.face.geometry import filmed_mesh
from visualdub.face.occlusion import Occlusion
from visualdub.face.raster import rasterise
from visualdub.face.track import Track
from visualdub.media.holdout_matte import HoldoutMatte
from visualdub.records import digest

NOTHING, WHOLE = 0.02, 0.98  # weights below and above which a holdout counts as 0 and 1: codecs blur both


@dataclass(frozen=True)
class Holdouts:
    """What is held out of the frames of a shot."""

    matte: HoldoutMatte | None = None  # an artist's, of the whole clip
    occlusion: Occlusion | None = None  # of the shot's frames: what covers the mouth is held out
    in_front: tuple[Track, ...] = ()  # of the shot's frames: people nearer to the camera, whose faces stay

    def has_object(self, i: int) -> bool:
        """Whether something that is no hand covers the mouth in frame `i`; its outline is found by colour."""
        return self.occlusion is not None and self.occlusion.covered_at(i) is not None

    def digest(self) -> str:
        """Hexadecimal; equal for what holds out the same, empty where nothing ever is."""
        parts: list[str | NDArray[np.generic]] = [f"matte {self.matte.hash}"] if self.matte else []
        if self.occlusion is not None and self.occlusion.kind.any():
            o = self.occlusion
            parts += ["occlusion", o.hand_frames, o.hands, o.object_frames, o.covered]
        for t in self.in_front:
            parts += ["in front", t.scale, t.rotation, t.translation, t.identity, t.jaw, t.expression]
            parts += [t.confidence]
        return digest(*parts) if parts else ""


@dataclass(frozen=True)
class Holdout:
    """What of one frame stays the plate's: the larger of two mattes, each None where it holds nothing."""

    crop: NDArray[np.float32] | None = None  # (S, S) 0..1 in crop pixels: hands and other occluders
    frame: NDArray[np.uint8] | None = None  # (H, W) 0..255 in the frame's pixels: an artist's matte


def snap(hold: NDArray[np.float32]) -> NDArray[np.float32]:
    """`hold` with what is nearly 0 or 1 made exactly so: under a full holdout every sample must stay."""
    return np.where(hold >= WHOLE, np.float32(1), np.where(hold <= NOTHING, np.float32(0), hold))


# ---- hands -------------------------------------------------------------------------------------------------

PALM = (0, 1, 2, 5, 9, 13, 17)  # MediaPipe's numbers: the wrist, the thumb's first joints, the knuckles
FINGERS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
KNUCKLES, WRIST, MIDDLE = (5, 9, 13, 17), 0, 9
WIDTH_OF_PALM = 0.2  # of a finger, in lengths of the palm
HELD, FREE = 0.65, 0.95  # finger widths from bone or palm that are held out, from which on nothing is


def finger_width(hand: NDArray[np.floating[Any]]) -> float:
    """Width of a finger of a hand (21, 2), in its pixels.

    Knuckles lie a finger apart and the palm is five fingers long. A hand that turns shortens one or the other
    in the picture, so the larger counts.
    """
    knuckles = np.asarray(hand[list(KNUCKLES)], np.float64)
    apart = float(np.linalg.norm(np.diff(knuckles, axis=0), axis=1).mean())
    return max(apart, WIDTH_OF_PALM * float(np.linalg.norm(hand[MIDDLE] - hand[WRIST])))


def hand_matte(hands: Sequence[NDArray[np.floating[Any]]], size: int) -> NDArray[np.float32]:
    """(size, size) 1 on the hands (21, 2), landmarks in the picture's pixels, falling to 0 around them.

    Bones and palm are grown by a share of a finger's width, which closes the gaps between fingers that touch.
    """
    out = np.zeros((size, size), np.float32)
    for hand in hands:
        width = finger_width(hand)
        pad = int(np.ceil(FREE * width)) + 1
        free = np.full((size + 2 * pad, size + 2 * pad), 255, np.uint8)
        points = np.rint(np.asarray(hand, np.float64) - 0.5 + pad).astype(np.int32)
        cv2.fillPoly(free, [cv2.convexHull(points[list(PALM)])], (0.0,))
        cv2.polylines(free, [points[list(f)] for f in FINGERS], False, (0.0,))
        if free.all():
            continue
        distance = np.asarray(cv2.distanceTransform(free, cv2.DIST_L2, 5), np.float32)[pad:-pad, pad:-pad]
        out = np.maximum(out, smoothstep((FREE - distance / np.float32(width)) / np.float32(FREE - HELD)))
    return out


# ---- other people ------------------------------------------------------------------------------------------


def face_matte(track: Track, crop: Crop, i: int) -> NDArray[np.float32] | None:
    """(S, S) 1 on the face of somebody else in the crop of frame `i`, falling to 0 around it; None where it
    is not in the crop.

    track: of the other one, of the same frames as `crop`.
    """
    if not track.usable[i]:
        return None
    mesh = filmed_mesh(track, crop, i)
    if (mesh[:, :2].max(0) < 0).any() or (mesh[:, :2].min(0) > crop.size).any():
        return None
    hit = rasterise(mesh, track.model.face_triangles, crop.size, crop.size).hit
    if not hit.any():
        return None
    return np.asarray(cv2.GaussianBlur(hit.astype(np.float32), (0, 0), SOFT), np.float32)


# ---- other occluders ---------------------------------------------------------------------------------------

SHADES = 16  # of each colour channel, that pixels are told apart by
GROWN = 12  # crop pixels around covered triangles in which pixels may belong to what covers them
SOFT = 1.5  # crop pixels, standard deviation of the blur over the decision of single pixels
LIKELY, SURE = 0.35, 0.65  # share of the decision from which a pixel begins to be held out, and wholly is


def object_matte(
    crop: NDArray[np.uint8],
    mesh_2d: NDArray[np.floating[Any]],
    triangles: NDArray[np.int32],
    covered: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """(S, S) 1 on what covers the face in a crop (S, S, 3), falling to 0 around it.

    mesh_2d: (V, 2 or 3) the filmed mesh in crop pixels. triangles: (F, 3). covered: (F,) those that something
    covers. They are coarse; a pixel there, beside them or off the face counts as covered where its colour is
    commoner in them than on the rest of the face and it hangs together with them.
    """
    corners = np.rint(mesh_2d[triangles][..., :2] - 0.5).astype(np.int32)
    inside, skin = (_filled(corners[chosen], crop.shape[0]) for chosen in (covered, ~covered))
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * GROWN + 1,) * 2)
    near = np.asarray(cv2.dilate(inside, element), np.bool_) | ~binary_fill_holes(inside | skin)
    codes = (crop.astype(np.int64) * SHADES // 256) @ (SHADES * SHADES, SHADES, 1)
    over, under = (_histogram(codes[m]) for m in (inside > 0, (skin > 0) & (inside == 0)))
    share = np.asarray(over / (over + under), np.float32)[codes]
    likely = np.asarray(cv2.GaussianBlur(share, (0, 0), SOFT), np.float32)
    joined = binary_propagation((inside > 0) & (likely > LIKELY), mask=near & (likely > LIKELY))
    solid = cv2.morphologyEx(np.where(joined, likely, np.float32(0)), cv2.MORPH_CLOSE, element[::2, ::2])
    return smoothstep((np.asarray(solid, np.float32) - np.float32(LIKELY)) / np.float32(SURE - LIKELY))


def _filled(corners: NDArray[np.int32], size: int) -> NDArray[np.uint8]:
    """(size, size) 1 inside any of the triangles (k, 3, 2)."""
    out = np.zeros((size, size), np.uint8)
    for triangle in corners:
        cv2.fillConvexPoly(out, triangle, (1.0,))
    return out


def _histogram(codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """How common each colour is, (SHADES^3,), those between the seen ones too; never 0."""
    counts = np.bincount(codes, minlength=SHADES**3).reshape((SHADES,) * 3).astype(np.float64)
    smooth = gaussian_filter(counts, 0.7, mode="nearest")
    return np.asarray(smooth.ravel() / max(len(codes), 1) + 1e-6)

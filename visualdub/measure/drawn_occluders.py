"""Drawn hands, microphones and cups, to paste over a mouth and measure what is done about them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

# An open left hand from its palm, or a right one from its back: MediaPipe's 21 landmarks in sides of the
# sprite, x right, y down.
HAND_POINTS: Points = np.array(
    [
        *[(0.50, 0.90), (0.33, 0.81), (0.22, 0.69), (0.14, 0.58), (0.07, 0.49)],  # wrist, thumb
        *[(0.37, 0.47), (0.335, 0.31), (0.32, 0.21), (0.31, 0.12)],  # index finger, knuckle to tip
        *[(0.49, 0.44), (0.485, 0.26), (0.48, 0.15), (0.48, 0.05)],
        *[(0.60, 0.47), (0.625, 0.31), (0.635, 0.21), (0.645, 0.12)],
        *[(0.70, 0.53), (0.755, 0.41), (0.785, 0.335), (0.81, 0.26)],
    ]
)
_FINGERS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
_PALM = ((0, 5), (0, 9), (0, 13), (0, 17), (0, 1), (1, 5), (5, 9), (9, 13), (13, 17), (0, 2), (1, 9), (1, 13))
_CREASES = (((0.34, 0.57), (0.62, 0.65)), ((0.40, 0.51), (0.72, 0.59)), ((0.36, 0.55), (0.44, 0.83)))
SKIN = (205.0, 150.0, 125.0)  # R'G'B' of the hand in full light, 0..255
LIGHT = (-0.36, -0.56, 0.75)  # towards the lamp: from the upper left, in front


@dataclass(frozen=True)
class Sprite:
    """A picture with its shape."""

    rgb: NDArray[np.uint8]  # (S, S, 3)
    alpha: NDArray[np.float32]  # (S, S) 0..1


def hand_sprite(size: int, skin: tuple[float, float, float] = SKIN) -> Sprite:
    """An open hand, fingers up, `size` pixels along each side; its landmarks are `HAND_POINTS * size`."""
    points = HAND_POINTS * size
    width = 0.2 * float(np.linalg.norm(points[9] - points[0]))
    height = np.zeros((size, size), np.float32)
    for finger in _FINGERS:
        radii = (0.8, 0.66, 0.55, 0.45) if finger[0] == 1 else (0.62, 0.52, 0.47, 0.40)
        for i, (a, b) in enumerate(pairwise(finger)):
            _capsule(height, points[a], points[b], width * radii[i], width * radii[i + 1])
    for a, b in _PALM:
        _capsule(height, points[a], points[b], width * 0.95, width * 0.75)
    arm = (points[0] - points[9]) / np.linalg.norm(points[0] - points[9])
    _capsule(height, points[0], points[0] + 4 * width * arm, width * 1.25, width * 1.3)
    shade = _shade(height, 0.12 * width) * (1 - 0.25 * _creases(points, width, size))
    rgb = np.array(skin) * shade[..., None] + np.array([12.0, 0, 0]) * (1 - shade[..., None])
    return Sprite(_codes(rgb), _soft(height > 0.15 * width))


def microphone_sprite(size: int, colour: tuple[float, float, float] = (70.0, 70.0, 74.0)) -> Sprite:
    """A microphone on a stick from below: a ball of wire mesh, darker than a face."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    height = np.zeros((size, size), np.float32)
    stick: Points = np.array([(0.5, 0.6), (0.53, 1.2)]) * float(size)
    _capsule(height, stick[0], stick[1], 0.13 * size, 0.11 * size)
    ball = np.sqrt(np.maximum(0.3**2 - (x - 0.5) ** 2 - (y - 0.33) ** 2, 0)) * size
    wires = 1 + 0.25 * np.sin(x * 130) * np.sin(y * 130) * (ball > 0)
    shade = _shade(np.maximum(height, ball), 0.01 * size) * wires
    return Sprite(_codes(np.array(colour) * shade[..., None]), _soft(np.maximum(height, ball) > 0.02 * size))


def cup_sprite(size: int, colour: tuple[float, float, float] = (235.0, 235.0, 228.0)) -> Sprite:
    """A cup that is drunk from, seen from the front: a tapered cylinder."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    across = (x - 0.5) / (0.42 - 0.12 * y)
    shape = (np.abs(across) < 1) & (y > 0.04) & (y < 0.96)
    shade = 0.35 + 0.65 * np.sqrt(np.maximum(1 - (across + 0.3).clip(-1, 1) ** 2, 0))
    return Sprite(_codes(np.array(colour) * shade[..., None]), _soft(shape))


def paste(picture: NDArray[np.uint8], sprite: Sprite, left: float, top: float) -> NDArray[np.float32]:
    """Put `sprite` into `picture` (H, W, 3), in place, its left top corner at a place that may lie outside.

    Returns how much of each pixel it covers, (H, W) 0..1.
    """
    shift = np.array([[1, 0, left], [0, 1, top]], np.float64)
    size = (picture.shape[1], picture.shape[0])
    alpha = np.asarray(cv2.warpAffine(sprite.alpha, shift, size), np.float32)
    rgb = cv2.warpAffine(sprite.rgb, shift, size, borderMode=cv2.BORDER_REPLICATE)
    mixed = picture + alpha[..., None] * (np.asarray(rgb, np.float32) - picture)
    picture[:] = _codes(np.asarray(mixed, np.float32))
    return alpha


# ------------------------------------------------------------------------------------------------------------


def _capsule(height: NDArray[np.float32], a: Points, b: Points, radius_a: float, radius_b: float) -> None:
    """Raise `height` (S, S), in place, to a tapered rod from `a` to `b`."""
    y, x = np.mgrid[: height.shape[0], : height.shape[1]].astype(np.float32)
    along = b - a
    t = (((x - a[0]) * along[0] + (y - a[1]) * along[1]) / max(float(along @ along), 1e-9)).clip(0, 1)
    distance = np.hypot(x - a[0] - t * along[0], y - a[1] - t * along[1])
    radius = radius_a + (radius_b - radius_a) * t
    np.maximum(height, np.sqrt(np.maximum(radius**2 - distance**2, 0)), out=height)


def _shade(height: NDArray[np.float32], blur: float) -> NDArray[np.float32]:
    """(S, S) light on a relief."""
    smooth = np.asarray(cv2.GaussianBlur(height, (0, 0), max(1.0, blur)), np.float32)
    down, right = np.gradient(smooth)
    towards = (-right * LIGHT[0] - down * LIGHT[1] + LIGHT[2]) / np.sqrt(right**2 + down**2 + 1)
    return np.asarray(0.3 + 0.75 * towards.clip(0, 1), np.float32)


def _creases(points: Points, width: float, size: int) -> NDArray[np.float32]:
    """(S, S) 0..1 the lines of the palm and at the joints of the fingers."""
    lines = np.zeros((size, size), np.float32)
    thick = max(1, round(0.05 * width))
    for finger in _FINGERS:
        for i in (1, 2):
            along = points[finger[i + 1]] - points[finger[i - 1]]
            across = 0.45 * width * np.array([-along[1], along[0]]) / np.linalg.norm(along)
            joint = points[finger[i]]
            cv2.line(lines, _pixel(joint - across), _pixel(joint + across), (1.0,), thick)
    for crease in _CREASES:
        ends: Points = np.array(crease) * float(size)
        cv2.line(lines, _pixel(ends[0]), _pixel(ends[1]), (1.0,), thick)
    return np.asarray(cv2.GaussianBlur(lines, (0, 0), max(0.8, 0.04 * width)), np.float32)


def _pixel(point: Points) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _soft(shape: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 1.0), np.float32)


def _codes(rgb: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(rgb).clip(0, 255), np.uint8)

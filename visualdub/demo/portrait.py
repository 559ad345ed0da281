"""A portrait that speaks: a still picture warped through the face model, the mouth's inside drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial.transform import Rotation

from visualdub.demo.mouth import Mouth, lip_ring, paint
from visualdub.face.detect import choose_face, find_faces
from visualdub.face.fit import fit_shot
from visualdub.face.landmarks import face_width
from visualdub.face.models import load_face_model
from visualdub.face.models.face468 import Face468
from visualdub.face.raster import interpolate, rasterise

FACE = 0  # part number of the face itself in the model
GRID = 8  # pixels between the points at which the warp around the face is computed
LEAST_OPENING = 0.6  # pixels of lip opening below which nothing of the inside is painted
OVAL = (
    10,
    338,
    297,
    332,
    284,
    251,
    389,
    356,
    454,
    323,
    361,
    288,
    397,
    365,
    379,
    378,
    400,
    377,
    152,
    148,
    176,
    149,
    150,
    136,
    172,
    58,
    132,
    93,
    234,
    127,
    162,
    21,
    54,
    103,
    67,
    109,
)  # MediaPipe's face oval
HALO = 1.6  # a ring this much larger than the oval moves with the head: hair, hat, ears


@dataclass(frozen=True)
class Motion:
    """What the portrait does in each of n frames, relative to the picture."""

    jaw: NDArray[np.float64]  # (n,) radians on top of the portrait's
    expression: NDArray[np.float64]  # (n, K) on top of the portrait's
    turn: NDArray[np.float64]  # (n, 3) rotation vector of the head, radians
    shift: NDArray[np.float64]  # (n, 2) of the head, pixels


class Portrait:
    """One still picture (H, W, 3) uint8 R'G'B' with the face model fitted to it. Raises `NoFace` where there is no face."""

    def __init__(self, rgb: NDArray[np.uint8], name: str) -> None:
        self.rgb = np.ascontiguousarray(rgb)
        self.model: Face468 = load_face_model()
        faces, count = find_faces(iter([self.rgb] * 8), None)  # several times, so that the tracker settles
        fit = fit_shot(self.model, choose_face(faces, None, name).dense(count))
        self.identity, self.jaw, self.expression = fit.identity, float(fit.jaw[-1]), fit.expression[-1]
        self.scale, self.rotation = float(fit.pose.scale[-1]), fit.pose.rotation[-1]
        self.translation = fit.pose.translation[-1]
        self.mouth = Mouth(self.model, fit.identity, float(face_width(fit.identity)))
        face = self.model.triangles[(self.model.parts[self.model.triangles] == FACE).all(1)]
        self.triangles = np.ascontiguousarray(face)
        self.still = self._place(self._mesh(0.0, 0.0), np.zeros(3), np.zeros(2))

    def frames(self, motion: Motion) -> Iterator[NDArray[np.uint8]]:
        """The portrait performing `motion`, pictures of its own size."""
        for i in range(len(motion.jaw)):
            yield self._frame(motion.jaw[i], motion.expression[i], motion.turn[i], motion.shift[i])

    def _mesh(self, jaw: float, expression: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return self.model.vertices(self.identity, np.asarray(self.jaw + jaw), self.expression + expression)

    def _place(self, mesh: NDArray[np.float64], turn: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
        """Model space (k, 3) to pixels and depth."""
        rotation = Rotation.from_rotvec(turn).as_matrix() @ self.rotation
        placed = self.scale * mesh @ rotation.T + self.translation
        placed[:, :2] += shift
        return np.asarray(placed)

    def _frame(
        self, jaw: float, expression: NDArray[np.float64], turn: NDArray[np.float64], shift: NDArray[np.float64]
    ) -> NDArray[np.uint8]:
        mesh = self._mesh(jaw, expression)
        points = self._place(mesh, turn, shift)
        picture = cv2.remap(self.rgb, *self._warp(points, turn, shift), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        ring = lip_ring(points)
        if float(np.ptp(ring[:, 1])) < LEAST_OPENING or _area(ring) < LEAST_OPENING * float(np.ptp(ring[:, 0])):
            return np.asarray(picture, np.uint8)
        upper, lower, tongue = (self._place(np.atleast_2d(m), turn, shift) for m in self.mouth.meshes(mesh))
        size = (self.mouth.tongue_size[0] * self.scale, self.mouth.tongue_size[1] * self.scale)
        return paint(np.asarray(picture, np.uint8), ring, upper, lower, tongue[0], size)

    def _warp(
        self, points: NDArray[np.float64], turn: NDArray[np.float64], shift: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """For each pixel, where in the still picture it comes from: through the mesh on the face, smooth and fading around it."""
        h, w = self.rgb.shape[:2]
        around = self._around(points, turn, shift)
        raster = rasterise(points, self.triangles, h, w)
        offset = (self.still - points)[:, :2].astype(np.float32)
        inside = interpolate(raster, self.triangles, offset, 0.0)
        moved = np.where(raster.hit[..., None], inside, around)
        y, x = np.mgrid[:h, :w].astype(np.float32)
        return x + moved[..., 0], y + moved[..., 1]

    def _around(self, points: NDArray[np.float64], turn: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float32]:
        """Offsets (H, W, 2) by thin plates through the face's oval, a ring that moves with the head, and the picture's edge."""
        h, w = self.rgb.shape[:2]
        still_oval = self.still[list(OVAL)]
        centre = still_oval[:, :2].mean(0)
        halo = centre + (still_oval[:, :2] - centre) * HALO
        rigid = self._place(self._mesh(0.0, 0.0), turn, shift)[list(OVAL), :2] - still_oval[:, :2]
        keep = np.flatnonzero(halo[:, 1] < centre[1] + 0.2 * np.ptp(still_oval[:, 1]))  # not the shoulders
        edge = np.array([(x, y) for x in np.linspace(0, w, 7) for y in np.linspace(0, h, 8) if x in (0, w) or y in (0, h)])
        places = np.concatenate([points[list(OVAL), :2], halo[keep] + rigid[keep], edge])
        offsets = np.concatenate([still_oval[:, :2] - points[list(OVAL), :2], -rigid[keep], np.zeros_like(edge)])
        plate = RBFInterpolator(places, offsets, kernel="thin_plate_spline", smoothing=1e-3)
        xs, ys = np.arange(0, w + GRID, GRID), np.arange(0, h + GRID, GRID)
        coarse = plate(np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)).reshape(len(ys), len(xs), 2).astype(np.float32)
        y, x = np.mgrid[:h, :w].astype(np.float32)
        return np.asarray(cv2.remap(coarse, x / GRID, y / GRID, cv2.INTER_LINEAR), np.float32)


def _area(ring: NDArray[np.float64]) -> float:
    """Area of a polygon (k, 2)."""
    x, y = ring.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)

"""A portrait that speaks: a still picture that is warped by the face model, with a painted mouth interior."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial.transform import Rotation

from visualdub.errors import BadInput
from visualdub.face.detect import choose_face, find_faces
from visualdub.face.fit import fit_shot
from visualdub.face.landmarks import LIPS_INNER, face_width
from visualdub.face.models import DEFAULT_FACE_MODEL, FaceModel, face_model
from visualdub.face.raster import interpolate, rasterise

# ---- the inside of a mouth ---------------------------------------------------------------------------------

FINE = 3  # samples per pixel along each axis, which are averaged, so that edges are smooth
CAVITY, TONGUE = np.array([52, 20, 20], np.float32), np.array([158, 82, 80], np.float32)  # R, G, B
ENAMEL, GUM = np.array([238, 224, 198], np.float32), np.array([168, 92, 88], np.float32)
# Heights of the gum and of the edge of the teeth below the line of the lips, in face widths.
UPPER_ROWS, LOWER_ROWS = (-0.075, 0.024), (0.105, 0.030)
TEETH = 10  # along an arc


def lip_ring(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inner lips as a closed polygon (20, 2), from landmarks (468, 2 or 3) in pixels."""
    return points[list(LIPS_INNER), :2]


class Mouth:
    """The interior of one identity's mouth, in model space: teeth and tongue, which move with skull or jaw.

    Raises `BadInput` for a face model without teeth.
    """

    def __init__(self, model: FaceModel, identity: NDArray[np.float64], width: float) -> None:
        self.model, self.identity = model, identity
        line = float(model.landmarks(identity)[list(LIPS_INNER), 1].mean())
        upper, self._jaw_rows = model.teeth
        if not len(upper):
            raise BadInput(f"face model {model.name} has no teeth; expected one whose mouth can be painted")
        self.upper = _arc(identity[upper], line, UPPER_ROWS, width)
        self.lower = _arc(identity[self._jaw_rows], line, LOWER_ROWS, width)
        self.tongue = np.array([0.0, line + 0.075 * width, float(self.lower[:, 2].mean())])
        self.tongue_size = (0.105 * width, 0.05 * width)

    def meshes(
        self, mesh: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Upper teeth and lower teeth (2 k, 3) and the centre of the tongue (3,) for the face `mesh` (V, 3).

        All are in model space.
        """
        moved = mesh[self._jaw_rows] - self.identity[self._jaw_rows]
        return self.upper, self.lower + np.tile(moved, (2, 1)), self.tongue + 0.8 * moved.mean(0)


def _arc(
    columns: NDArray[np.float64], line: float, rows: tuple[float, float], width: float
) -> NDArray[np.float64]:
    """(2 k, 3) two rows of vertices, the gum and then the edge, on the arc of `columns` (k, 3)."""
    both = np.concatenate([columns, columns])
    both[: len(columns), 1], both[len(columns) :, 1] = line + rows[0] * width, line + rows[1] * width
    return both


def _strip(columns: int) -> NDArray[np.int32]:
    """(2 columns - 2, 3) the triangles between the two rows of an arc."""
    i = np.arange(columns - 1, dtype=np.int32)
    return np.concatenate(
        [np.stack([i, i + 1, i + columns], 1), np.stack([i + 1, i + columns + 1, i + columns], 1)]
    )


def _arc_coordinates(columns: int) -> NDArray[np.float32]:
    """(2 * columns, 2) coordinates of an arc's vertices: 0..1 along it, then 0 at the gum, 1 at the edge."""
    along = np.linspace(0, 1, columns, dtype=np.float32)
    return np.concatenate([np.stack([along, np.full_like(along, t)], 1) for t in (0, 1)])


def tooth_colour(along: NDArray[np.float32], down: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., 3) R'G'B' 0..255 of points on an arc of teeth, darker towards the corners of the mouth.

    along, down: (...) coordinates as in `_arc_coordinates`.
    """
    in_tooth = np.abs((along * TEETH) % 1 - 0.5) * 2  # 0 in the middle of a tooth, 1 between two
    gap = np.exp(-(((1 - in_tooth) / 0.13) ** 2))
    shade = (1 - 0.45 * np.abs(2 * along - 1) ** 2) * (1 - 0.55 * gap) * (0.88 + 0.12 * down)
    gum = 1 / (1 + np.exp((down - 0.22 + 0.10 * in_tooth**2) / 0.03))
    colour = ENAMEL * (1 - gum[..., None]) + GUM * gum[..., None]
    return np.asarray(colour * shade[..., None], np.float32)


def paint(
    picture: NDArray[np.uint8],
    ring: NDArray[np.float64],
    upper: NDArray[np.float64],
    lower: NDArray[np.float64],
    tongue: NDArray[np.float64],
    tongue_size: tuple[float, float],
) -> NDArray[np.uint8]:
    """A copy of `picture` (H, W, 3) with the mouth interior painted into the polygon `ring` (k, 2).

    upper, lower: teeth (n, 3). tongue: its centre (3,). tongue_size: its radii. All are in pixels.
    """
    low, high = np.floor(ring.min(0)).astype(int) - 3, np.ceil(ring.max(0)).astype(int) + 4
    corner = low.astype(np.float64)
    w, h = (high - low) * FINE
    inside = _draw_interior(
        (h, w),
        (upper - [*corner, 0]) * FINE,
        (lower - [*corner, 0]) * FINE,
        (tongue[:2] - corner) * FINE,
        (tongue_size[0] * FINE, tongue_size[1] * FINE),
    )
    hole = np.zeros((h, w), np.float32)
    cv2.fillPoly(hole, [np.round((ring - corner) * FINE * 16).astype(np.int32)], (1.0,), cv2.LINE_AA, 4)
    inside *= _shadow(hole)[..., None]
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    weight = cv2.GaussianBlur(cv2.resize(hole, size, interpolation=cv2.INTER_AREA), (0, 0), 0.6)[..., None]
    small = cv2.resize(inside, size, interpolation=cv2.INTER_AREA)
    out = picture.copy()
    view = out[low[1] : high[1], low[0] : high[0]]
    view[:] = np.clip(np.rint(view * (1 - weight) + small * weight), 0, 255).astype(np.uint8)
    return out


def _draw_interior(
    size: tuple[int, int],
    upper: NDArray[np.float64],
    lower: NDArray[np.float64],
    tongue: NDArray[np.float64],
    tongue_size: tuple[float, float],
) -> NDArray[np.float32]:
    h, w = size
    picture = np.broadcast_to(CAVITY, (h, w, 3)).astype(np.float32)
    y, x = np.mgrid[:h, :w] + 0.5
    r = ((x - tongue[0]) / tongue_size[0]) ** 2 + ((y - tongue[1]) / tongue_size[1]) ** 2
    on_tongue = np.clip((1 - r) * 4, 0, 1)[..., None]
    picture = picture * (1 - on_tongue) + TONGUE * np.clip(1 - 0.35 * r, 0, 1)[..., None] * on_tongue
    for points in (lower, upper):
        columns = len(points) // 2
        raster = rasterise(points, _strip(columns), h, w)
        place = interpolate(raster, _strip(columns), _arc_coordinates(columns), 0.0)
        picture = np.where(raster.hit[..., None], tooth_colour(place[..., 0], place[..., 1]), picture)
    return np.asarray(picture, np.float32)


def _shadow(hole: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) light that reaches each point, 0..1: less under the upper lip and in the corners."""
    below = np.cumsum(hole, 0) / (FINE * 6.0)  # distance below the upper lip, in units of six pixels
    depth = cv2.distanceTransform((hole > 0.5).astype(np.uint8), cv2.DIST_L2, 3) / (FINE * 4.0)
    return np.asarray(0.55 + 0.33 * np.clip(below, 0, 1) + 0.12 * np.clip(depth, 0, 1), np.float32)


# ---- the portrait ------------------------------------------------------------------------------------------

GRID = 8  # pixels between the points at which the warp around the face is computed
LEAST_OPENING = 0.6  # pixels; with a smaller opening no interior is painted
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
HALO = 1.6  # a ring this much larger than the oval moves with the head: hair, hat and ears


@dataclass(frozen=True)
class Motion:
    """The motion of the portrait in n frames, relative to the still picture."""

    jaw: NDArray[np.float64]  # (n,) radians on top of the portrait's
    expression: NDArray[np.float64]  # (n, K) on top of the portrait's
    turn: NDArray[np.float64]  # (n, 3) rotation vector of the head, radians
    shift: NDArray[np.float64]  # (n, 2) of the head, pixels


class Portrait:
    """One still picture (H, W, 3) uint8 R'G'B' with a face model fitted to it, by default the built-in one.

    Raises `NoFace` where the picture has no face.
    """

    def __init__(self, rgb: NDArray[np.uint8], name: str, model: str = DEFAULT_FACE_MODEL) -> None:
        self.rgb = np.ascontiguousarray(rgb)
        self.model = face_model(model)
        faces, count = find_faces(iter([self.rgb] * 8), None)  # several times, so that the tracker settles
        fit = fit_shot(self.model, choose_face(faces, None, name).dense(count))
        self.identity, self.jaw, self.expression = fit.identity, float(fit.jaw[-1]), fit.expression[-1]
        self.scale, self.rotation = float(fit.pose.scale[-1]), fit.pose.rotation[-1]
        self.translation = fit.pose.translation[-1]
        self.mouth = Mouth(self.model, fit.identity, float(face_width(self.model.landmarks(fit.identity))))
        self.triangles = self.model.face_triangles
        self.still = self._place(self._mesh(0.0, 0.0), np.zeros(3), np.zeros(2))

    def frames(self, motion: Motion) -> Iterator[NDArray[np.uint8]]:
        """Pictures (H, W, 3) of the portrait with `motion`, one for each of its frames."""
        for i in range(len(motion.jaw)):
            yield self._frame(motion.jaw[i], motion.expression[i], motion.turn[i], motion.shift[i])

    def _mesh(self, jaw: float, expression: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return self.model.vertices(self.identity, np.asarray(self.jaw + jaw), self.expression + expression)

    def _place(
        self, mesh: NDArray[np.float64], turn: NDArray[np.float64], shift: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Model space (k, 3) to pixels and depth."""
        rotation = Rotation.from_rotvec(turn).as_matrix() @ self.rotation
        placed = self.scale * mesh @ rotation.T + self.translation
        placed[:, :2] += shift
        return np.asarray(placed)

    def _frame(
        self,
        jaw: float,
        expression: NDArray[np.float64],
        turn: NDArray[np.float64],
        shift: NDArray[np.float64],
    ) -> NDArray[np.uint8]:
        mesh = self._mesh(jaw, expression)
        points = self._place(mesh, turn, shift)
        picture = cv2.remap(
            self.rgb, *self._warp(points, turn, shift), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        ring = lip_ring(self.model.landmarks(points))
        if float(np.ptp(ring[:, 1])) < LEAST_OPENING or _area(ring) < LEAST_OPENING * float(
            np.ptp(ring[:, 0])
        ):
            return np.asarray(picture, np.uint8)
        upper, lower, tongue = (self._place(np.atleast_2d(m), turn, shift) for m in self.mouth.meshes(mesh))
        size = (self.mouth.tongue_size[0] * self.scale, self.mouth.tongue_size[1] * self.scale)
        return paint(np.asarray(picture, np.uint8), ring, upper, lower, tongue[0], size)

    def _warp(
        self, points: NDArray[np.float64], turn: NDArray[np.float64], shift: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """For each pixel, x and y in the still picture: by the mesh on the face, by `_around` outside it."""
        h, w = self.rgb.shape[:2]
        around = self._around(points, turn, shift)
        raster = rasterise(points, self.triangles, h, w)
        offset = (self.still - points)[:, :2].astype(np.float32)
        inside = interpolate(raster, self.triangles, offset, 0.0)
        moved = np.where(raster.hit[..., None], inside, around)
        y, x = np.mgrid[:h, :w].astype(np.float32)
        return x + moved[..., 0], y + moved[..., 1]

    def _oval(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """The oval (36, 3) of a placed mesh (V, 3): parallel rays keep landmarks where they are on it."""
        return self.model.landmarks(points)[list(OVAL)]

    def _around(
        self, points: NDArray[np.float64], turn: NDArray[np.float64], shift: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """(H, W, 2) offsets by a thin-plate spline through the oval of the face, which moves with the mesh, a
        ring that moves with the head, and the edge of the picture, which does not move.
        """
        h, w = self.rgb.shape[:2]
        still_oval, oval = self._oval(self.still), self._oval(points)
        centre = still_oval[:, :2].mean(0)
        halo = centre + (still_oval[:, :2] - centre) * HALO
        rigid = (self._oval(self._place(self._mesh(0.0, 0.0), turn, shift)) - still_oval)[:, :2]
        keep = np.flatnonzero(halo[:, 1] < centre[1] + 0.2 * np.ptp(still_oval[:, 1]))  # not the shoulders
        edge = np.array(
            [(x, y) for x in np.linspace(0, w, 7) for y in np.linspace(0, h, 8) if x in (0, w) or y in (0, h)]
        )
        points_2d = np.concatenate([oval[:, :2], halo[keep] + rigid[keep], edge])
        offsets = np.concatenate([(still_oval - oval)[:, :2], -rigid[keep], np.zeros_like(edge)])
        plate = RBFInterpolator(points_2d, offsets, kernel="thin_plate_spline", smoothing=1e-3)
        xs, ys = np.arange(0, w + GRID, GRID), np.arange(0, h + GRID, GRID)
        coarse = (
            plate(np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2))
            .reshape(len(ys), len(xs), 2)
            .astype(np.float32)
        )
        y, x = np.mgrid[:h, :w].astype(np.float32)
        return np.asarray(cv2.remap(coarse, x / GRID, y / GRID, cv2.INTER_LINEAR), np.float32)


def _area(ring: NDArray[np.float64]) -> float:
    """Area of a polygon (k, 2)."""
    x, y = ring.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)

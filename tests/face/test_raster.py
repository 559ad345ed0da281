"""The UV rasteriser against values worked out by hand and against a plain numpy one."""

import numpy as np
import pytest
from numpy.typing import NDArray

from visualdub.face.raster import cover, interpolate, rasterise

# the same triangle in two turns differs in depth by rounding alone, which way depends on the processor
TIE = 1e-9


def plain(
    points: NDArray[np.float64], triangles: NDArray[np.int32], height: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Per pixel, per triangle, no shortcuts."""
    index, depth = np.full((height, width), -1), np.full((height, width), np.inf)
    for y in range(height):
        for x in range(width):
            for f, (a, b, c) in enumerate(points[triangles]):
                m = np.array([[a[0], b[0], c[0]], [a[1], b[1], c[1]], [1, 1, 1]])
                if abs(np.linalg.det(m)) < 1e-9:
                    continue
                w = np.linalg.solve(m, [x + 0.5, y + 0.5, 1])
                z = w @ [a[2], b[2], c[2]]
                if (w >= 0).all() and z < depth[y, x] - TIE:
                    index[y, x], depth[y, x] = f, z
    return index, depth


def test_half_square_covers_the_pixels_whose_centres_it_holds() -> None:
    points = np.array([[0, 0, 1.0], [4, 0, 1], [0, 4, 1]])
    raster = rasterise(points, np.array([[0, 1, 2]], np.int32), 4, 4)
    # centre (x + .5, y + .5) is inside when x + y + 1 <= 4; the diagonal counts
    expected = np.add.outer(np.arange(4), np.arange(4)) + 1 <= 4
    assert (raster.hit == expected).all()


def test_barycentrics_by_hand() -> None:
    points = np.array([[0, 0, 0.0], [4, 0, 4], [0, 4, 8]])
    raster = rasterise(points, np.array([[0, 1, 2]], np.int32), 4, 4)
    # at (1.5, 0.5): b = 1.5/4, c = 0.5/4, a = the rest; depth = 4b + 8c
    assert raster.barycentric[0, 1] == pytest.approx([0.5, 0.375, 0.125])
    assert raster.depth[0, 1] == pytest.approx(2.5)


def test_nearer_triangle_wins_whatever_its_turn_or_order() -> None:
    far = np.array([[0, 0, 9.0], [8, 0, 9], [0, 8, 9]])
    near = np.array([[0, 0, 1.0], [0, 8, 1], [8, 0, 1]])  # the other way round
    points = np.concatenate([far, near])
    for order in ([[0, 1, 2], [3, 4, 5]], [[3, 4, 5], [0, 1, 2]]):
        raster = rasterise(points, np.array(order, np.int32), 8, 8)
        assert (raster.depth[raster.hit] == 1).all() and raster.hit.sum() == 36


def test_same_as_plain_rasteriser_on_random_meshes() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        points = rng.uniform(-4, 28, (12, 3))
        triangles = rng.integers(0, 12, (10, 3)).astype(np.int32)
        raster = rasterise(points, triangles, 24, 20)
        index, depth = plain(points, triangles, 24, 20)
        assert (raster.face_index == index).all()
        assert raster.depth[raster.hit] == pytest.approx(depth[index >= 0], rel=1e-5)


def test_neighbours_leave_no_gap_and_attributes_are_linear() -> None:
    points = np.array([[0.3, 0.2, 0.0], [9.7, 0.4, 0], [9.9, 9.6, 0], [0.1, 9.8, 0]])
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    raster = rasterise(points, triangles, 10, 10)
    assert raster.hit[1:9, 1:9].all()
    xy = interpolate(raster, triangles, points[:, :2].astype(np.float32), -1.0)
    y, x = np.nonzero(raster.hit)
    assert xy[y, x] == pytest.approx(np.stack([x, y], 1) + 0.5, abs=1e-4)
    assert (xy[~raster.hit] == -1).all()


def test_cover_counts_hidden_triangles_and_cuts_at_weight_zero() -> None:
    points = np.array([[0, 0, 0.0], [8, 0, 0], [0, 8, 0], [8, 8, 0]])
    triangles = np.array([[0, 1, 2], [1, 3, 2]], np.int32)
    # weight falls from 1 at x = 0 to -1 at x = 8: above 0 for x < 4
    weights = np.array([1.0, -1, 1, -1])
    out = cover(points, triangles, weights, 8, 8)
    assert (out[:, :4] == 1).all() and (out[:, 4:] == 0).all()

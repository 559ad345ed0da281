"""The mesh of `face468`: MediaPipe's 468 vertices, a skirt below the jaw line, teeth and a mouth cap, and
their UV layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse
from numpy.typing import NDArray

from visualdub.face.landmarks import FACE_LEFT, FACE_RIGHT
from visualdub.face.mediapipe_models import mesh_edges

BASE = 468
UPPER_INNER = (
    78,
    191,
    80,
    81,
    82,
    13,
    312,
    311,
    310,
    415,
    308,
)  # corner to corner, right to left of the actor
LOWER_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
JAW_LINE = (
    234,
    93,
    132,
    58,
    172,
    136,
    150,
    149,
    176,
    148,
    152,
    377,
    400,
    378,
    379,
    365,
    397,
    288,
    361,
    323,
    454,
)
EYES = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
SKIRT_RINGS = (0.10, 0.22, 0.36)  # distance below the jaw line, face widths
SKIRT_FOLLOWS = (0.75, 0.35, 0.0)  # share of the jaw line's motion each ring takes part in
FACE_PART = 0.80  # the face takes v in 0..FACE_PART of the texture, the mouth's sheets the strip below
UPPER_TEETH = (-0.05, -0.01, 0.03, 0.075)  # rows of the upper sheet below the line of the lips, face widths
LOWER_TEETH = (0.05, 0.02, -0.015, -0.05)
UPPER_BONE = (
    2,
    94,
    97,
    326,
    164,
    0,
    37,
    267,
)  # under the nose: skin that sits on the upper jaw; the sheet follows it, which
LOWER_BONE = (199, 175, 200, 428, 208)  # takes out part of the pose error at the teeth; likewise the chin
MOUTH_ZOOM = 2.2  # linear enlargement of the mouth in the UV layout


@dataclass(frozen=True)
class Topology:
    """Triangles and extra vertices. V = 468 + extras; unit of length = the actor's face width."""

    triangles: NDArray[np.int32]  # (F, 3), counter-clockwise seen from outside with y down
    anchors: NDArray[np.float64]  # (V - 468, 468) rows sum to 1: where an extra vertex rests
    motion: NDArray[np.float64]  # (V - 468, 468) rows sum to 1: whose expression an extra vertex follows
    offsets: NDArray[np.float64]  # (V - 468, 3) added to that, in face widths
    follows: NDArray[np.float64]  # (V - 468,) share of the anchor's expression that an extra vertex follows
    jaw_share: NDArray[
        np.float64
    ]  # (V - 468,) share of the anchor's jaw weight; >= 2 means: moves as the jaw bone does
    parts: NDArray[np.int8]  # (V,) 0 face, 1 skirt, 2 upper teeth, 3 lower teeth, 4 cap
    skirt_depth: NDArray[np.float64]  # (V,) 0 on the face, then the ring's distance in face widths


def tessellation(frontal: NDArray[np.float64]) -> NDArray[np.int32]:
    """Triangles of MediaPipe's tessellation: the directed 3-cycles that use every directed edge exactly once.

    The edges allow both turns of many triangles; of the exact covers the one that faces the viewer in
    `frontal` (468, 3) is taken.
    """
    edges = mesh_edges()
    number = {e: i for i, e in enumerate(edges)}
    successors: dict[int, list[int]] = {}
    for a, b in edges:
        successors.setdefault(a, []).append(b)
    cycles = sorted(
        {
            min(((a, b, c), (b, c, a), (c, a, b)))
            for a, b in edges
            for c in successors.get(b, ())
            if (c, a) in number and c != a
        }
    )
    area = _area(frontal[np.array(cycles), :2])
    rows = [number[e] for a, b, c in cycles for e in ((a, b), (b, c), (c, a))]
    cover = scipy.sparse.csr_matrix(
        (np.ones(len(rows)), (rows, np.repeat(np.arange(len(cycles)), 3))), (len(edges), len(cycles))
    )
    solved = scipy.optimize.milp(
        area, constraints=scipy.optimize.LinearConstraint(cover, 1, 1), integrality=1, bounds=(0, 1)
    )
    if not solved.success:
        raise ValueError(f"the tessellation has no exact cover by triangles: {solved.message}")
    return np.asarray(np.array(cycles, np.int32)[solved.x > 0.5])


def _rows(vertices: tuple[int, ...]) -> NDArray[np.float64]:
    return np.eye(BASE)[list(vertices)]


def _strip(a: NDArray[np.int64], b: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Triangles between two rows of vertices of the same length."""
    quads = zip(a[:-1], a[1:], b[:-1], b[1:], strict=True)
    return [t for p, q, r, s in quads for t in ((int(p), int(r), int(q)), (int(q), int(r), int(s)))]


class _Builder:
    """Collects extra vertices and triangles."""

    def __init__(self, triangles: NDArray[np.int32]) -> None:
        self.triangles = [tuple(int(i) for i in t) for t in triangles]
        self.anchors: list[NDArray[np.float64]] = []
        self.motion: list[NDArray[np.float64]] = []
        self.offsets: list[NDArray[np.float64]] = []
        self.follows: list[float] = []
        self.jaw: list[float] = []
        self.parts: list[int] = [0] * BASE
        self.depth: list[float] = [0.0] * BASE

    def row(
        self,
        anchors: NDArray[np.float64],
        offsets: NDArray[np.float64],
        follows: float,
        jaw: float,
        part: int,
        depth: float = 0.0,
        motion: NDArray[np.float64] | None = None,
    ) -> NDArray[np.int64]:
        first = len(self.parts)
        n = len(anchors)
        self.anchors += list(anchors)
        self.motion += list(anchors if motion is None else np.broadcast_to(motion, anchors.shape))
        self.offsets += list(np.broadcast_to(offsets, (n, 3)))
        self.follows += [follows] * n
        self.jaw += [jaw] * n
        self.parts += [part] * n
        self.depth += [depth] * n
        return np.arange(first, first + n)


def _skirt(build: _Builder, neutral: NDArray[np.float64]) -> None:
    """Rings below the jaw line: down and back, the neck under a moving chin. Bottom ring fixed to the
    head.
    """
    line = neutral[list(JAW_LINE)]
    down = np.clip(
        (line[:, 1] - line[0, 1]) / (line[10, 1] - line[0, 1]), 0, 1
    )  # 0 at the ears, 1 at the chin
    above = np.array(JAW_LINE)
    side = np.sign(line[:, 0]) * (1 - down)
    for depth, follow in zip(SKIRT_RINGS, SKIRT_FOLLOWS, strict=True):
        direction = np.stack([0.15 * side, 0.25 + 0.75 * down, 0.55 + 0 * down], 1) * depth
        ring = build.row(_rows(JAW_LINE), direction, follow, follow, 1, depth)
        build.triangles += _strip(above, ring)
        above = ring


def _mouth(build: _Builder) -> None:
    """Upper teeth fixed to the skull, lower teeth to the jaw, and a cap behind both that moves with the lips.

    Sheets start hidden behind the lips, so that lips slide over teeth instead of stretching them.
    """
    line = (_rows(UPPER_INNER) + _rows(LOWER_INNER)) / 2
    narrow = 0.92 * line + 0.08 * line.mean(0)
    arch = 0.05 * np.linspace(-1, 1, len(line)) ** 2
    for part, jaw, ys, z, bone in (
        (2, 0.0, UPPER_TEETH, 0.03, UPPER_BONE),
        (3, 2.0, LOWER_TEETH, 0.045, LOWER_BONE),
    ):
        motion = _rows(bone).mean(0)
        rows = [
            build.row(narrow, np.stack([0 * arch, 0 * arch + y, z + arch], 1), 1.0, jaw, part, motion=motion)
            for y in ys
        ]
        for a, b in pairwise(rows):
            build.triangles += _strip(a, b) if part == 2 else _strip(b, a)
    back = np.array([0.0, 0.0, 0.10])
    top = build.row(_rows(UPPER_INNER), back - np.array([0, 0.02, 0]), 1.0, 1.0, 4)
    bottom = build.row(_rows(LOWER_INNER), back + np.array([0, 0.02, 0]), 1.0, 1.0, 4)
    build.triangles += _strip(top, bottom)


def build_topology(neutral: NDArray[np.float64]) -> Topology:
    """Topology over a neutral 468-vertex mesh in face widths (x right, y down, z away)."""
    build = _Builder(tessellation(neutral))
    _skirt(build, neutral)
    _mouth(build)
    return Topology(
        np.array(build.triangles, np.int32),
        np.array(build.anchors),
        np.array(build.motion),
        np.array(build.offsets),
        np.array(build.follows),
        np.array(build.jaw),
        np.array(build.parts, np.int8),
        np.array(build.depth),
    )


def unwrap(topology: Topology, open_mouth: NDArray[np.float64]) -> NDArray[np.float32]:
    """UV of every vertex, (V, 2) in 0..1, u right, v down.

    The face and skirt keep their frontal look, with the mouth enlarged by a smooth radial map; teeth and cap
    get rectangles below. open_mouth: (V, 3) the mesh with its mouth open, so that the lips lie unfolded.
    """
    uv = np.zeros((len(topology.parts), 2))
    face = topology.parts <= 1
    flat = _flatten(topology, open_mouth)
    mouth = flat[[13, 14, 78, 308]].mean(0)
    d = flat - mouth
    r = np.linalg.norm(d, axis=1, keepdims=True)
    reach = 0.30  # face widths: beyond, the layout is only shifted outward
    bigger = np.where(
        r < reach,
        MOUTH_ZOOM * r - (MOUTH_ZOOM - 1) * r**2 / (2 * reach),
        MOUTH_ZOOM * reach - (MOUTH_ZOOM - 1) * reach / 2 + (r - reach),
    )
    placed = d / np.maximum(r, 1e-9) * bigger + mouth
    lo, hi = placed[face].min(0), placed[face].max(0)
    uv[face] = ((placed - lo) / (hi - lo) * [0.98, FACE_PART - 0.02] + 0.01)[face]
    for part, left in ((2, 0.01), (3, 0.345), (4, 0.68)):
        at = np.flatnonzero(topology.parts == part)
        rows = len(at) // len(UPPER_INNER)
        u, v = np.meshgrid(np.linspace(0, 0.31, len(UPPER_INNER)), np.linspace(0, 1 - FACE_PART - 0.03, rows))
        if part == 3:
            v = v[::-1]  # the jaw's sheet is stored gum first; in the layout its teeth point up
        uv[at] = np.stack([u.ravel() + left, v.ravel() + FACE_PART + 0.015], 1)
    return uv.astype(np.float32)


def _flatten(topology: Topology, mesh: NDArray[np.float64]) -> NDArray[np.float64]:
    """Frontal projection (V, 2), turned outward where the surface turns away so that cheeks and neck keep
    their area.
    """
    centre = (mesh[FACE_LEFT] + mesh[FACE_RIGHT]) / 2
    d = mesh - centre
    depth = np.maximum(d[:, 2] - d[:BASE, 2].min(), 0)
    x = d[:, 0] * (1 + 0.35 * depth / np.maximum(np.abs(d[:, 0]), 0.25))
    return np.stack([x, d[:, 1] + 0.35 * topology.skirt_depth], 1)


def folded(triangles: NDArray[np.int32], uv: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(F,) triangles whose turn in the layout is against the majority's."""
    p = uv[triangles]
    area = _area(p)
    return np.asarray(area * np.sign(np.median(area)) <= 0)


def _area(p: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Twice the signed area of triangles (F, 3, 2)."""
    a, b = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], np.float64)

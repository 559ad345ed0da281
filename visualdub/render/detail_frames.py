"""Frames of an actor's footage that lend their fine detail to the drawn picture, and how near each is to what
a mouth is commanded to do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.face.landmarks import LIPS_INNER, LIPS_OUTER, face_width
from visualdub.face.models import FaceModel
from visualdub.face.raster import rasterise
from visualdub.face.track import Performance, Track
from visualdub.records import digest
from visualdub.render.recent import Latest
from visualdub.timing import MARGIN

LIPS = sorted({*LIPS_INNER, *LIPS_OUTER})
MESH_GRID = 16.0  # steps to a pixel in which packages keep the meshes
DEGREES = 12.0  # of head rotation that count as much as lips that are one hundredth of the face's width apart
NEAREST = 4  # frames that are mixed, the further the less: about as much as the mean of three
LEAST_SPREAD = 0.1  # of the model's own standard deviation; what hardly moved in the footage tells little
RAMP = 4  # frames beyond `MARGIN` over which a frame of the same clip comes to count
COARSER = 0.8  # pictures that would be shrunk below this are shrunk beforehand, so that they do not alias
HELD_PICTURES = 24  # decoded at a time
HELD_SMALL = 160  # of those that are shrunk to a crop, about 450 kB each
EDGE = 0.01  # of the mesh's height: this near to its outline and to the jaw's a frame may show what is behind
JUMP = 0.02  # of the mesh's height, between neighbouring pixels, that makes an outline
STRIP_DEPTH = 0.003  # of the mesh's height, by which the strip between the lips lies behind them
DEPTH_TOLERANCE = 0.01  # of the mesh's height; a point that lies deeper behind what is seen is hidden


@dataclass(frozen=True)
class DetailFrame:
    """One decoded frame, ready to be sampled."""

    picture: NDArray[np.float32]  # (h, w, 4) R'G'B' 0..255 of the lower face, and 1
    # (P, 3) `with_mouth`, pixels of `picture`, the first centre at (0.5, 0.5), and depth
    mesh: NDArray[np.float32]
    depth: NDArray[np.float32]  # (h, w) of what is seen of the mesh, inf beside it; smaller is nearer
    trusted: NDArray[np.float32]  # (h, w) the same, and -inf where the picture may show what lies behind
    tolerance: float  # of depth; what lies this much deeper is hidden


@dataclass(frozen=True)
class DetailFrames:
    """R frames of an actor's footage: pictures of the lower face at the plate's resolution, with what the
    face did in them. V model vertices, S speech components.
    """

    pictures: tuple[bytes, ...]  # JPEG
    mesh: NDArray[np.float32]  # (R, V, 3) x and y in pixels of the picture, and depth on the same scale
    jaw: NDArray[np.float64]  # (R,) radians
    expression: NDArray[np.float64]  # (R, S) the speech components
    rotation: NDArray[np.float64]  # (R, 3, 3) of the head
    scale: NDArray[np.float64]  # (R,) pixels of the picture per model unit
    source_hash: tuple[str, ...]  # of the clip's bytes, as `Track.source_hash`
    number: NDArray[np.int64]  # (R,) of the frame in its clip
    _decoded: Latest[tuple[int, float], DetailFrame] = field(
        default_factory=lambda: Latest(HELD_PICTURES), init=False, repr=False, compare=False
    )
    _small: Latest[tuple[int, float], DetailFrame] = field(
        default_factory=lambda: Latest(HELD_SMALL), init=False, repr=False, compare=False
    )

    def __len__(self) -> int:
        return len(self.pictures)

    @cached_property
    def digest(self) -> str:
        """A hash of everything that decides pixels."""
        numbers = (self.mesh, self.jaw, self.expression, self.rotation, self.scale, self.number)
        pictures = np.frombuffer(b"".join(self.pictures), np.uint8)
        return digest(*self.source_hash, *numbers, pictures)

    def require_model_of(self, track: Track) -> None:
        """Raise `BadInput` where the frames belong to another face model than `track`."""
        if self.mesh.shape[1] != track.model.vertex_count:
            raise BadInput(
                f"the actor's detail frames have {self.mesh.shape[1]} vertices; {track.source} is tracked"
                f" with {track.model.vertex_count}; adapt the actor again"
            )

    def distances_to(
        self, lips: NDArray[np.float64], track: Track, performance: Performance, i: int
    ) -> NDArray[np.float64]:
        """(R,) how far each frame is from frame `i` of a track that plays `performance`; lips as in
        `distances`.
        """
        jaw, expression = performance.jaw[i : i + 1], performance.expression[i : i + 1]
        (wanted,) = lip_shapes(track.model, track.identity, jaw, expression)
        return self.distances(lips, wanted, track.rotation[i])

    def distances(
        self, lips: NDArray[np.float64], wanted: NDArray[np.float64], rotation: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(R,) how far each frame is from a commanded mouth: 1 is one hundredth of the face's width between
        the lips, root mean square, or `DEGREES` of head rotation.

        lips: (R, L, 3) the `lip_shapes` of these frames. wanted: (L, 3) that of the command. rotation:
        (3, 3) of its head.
        """
        apart = np.square(lips - wanted).sum(-1).mean(-1)
        turned = rotation_degrees(self.rotation, rotation) / DEGREES
        return np.asarray(np.sqrt(apart + turned**2))

    def weights(
        self, distances: NDArray[np.float64], source_hash: str, number: int, margin: int = MARGIN
    ) -> NDArray[np.float64]:
        """(R,) shares of the nearest frames, which sum to 1; all 0 where no frame may be used.

        A share falls to 0 where a frame comes to be as far as the nearest one that is not mixed, so that no
        frame appears or goes at once. Frames of the clip `source_hash` less than `margin` away from frame
        `number` have no share: what is drawn must not be its own source.
        """
        allowed = self.allowed(source_hash, number, margin)
        usable = np.flatnonzero(allowed > 0)
        shares = np.zeros(len(self))
        if not len(usable):
            return shares
        order = usable[np.argsort(distances[usable], kind="stable")]
        limit = distances[order[NEAREST]] if len(order) > NEAREST else 2 * distances[order[-1]] + 1e-9
        near = order[:NEAREST]
        shares[near] = np.maximum(1 - distances[near] / max(limit, 1e-9), 1e-6) * allowed[near]
        return np.asarray(shares / shares.sum())

    def allowed(self, source_hash: str, number: int, margin: int) -> NDArray[np.float64]:
        """(R,) 0 for frames of the clip `source_hash` less than `margin` away from frame `number`, 1 for all
        others but those next to them.
        """
        away = np.abs(self.number - number)
        same = np.array([h == source_hash for h in self.source_hash])
        return np.asarray(np.where(same, np.clip((away - margin + 1) / (RAMP + 1), 0, 1), 1.0))

    def frame(self, index: int, model: FaceModel, reduction: float = 1.0) -> DetailFrame:
        """Frame `index`, decoded; the last `HELD_PICTURES` are kept. reduction: what it will be shrunk by;
        where that is much it is shrunk now. Raises `BadInput` where the picture cannot be decoded.
        """
        return self._kept(self._decoded, index, model, reduction)

    def small_frame(self, index: int, model: FaceModel, reduction: float) -> DetailFrame:
        """As `frame`, for frames that are no larger than a crop: the last `HELD_SMALL` are kept."""
        return self._kept(self._small, index, model, reduction)

    def _kept(
        self, held: Latest[tuple[int, float], DetailFrame], index: int, model: FaceModel, reduction: float
    ) -> DetailFrame:
        key = index, reduction
        found = held.get(key)
        if found is None:
            found = self._decode(index, model, reduction)
            held.put(key, found)
        return found

    def _decode(self, index: int, model: FaceModel, reduction: float) -> DetailFrame:
        data = np.frombuffer(self.pictures[index], np.uint8)
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
        if bgr is None:
            raise BadInput(f"detail frame {index} of the actor is not a JPEG picture; adapt the actor again")
        mesh = with_mouth(self.mesh[index], model).astype(np.float32)
        if reduction < COARSER:
            h, w = (max(8, round(n * reduction)) for n in bgr.shape[:2])
            across, down = w / bgr.shape[1], h / bgr.shape[0]
            mesh = mesh * np.array([across, down, np.sqrt(across * down)], np.float32)
            bgr = cv2.resize(bgr, (w, h), interpolation=cv2.INTER_AREA)
        depth, trusted = seen_depths(mesh, model, bgr.shape[0], bgr.shape[1])
        tolerance = DEPTH_TOLERANCE * float(np.ptp(mesh[:, 1]))
        picture = with_ones(np.asarray(bgr[..., ::-1], np.uint8))
        return DetailFrame(picture, np.ascontiguousarray(mesh, np.float32), depth, trusted, tolerance)


def with_ones(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`DetailFrame.picture` (h, w, 4) of R'G'B' codes (h, w, 3)."""
    picture = np.ones((*rgb.shape[:2], 4), np.float32)
    picture[..., :3] = rgb
    return picture


def seen_depths(
    mesh: NDArray[np.floating[Any]], model: FaceModel, height: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`DetailFrame.depth` and `DetailFrame.trusted` (h, w) of a mesh `with_mouth` in a picture.

    A mesh fits a picture to a pixel or two: near its outline, and where the jaw hides the neck, the picture
    may show what lies behind.
    """
    triangles, tall = mouth_triangles(model), float(np.ptp(mesh[:, 1]))
    raster = rasterise(mesh, triangles, height, width)
    on_face = np.isin(triangles, model.face_triangles).all(1) | (triangles >= model.vertex_count).any(1)
    neck_or_face = np.where(raster.hit, 1 + on_face[raster.face_index], 0).astype(np.float32)
    across = np.ones((3, 3), np.uint8)
    known = np.where(raster.hit, raster.depth, np.float32(1e6))
    jump = cv2.dilate(known, across) - cv2.erode(known, across)
    edge = (cv2.dilate(neck_or_face, across) != cv2.erode(neck_or_face, across)) & (jump > JUMP * tall)
    inside = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 3)
    return raster.depth, np.where(inside < EDGE * tall, np.float32(-np.inf), raster.depth)


def margin_among(count: int) -> int:
    """How far frames of the same clip must be away from the one that is drawn, of `count`: a
    second of footage has none that is `MARGIN` away.
    """
    return min(MARGIN, count // 3)


# ---- what pictures are carried through ---------------------------------------------------------------------

# Lips and what is seen between them are one surface here: the hole of the mouth is closed by a strip from the
# lower to the upper lip. Teeth of their own would be sampled where another frame's lips hide them, and the
# picture would jump where they meet the lips; frames whose mouths are alike show them at the same share of
# the way between the lips.


def with_mouth(mesh: NDArray[np.floating[Any]], model: FaceModel) -> NDArray[np.float64]:
    """(V + 20, 3) a mesh (V, 3), in the picture, with the inner rim of its lips once more, a little deeper:
    the corners of the strip between them. Depth grows away from the camera.
    """
    mesh = np.asarray(mesh, np.float64)
    rim = model.landmarks(mesh)[list(LIPS_INNER)]
    rim[:, 2] += STRIP_DEPTH * float(np.ptp(mesh[:, 1]))
    return np.concatenate([mesh, rim])


def mouth_triangles(model: FaceModel) -> NDArray[np.int32]:
    """(F, 3) the triangles of `with_mouth`: the skin and the strip."""
    count = len(LIPS_INNER)
    lower = model.vertex_count + np.arange(count // 2 + 1)  # from corner to corner
    upper = model.vertex_count + (count - np.arange(count // 2 + 1)) % count
    strip = [(lower[:-1], lower[1:], upper[:-1]), (upper[:-1], lower[1:], upper[1:])]
    triangles = np.concatenate([model.skin_triangles, *(np.stack(t, 1) for t in strip)])
    return np.ascontiguousarray(triangles, np.int32)


# ---- what the faces did ------------------------------------------------------------------------------------


def lip_shapes(
    model: FaceModel,
    identity: NDArray[np.float64],
    jaw: NDArray[np.float64],
    expression: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(n, L, 3) where the lips are, in hundredths of the face's width, for jaw (n,) in radians and speech
    components (n, S or more). The components of another part of the face move no lip here.

    Lips that look alike are near each other in this measure, whatever mixture of components moved them.
    """
    full = np.zeros((len(jaw), model.n_expression))
    full[:, : model.n_speech] = expression[:, : model.n_speech]
    meshes = np.stack([model.vertices(identity, a, e) for a, e in zip(jaw, full, strict=True)])
    width = face_width(model.landmarks(identity))
    return np.asarray(model.landmarks(meshes)[:, LIPS] * (100 / width))


def spread_of(motion: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1 + S,) standard deviations of motion (n, 1 + S), jaw in radians and speech components, not below
    `LEAST_SPREAD` of what people do.
    """
    usual = np.ones(motion.shape[1])
    usual[0] = 0.06  # radians, of the jaw in speech
    return np.asarray(np.maximum(motion.std(0), LEAST_SPREAD * usual))


def rotation_degrees(rotations: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) angles between rotations (n, 3, 3) and another (3, 3)."""
    traces = np.einsum("nij,ij->n", rotations, other)
    return np.asarray(np.degrees(np.arccos(np.clip((traces - 1) / 2, -1, 1))))

"""The landmarks of every face of a shot, each face tracked by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.face.mediapipe_models import LANDMARKS, Box, Detector, MeshTracker, Rgb, landmark_box
from visualdub.mapped import let_go, spilled_blocks
from visualdub.stages import Progress, StageClock

DETECT_EVERY = 10  # frames between two searches for new faces
MAX_FACES = 4
BLOCK = 1000  # frames whose landmarks are put in order at once
DETECTOR_VERSION = 2  # changes with every change of the landmarks that `find_faces` gives


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    inner = np.maximum(0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]))
    cut = float(inner[0] * inner[1])
    return cut / (float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])) - cut + 1e-9)


@dataclass
class FaceTrack:
    """One face through a shot: landmarks by frame offset from the first frame that was looked at."""

    found: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    box: Box = field(default_factory=lambda: np.zeros(4))
    last_seen: int = -1
    shot: int = 0  # how many shots began before the one it was seen in

    def dense(self, count: int) -> NDArray[np.float32]:
        """(count, 478, 3), NaN where the face was not found."""
        starts, shape = range(0, count, BLOCK), (count, LANDMARKS, 3)
        return spilled_blocks(
            lambda: (self._rows(first, min(first + BLOCK, count)) for first in starts),
            shape,
            np.dtype(np.float32),
        )

    def _rows(self, first: int, end: int) -> NDArray[np.float32]:
        """`dense` of the frames `first` .. `end` - 1."""
        out = np.full((end - first, LANDMARKS, 3), np.nan, np.float32)
        for i in range(first, end):
            if i in self.found:
                out[i - first] = self.found[i]
                let_go(self.found[i])
        return out


class FaceFinder:
    """Follows all faces through a clip, each within one shot: add the frames in order, then read `faces`."""

    def __init__(self) -> None:
        self.faces: list[FaceTrack] = []
        self._detector = Detector()
        self._meshes: dict[int, MeshTracker] = {}  # by index into faces, the ones being followed
        self._idle: list[MeshTracker] = []
        self._count = self._shot = 0

    def add(self, rgb: Rgb, *, new_shot: bool = False) -> None:
        """Take the next frame (H, W, 3) uint8. new_shot: no face of the frames before is followed into it."""
        i, self._count = self._count, self._count + 1
        if new_shot:
            self._idle += self._meshes.values()
            self._meshes, self._shot = {}, self._shot + 1
        lost = [k for k, mesh in self._meshes.items() if not self._follow(k, mesh, i, rgb)]
        if lost or not self._meshes or i % DETECT_EVERY == 0:
            boxes = self._detector.boxes(rgb)
            for k in lost:
                self._retry(k, i, rgb, boxes)
            faces: Sequence[tuple[Box, int | None]] = [(box, None) for box in boxes]
            if not boxes and not self._meshes and (new_shot or i % DETECT_EVERY == 0):
                faces = self._detector.turned_boxes(rgb)
            self._meet(i, rgb, faces)

    def _follow(self, k: int, mesh: MeshTracker, i: int, rgb: Rgb) -> bool:
        points = mesh.landmarks(rgb)
        if points is None:
            return False
        box = landmark_box(points)
        others = (f for j, f in enumerate(self.faces) if j != k and j in self._meshes and f.last_seen == i)
        if any(iou(box, f.box) > 0.6 for f in others):  # two trackers on one face: the later one stops
            return False
        face = self.faces[k]
        face.found[i], face.box, face.last_seen = points, box, i
        mesh.keep_in_view(points, rgb.shape)
        return True

    def _retry(self, k: int, i: int, rgb: Rgb, boxes: list[Box]) -> None:
        """Search for a lost face where the detector finds one; otherwise stop tracking it."""
        near = max(boxes, key=lambda b: iou(b, self.faces[k].box), default=None)
        mesh = self._meshes[k]
        if near is not None and iou(near, self.faces[k].box) > 0.1:
            mesh.look_at(near, rgb.shape)
            if self._follow(k, mesh, i, rgb):
                return
        self._idle.append(self._meshes.pop(k))

    def _meet(self, i: int, rgb: Rgb, faces: Sequence[tuple[Box, int | None]]) -> None:
        """Start to track new faces, whose turn is looked for where it is None; a face that was lost in the
        same place is continued.
        """
        for box, turn in faces:
            if len(self._meshes) >= MAX_FACES:
                return
            if any(iou(box, self.faces[k].box) > 0.2 for k in self._meshes):
                continue
            lost = [
                k
                for k, f in enumerate(self.faces)
                if f.shot == self._shot and k not in self._meshes and iou(box, f.box) > 0.1
            ]
            k = max(lost, key=lambda k: iou(box, self.faces[k].box)) if lost else len(self.faces)
            mesh = self._idle.pop() if self._idle else MeshTracker()
            mesh.look_at(box, rgb.shape, self._detector.turn_of(rgb, box) if turn is None else turn)
            if k == len(self.faces):
                self.faces.append(FaceTrack(box=box, shot=self._shot))
            self._meshes[k] = mesh
            if not self._follow(k, mesh, i, rgb):
                self._idle.append(self._meshes.pop(k))
                if not self.faces[k].found:
                    self.faces.pop(k)

    def close(self) -> None:
        """Free the networks."""
        self._detector.close()
        for mesh in (*self._meshes.values(), *self._idle):
            mesh.close()
        self._meshes, self._idle = {}, []


def find_faces(
    frames: Iterable[Rgb], progress: Progress | None = None, total: int = 0, clock: StageClock | None = None
) -> tuple[list[FaceTrack], int]:
    """Track every face through `frames`, pictures (H, W, 3) uint8 in order.

    Returns the faces and the number of frames. total: the expected number of frames, for the progress. clock:
    takes the time spent in MediaPipe alone, as stage "mediapipe".
    """
    finder, count, clock = FaceFinder(), 0, clock or StageClock()
    try:
        for rgb in frames:
            with clock.stage("mediapipe"):
                finder.add(rgb)
            count += 1
            if progress is not None:
                progress.report("tracking", count, max(total, count))
    finally:
        finder.close()
    return finder.faces, count


def presence(face: FaceTrack) -> float:
    """The area of a face's boxes, summed over its frames."""
    return float(sum(np.prod(landmark_box(p)[2:] - landmark_box(p)[:2]) for p in face.found.values()))


def choose_face(faces: Sequence[FaceTrack], wanted: str | None, name: str) -> FaceTrack:
    """The face that a user means by `--face`.

    wanted: an index, 0 being the most present face; a point `x,y` in pixels, which are square as in the
    overlay movie; None for the most present.

    Presence is the summed area of its boxes over the shot. Raises `BadInput` for a face that is not there.
    """
    ranked = sorted((f for f in faces if f.found), key=presence, reverse=True)
    if wanted is None:
        return ranked[0]
    parts = wanted.split(",")
    if len(parts) == 1 and wanted.strip().isdigit():
        if int(wanted) >= len(ranked):
            raise BadInput(f"--face {wanted}: {name} has {len(ranked)} faces, numbered from 0")
        return ranked[int(wanted)]
    try:
        x, y = (float(p) for p in parts)
    except ValueError:
        raise BadInput(f"--face {wanted!r} is neither an index nor a point x,y in pixels") from None
    for face in ranked:
        for points in face.found.values():
            box = landmark_box(points)
            if box[0] <= x < box[2] and box[1] <= y < box[3]:
                return face
    raise BadInput(f"--face {wanted}: no face of {name} is ever at that point")

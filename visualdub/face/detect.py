"""MediaPipe's detector and mesh: every face of a shot, tracked apart, landmarks in pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.stages import StageClock

os.environ.setdefault("GLOG_minloglevel", "2")  # MediaPipe's C++ log would end up between our progress bars

LANDMARKS = 478  # 468 of the mesh, 10 of the irises
DETECT_EVERY = 10  # frames between looks for new faces
WINDOW = 2.0  # side of the picture handed to the mesh, in face boxes
WINDOW_PIXELS = 384  # the mesh reads 192 pixels of face; more only aliases
MAX_FACES = 4
MIN_FACE_PIXELS = 24

Box = NDArray[np.float64]  # x0, y0, x1, y1 in pixels, x1 and y1 exclusive
Rgb = NDArray[np.uint8]  # (H, W, 3)


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    inner = np.maximum(0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]))
    cut = float(inner[0] * inner[1])
    return cut / (float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])) - cut + 1e-9)


def landmark_box(landmarks: NDArray[np.floating[Any]]) -> Box:
    """Bounding box of one frame's landmarks (478, 3)."""
    return np.asarray(np.concatenate([landmarks[:, :2].min(0), landmarks[:, :2].max(0)]), np.float64)


class Detector:
    """MediaPipe's full-range face detector: finds faces too small for the mesh's own."""

    def __init__(self, min_confidence: float = 0.4) -> None:
        import mediapipe as mp

        self._net = mp.solutions.face_detection.FaceDetection(model_selection=1, min_detection_confidence=min_confidence)

    def boxes(self, rgb: Rgb) -> list[Box]:
        """Faces of one picture, largest first."""
        h, w = rgb.shape[:2]
        found = []
        for d in self._net.process(rgb).detections or ():
            r = d.location_data.relative_bounding_box
            box = np.array([r.xmin * w, r.ymin * h, (r.xmin + r.width) * w, (r.ymin + r.height) * h])
            if min(box[2] - box[0], box[3] - box[1]) >= MIN_FACE_PIXELS:
                found.append(box)
        return sorted(found, key=lambda b: -float((b[2] - b[0]) * (b[3] - b[1])))

    def close(self) -> None:
        self._net.close()


class MeshTracker:
    """The mesh of one face, run on a window around it that moves only when the face nears its edge.

    A window that followed each frame would restart MediaPipe's own tracking and add its rounding to the landmarks.
    """

    def __init__(self) -> None:
        import mediapipe as mp

        self._net = mp.solutions.face_mesh.FaceMesh(
            static_image_mode=False, max_num_faces=1, refine_landmarks=True, min_detection_confidence=0.3,
            min_tracking_confidence=0.5)
        self._window: NDArray[np.int64] | None = None
        self._face_side = 0.0

    def look_at(self, box: Box, shape: tuple[int, ...]) -> None:
        """Put the window around `box` and forget the previous frame."""
        centre, side = (box[:2] + box[2:]) / 2, float(max(box[2:] - box[:2]))
        half = side * WINDOW / 2
        h, w = shape[:2]
        x0, y0 = np.floor(np.maximum(centre - half, 0)).astype(int)
        x1, y1 = np.ceil(np.minimum(centre + half, (w, h))).astype(int)
        self._window, self._face_side = np.array([x0, y0, x1, y1]), side
        self._net.reset()

    def landmarks(self, rgb: Rgb) -> NDArray[np.float32] | None:
        """(478, 3) in pixels of the whole picture, or None where the window holds no face."""
        if self._window is None or min(self._window[2:] - self._window[:2]) < MIN_FACE_PIXELS // 2:
            return None
        x0, y0, x1, y1 = self._window
        view: NDArray[Any] = rgb[y0:y1, x0:x1]
        h, w = view.shape[:2]
        shrink = WINDOW_PIXELS / max(h, w)
        if shrink < 1:
            view = cv2.resize(view, (round(w * shrink), round(h * shrink)), interpolation=cv2.INTER_AREA)
        found = self._net.process(np.ascontiguousarray(view)).multi_face_landmarks
        if not found:
            return None
        points: NDArray[np.float32] = np.array([(p.x, p.y, p.z) for p in found[0].landmark], np.float32)
        points = points * np.array([w, h, w], np.float32) + np.array([x0, y0, 0], np.float32)
        box = landmark_box(points)
        if min(box[2:] - box[:2]) < MIN_FACE_PIXELS / 2:
            return None
        return points

    def keep_in_view(self, landmarks: NDArray[np.float32], shape: tuple[int, ...]) -> None:
        """Move the window for the next frame when the face nears its edge or changed size."""
        box = landmark_box(landmarks)
        assert self._window is not None
        centre, side = (box[:2] + box[2:]) / 2, float(max(box[2:] - box[:2]))
        drift = np.abs(centre - (self._window[:2] + self._window[2:]) / 2).max()
        h, w = shape[:2]
        whole = bool((self._window == np.array([0, 0, w, h])).all())
        if not 0.75 < side / self._face_side < 1.33 or (drift > 0.3 * self._face_side and not whole):
            self.look_at(box, shape)

    def close(self) -> None:
        self._net.close()


@dataclass
class FaceTrack:
    """One face through the shot: landmarks by frame offset from the shot's first frame."""

    found: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    box: Box = field(default_factory=lambda: np.zeros(4))
    last_seen: int = -1

    def dense(self, count: int) -> NDArray[np.float32]:
        """(count, 478, 3), NaN where the face was not found."""
        out = np.full((count, LANDMARKS, 3), np.nan, np.float32)
        for i, points in self.found.items():
            out[i] = points
        return out


class FaceFinder:
    """All faces of a shot, frame by frame. Feed frames in order with `add`; then read `faces`."""

    def __init__(self) -> None:
        self.faces: list[FaceTrack] = []
        self._detector = Detector()
        self._meshes: dict[int, MeshTracker] = {}  # by index into faces, the ones being followed
        self._idle: list[MeshTracker] = []
        self._count = 0

    def add(self, rgb: Rgb) -> None:
        """Take the next frame (H, W, 3) uint8."""
        i, self._count = self._count, self._count + 1
        lost = [k for k, mesh in self._meshes.items() if not self._follow(k, mesh, i, rgb)]
        if lost or not self._meshes or i % DETECT_EVERY == 0:
            boxes = self._detector.boxes(rgb)
            for k in lost:
                self._retry(k, i, rgb, boxes)
            self._meet(i, rgb, boxes)

    def _follow(self, k: int, mesh: MeshTracker, i: int, rgb: Rgb) -> bool:
        points = mesh.landmarks(rgb)
        if points is None:
            return False
        box = landmark_box(points)
        others = (f for j, f in enumerate(self.faces) if j != k and j in self._meshes and f.last_seen == i)
        if any(iou(box, f.box) > 0.6 for f in others):  # two windows on one face: the later one lets go
            return False
        face = self.faces[k]
        face.found[i], face.box, face.last_seen = points, box, i
        mesh.keep_in_view(points, rgb.shape)
        return True

    def _retry(self, k: int, i: int, rgb: Rgb, boxes: list[Box]) -> None:
        """A followed face was missed: look again where the detector sees one, else let it go."""
        near = max(boxes, key=lambda b: iou(b, self.faces[k].box), default=None)
        mesh = self._meshes[k]
        if near is not None and iou(near, self.faces[k].box) > 0.1:
            mesh.look_at(near, rgb.shape)
            if self._follow(k, mesh, i, rgb):
                return
        self._idle.append(self._meshes.pop(k))

    def _meet(self, i: int, rgb: Rgb, boxes: list[Box]) -> None:
        """Start following faces that nobody follows yet; one that was lost in this place is the same face."""
        for box in boxes:
            if len(self._meshes) >= MAX_FACES:
                return
            if any(iou(box, self.faces[k].box) > 0.2 for k in self._meshes):
                continue
            lost = [k for k, f in enumerate(self.faces) if k not in self._meshes and iou(box, f.box) > 0.1]
            k = max(lost, key=lambda k: iou(box, self.faces[k].box)) if lost else len(self.faces)
            mesh = self._idle.pop() if self._idle else MeshTracker()
            mesh.look_at(box, rgb.shape)
            if k == len(self.faces):
                self.faces.append(FaceTrack(box=box))
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


def find_faces(frames: Iterable[Rgb], progress: Callable[[int], None] | None = None,
               clock: StageClock | None = None) -> tuple[list[FaceTrack], int]:
    """Track every face through `frames` (uint8 RGB pictures, in order). Returns the faces and how many frames came.

    clock: takes the time spent in MediaPipe alone, as stage "mediapipe".
    """
    finder, count, clock = FaceFinder(), 0, clock or StageClock()
    try:
        for rgb in frames:
            with clock.stage("mediapipe"):
                finder.add(rgb)
            count += 1
            if progress is not None:
                progress(count)
    finally:
        finder.close()
    return finder.faces, count


def choose_face(faces: list[FaceTrack], wanted: str | None, name: str) -> FaceTrack:
    """The face a user means by `--face`: an index (0 = most present), `x,y` in pixels, or None for the most present.

    Presence is the summed area of its boxes over the shot. Raises `BadInput` for a face that is not there.
    """
    def presence(f: FaceTrack) -> float:
        return float(sum(np.prod(landmark_box(p)[2:] - landmark_box(p)[:2]) for p in f.found.values()))

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

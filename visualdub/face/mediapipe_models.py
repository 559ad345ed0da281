"""MediaPipe's networks, behind this one module: face detector, landmark mesh, hands, selfie segmentation."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.errors import InternalError
from visualdub.storage import cache_folder

os.environ.setdefault("GLOG_minloglevel", "2")  # MediaPipe's C++ log would end up between our progress bars
if not os.access(os.path.expanduser("~"), os.W_OK):  # Matplotlib, which draws plots, keeps a list of fonts
    os.environ.setdefault("MPLCONFIGDIR", str(cache_folder() / "matplotlib"))

LANDMARKS = 478  # 468 of the mesh, 10 of the irises
WINDOW = 2.0  # side of the picture handed to the mesh, in face boxes
WINDOW_PIXELS = 384  # the mesh reads 192 pixels of face; more only aliases
MIN_FACE_PIXELS = 24
TURN_MARGIN = 0.15  # by how much more certain the detector must be of a turned face
MAX_HANDS = 2

Box = NDArray[np.float64]  # x0, y0, x1, y1 in pixels, x1 and y1 exclusive
Rgb = NDArray[np.uint8]  # (H, W, 3)


def _solutions() -> Any:
    """The module `mediapipe.solutions`; it loads TensorFlow Lite, so only when it is used.

    It loads Matplotlib for drawings (0.10.21), which takes longer than all the rest and is never used here:
    an empty module stands in for it until MediaPipe is loaded.
    """
    names = [n for n in ("matplotlib", "matplotlib.pyplot") if n not in sys.modules]
    empty = {} if "mediapipe" in sys.modules else {n: ModuleType(n) for n in names}
    sys.modules.update(empty)
    try:
        import mediapipe
    finally:
        for name in empty:
            del sys.modules[name]
    return mediapipe.solutions


def landmark_box(landmarks: NDArray[np.floating[Any]]) -> Box:
    """Bounding box of one frame's landmarks (478, 3)."""
    return np.asarray(np.concatenate([landmarks[:, :2].min(0), landmarks[:, :2].max(0)]), np.float64)


def mesh_edges() -> list[tuple[int, int]]:
    """The directed edges of the tessellation of the mesh's 468 vertices, sorted."""
    edges: frozenset[tuple[int, int]] = _solutions().face_mesh_connections.FACEMESH_TESSELATION
    return sorted(edges)


def run_net(net: Any, picture: Rgb, output: str) -> Any:
    """What a network of MediaPipe gives for a picture under the name `output`; None where it found nothing.

    Each call makes a class of its own for its results (0.10.21), which only the cyclic garbage collector can
    free. The results are taken out of it, or a long clip would hold many of them until it runs.
    """
    results = net.process(np.ascontiguousarray(picture))
    found = getattr(results, output)
    for name in results._fields:
        setattr(results, name, None)
    return found


def turned_back(points: NDArray[Any], turn: int, width: int, height: int) -> NDArray[Any]:
    """Points (..., 2 or 3) in a picture that was turned `turn` quarters counter-clockwise, in pixels of the
    picture of `width` x `height` before; z stays.
    """
    x, y = points[..., 0], points[..., 1]
    moved = points.copy()
    moved[..., 0], moved[..., 1] = [(x, y), (width - y, x), (width - x, height - y), (y, height - x)][turn]
    return moved


class _Net:
    """A network of MediaPipe, for `contextlib.closing`."""

    _net: Any

    def close(self) -> None:
        """Free the network."""
        self._net.close()


class Detector:
    """MediaPipe's full-range face detector: finds faces too small for the mesh's own."""

    def __init__(self, min_confidence: float = 0.4) -> None:
        self._net = _solutions().face_detection.FaceDetection(
            model_selection=1, min_detection_confidence=min_confidence
        )

    def boxes(self, rgb: Rgb) -> list[Box]:
        """Faces of one picture, largest first."""
        h, w = rgb.shape[:2]
        found = []
        for d in run_net(self._net, rgb, "detections") or ():
            r = d.location_data.relative_bounding_box
            box = np.array([r.xmin * w, r.ymin * h, (r.xmin + r.width) * w, (r.ymin + r.height) * h])
            if min(box[2] - box[0], box[3] - box[1]) >= MIN_FACE_PIXELS:
                found.append(box)
        return sorted(found, key=lambda b: -float((b[2] - b[0]) * (b[3] - b[1])))

    def turned_boxes(self, rgb: Rgb) -> list[tuple[Box, int]]:
        """Faces that lie or stand on their heads in one picture, largest first: boxes, and quarter turns
        counter-clockwise of the picture after which they are upright.
        """
        h, w = rgb.shape[:2]
        found = []
        for turn in (2, 1, 3):
            for box in self.boxes(np.ascontiguousarray(np.rot90(rgb, turn))):
                corners = turned_back(box.reshape(2, 2), turn, w, h)
                found.append((np.concatenate([corners.min(0), corners.max(0)]), turn))
        return sorted(found, key=lambda f: -float((f[0][2] - f[0][0]) * (f[0][3] - f[0][1])))

    def turn_of(self, rgb: Rgb, box: Box) -> int:
        """Quarter turns counter-clockwise after which the face in `box` is upright: the turn with which the
        detector is most certain, no turn where it is about as certain without.
        """
        h, w = rgb.shape[:2]
        half = float(max(box[2:] - box[:2])) * WINDOW / 2
        centre = (box[:2] + box[2:]) / 2
        x0, y0 = np.maximum(centre - half, 0).astype(int)
        x1, y1 = np.minimum(np.ceil(centre + half), (w, h)).astype(int)
        view = rgb[y0:y1, x0:x1]
        certain = [self._certainty(np.ascontiguousarray(np.rot90(view, turn))) for turn in range(4)]
        best = int(np.argmax(certain))
        return best if certain[best] > certain[0] + TURN_MARGIN else 0

    def _certainty(self, rgb: Rgb) -> float:
        """0..1 of the face about which the detector is most certain; 0 where there is none."""
        return max((float(d.score[0]) for d in run_net(self._net, rgb, "detections") or ()), default=0.0)

    def close(self) -> None:
        self._net.close()


class MeshTracker:
    """The mesh of one face, run on a window around it that moves only when the face nears its edge.

    A window that followed each frame would restart MediaPipe's own tracking and add its rounding to the
    landmarks.
    """

    def __init__(self) -> None:
        self._net = _solutions().face_mesh.FaceMesh(
            static_image_mode=False,
            max_num_faces=1,
            refine_landmarks=True,
            min_detection_confidence=0.3,
            min_tracking_confidence=0.5,
        )
        self._window: NDArray[np.int64] | None = None
        self._face_side = 0.0
        self._turn = 0  # quarters, counter-clockwise, by which the picture is turned

    def look_at(self, box: Box, shape: tuple[int, ...], turn: int | None = None) -> None:
        """Put the window around `box` and forget the previous frame.

        turn: quarters counter-clockwise after which the face is upright; None: as before.
        """
        self._turn = self._turn if turn is None else turn
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
        found = run_net(self._net, np.rot90(view, self._turn), "multi_face_landmarks")
        if not found:
            return None
        points: NDArray[np.float32] = np.array([(p.x, p.y, p.z) for p in found[0].landmark], np.float32)
        if self._turn % 2:
            points = turned_back(points * np.array([h, w, h], np.float32), self._turn, w, h)
        else:
            points = turned_back(points * np.array([w, h, w], np.float32), self._turn, w, h)
        points = points + np.array([x0, y0, 0], np.float32)
        box = landmark_box(points)
        if min(box[2:] - box[:2]) < MIN_FACE_PIXELS / 2:
            return None
        return points

    def keep_in_view(self, landmarks: NDArray[np.float32], shape: tuple[int, ...]) -> None:
        """Move the window for the next frame when the face nears its edge or changed size."""
        box = landmark_box(landmarks)
        if self._window is None:
            raise InternalError("the landmark window was to be moved before `look_at` had placed it")
        centre, side = (box[:2] + box[2:]) / 2, float(max(box[2:] - box[:2]))
        drift = np.abs(centre - (self._window[:2] + self._window[2:]) / 2).max()
        h, w = shape[:2]
        whole = bool((self._window == np.array([0, 0, w, h])).all())
        if not 0.75 < side / self._face_side < 1.33 or (drift > 0.3 * self._face_side and not whole):
            self.look_at(box, shape)

    def close(self) -> None:
        self._net.close()


class HandFinder(_Net):
    """MediaPipe's palm detector and hand landmarks, whose models are in the wheel.

    Every picture is searched by itself.
    """

    def __init__(self, min_confidence: float = 0.5) -> None:
        self._net = _solutions().hands.Hands(
            static_image_mode=True,
            max_num_hands=MAX_HANDS,
            model_complexity=0,
            min_detection_confidence=min_confidence,
            min_tracking_confidence=min_confidence,
        )

    def hands(self, rgb: Rgb) -> list[NDArray[np.float32]]:
        """The landmarks of each hand, (21, 2) in pixels of the picture (H, W, 3), surest first; pixel centres
        at + 0.5.
        """
        height, width = rgb.shape[:2]
        found = run_net(self._net, rgb, "multi_hand_landmarks") or ()
        size = np.array([width, height], np.float32)
        return [np.array([(p.x, p.y) for p in hand.landmark], np.float32) * size for hand in found]


class Segmenter(_Net):
    """MediaPipe's selfie segmentation, whose model is in the wheel. Every picture is segmented by itself."""

    def __init__(self) -> None:
        self._net = _solutions().selfie_segmentation.SelfieSegmentation(model_selection=0)

    def person(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(S, S) probability 0..1 of "person", with clothes and hair, for each pixel of a crop (S, S, 3)."""
        found: NDArray[np.float32] = run_net(self._net, crop, "segmentation_mask")
        return np.array(found, dtype=np.float32)

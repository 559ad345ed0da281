"""Windows that an export is checked on: the actor's own reference crops, with the mouth moved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from visualdub.face.crop import Crop
from visualdub.face.fit import fit_shot
from visualdub.face.geometry import frame_geometry
from visualdub.face.mediapipe_models import MeshTracker
from visualdub.face.models import face_model
from visualdub.face.track import Performance, Track
from visualdub.render.aligned_references import CHANNELS, AlignedReferences
from visualdub.render.detail_frames import DetailFrames
from visualdub.render.near_frames import NearFrames
from visualdub.render.runtime import channels_first

# How far the mouth opens from frame to frame of a window, in the model's `jaw_limit`s; every fourth window,
# which nothing is calibrated on, has openings of its own.
OPENINGS = (
    (0.0, 0.25, 0.5, 0.75, 1.0),
    (1.0, 0.8, 0.6, 0.3, 0.1),
    (0.1, 0.6, 1.2, 0.9, 0.4),
    (0.5, 0.9, 0.2, 0.7, 0.0),
)
LIGHTS = (1.0, 0.85, 1.15)  # times the crop's codes: a shot need not be lit as the references are
HELD_OUT = 3  # of four windows, the number of the one that nothing is calibrated on


@dataclass(frozen=True)
class Window:
    """One window of T frames as the renderer takes it, S x S crop pixels."""

    frames: NDArray[np.uint8]  # (T, S, S, 3) full-range R'G'B'
    uv: NDArray[np.float32]  # (T, S, S, 2) texture coordinates, -1 off the mesh
    mask: NDArray[np.float32]  # (T, S, S) 0/1, the region to draw
    # (T, S, S, 4) aligned references, see `visualdub.render.aligned_references`; None: the network takes none
    aligned: NDArray[np.uint8] | None = None

    @property
    def feed(self) -> dict[str, NDArray[np.float32]]:
        """The inputs of `renderer.onnx`, with a batch of 1."""
        feed = {"frame": channels_first(self.frames), "uv": self.uv[None], "mask": self.mask[None]}
        return feed if self.aligned is None else {**feed, "aligned": channels_first(self.aligned)}


def reference_windows(
    references: NDArray[np.uint8],
    model: str,
    window: int,
    count: int,
    footage: DetailFrames | None = None,
    aligned: bool = False,
) -> list[Window]:
    """`count` windows of `window` frames of an actor's references (R, S, S, 3): in each, one reference in one
    light opens and closes its mouth as in a shot. model: name of the face model. footage: frames that the
    package keeps, the source of aligned references where the network takes them (`aligned`). Empty where no
    face is found in any of the references.
    """
    landmarks = _landmarks(references)
    found = [i for i, points in enumerate(landmarks) if points is not None]
    if not found:
        return []
    track = _track(references, np.stack([points for points in landmarks if points is not None]), model)
    crop = Crop(np.tile(np.eye(2, 3), (len(found), 1, 1)), references.shape[1])
    windows = []
    for k in range(count):
        i, openings = k % len(found), OPENINGS[k % len(OPENINGS)]
        lit = references[found[i]] * LIGHTS[k // len(OPENINGS) % len(LIGHTS)]
        shapes, references_of = [], []
        for t in range(window):
            jaw = np.full(len(found), openings[t % len(openings)] * track.model.jaw_limit)
            performance = Performance(jaw, track.expression, np.ones(len(found)))
            shapes.append(frame_geometry(track, crop, performance, i))
            if aligned:
                references_of.append(_references(footage, track, performance, crop, i))
        frames = np.tile(lit.clip(0, 255).astype(np.uint8), (window, 1, 1, 1))
        uv = np.stack([shape.uv for shape in shapes]).astype(np.float32)
        mask = np.stack([shape.mask for shape in shapes])
        windows.append(Window(frames, uv, mask, np.stack(references_of) if aligned else None))
    return windows


def _references(
    footage: DetailFrames | None, track: Track, performance: Performance, crop: Crop, i: int
) -> NDArray[np.uint8]:
    """(S, S, 4) the aligned references of frame `i`; 0 where there is no footage."""
    if footage is None:
        return np.zeros((crop.size, crop.size, CHANNELS), np.uint8)
    return AlignedReferences(NearFrames(footage, track, performance, crop)).of_frame(i)


def held_out(windows: Sequence[Window]) -> list[Window]:
    """The windows that nothing is calibrated on; all of them where there are fewer than four."""
    return list(windows[HELD_OUT :: len(OPENINGS)] or windows)


def calibrated_on(windows: Sequence[Window]) -> list[Window]:
    """The windows that are not `held_out`; all of them where there are fewer than four."""
    kept = [w for k, w in enumerate(windows) if k % len(OPENINGS) != HELD_OUT]
    return kept if len(windows) > HELD_OUT else list(windows)


def _landmarks(references: NDArray[np.uint8]) -> list[NDArray[np.float32] | None]:
    """(478, 3) pixels of every crop, None where no face is found."""
    found: list[NDArray[np.float32] | None] = []
    with contextlib.closing(MeshTracker()) as mesh:
        for crop in references:
            size = len(crop)
            mesh.look_at(np.array([size / 4, size / 4, size * 3 / 4, size * 3 / 4]), crop.shape)
            found.append(mesh.landmarks(crop))
    return found


def _track(references: NDArray[np.uint8], landmarks: NDArray[np.float32], model: str) -> Track:
    """A track whose frames are crops, each a shot of its own: they were filmed far apart."""
    fitted, n, size = face_model(model), len(landmarks), references.shape[1]
    fit = fit_shot(fitted, landmarks, tuple(range(1, n)))
    return Track(
        "references",
        "",
        (size, size),
        Fraction(25),
        0,
        landmarks,
        np.ones(n, np.float32),
        fit.pose.scale,
        fit.pose.rotation,
        fit.pose.translation[:, :2],
        fit.identity,
        fit.jaw,
        fit.expression,
        fitted.name,
        cuts=tuple(range(1, n)),
    )


def random_windows(
    window: int, size: int, count: int, seed: int = 0, aligned: bool = False
) -> Iterator[Window]:
    """`count` windows of random frames, a UV map with holes and a mask that both have an edge inside the
    picture. aligned: whether they have aligned references, as random.
    """
    rng = np.random.default_rng(seed)
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    grid = np.stack(np.meshgrid(line, line, indexing="xy"), -1)
    for _ in range(count):
        frames = rng.integers(0, 256, (window, size, size, 3), np.uint8)
        jitter = 0.01 * rng.standard_normal((window, size, size, 2), np.float32)
        uv = np.clip(grid + jitter, 0, 1)
        uv[:, : size // 8] = -1
        mask = np.zeros((window, size, size), np.float32)
        mask[:, 2 * size // 5 : size - 4, size // 5 : size - size // 5] = 1
        drawn = rng.integers(0, 256, (window, size, size, CHANNELS), np.uint8) if aligned else None
        yield Window(frames, uv, mask, drawn)

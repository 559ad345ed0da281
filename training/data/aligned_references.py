"""Aligned references for training: `visualdub.render.aligned_references` of frames in memory or in shards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.segments import Start
from visualdub.face.crop import VIEW, Crop
from visualdub.face.geometry import filmed_mesh
from visualdub.face.track import Performance, Track
from visualdub.render.aligned_references import AlignedReferences
from visualdub.render.detail_frames import DetailFrames
from visualdub.render.near_frames import NearFrames


@runtime_checkable
class ReferenceClip(Protocol):
    """A clip whose frames can be references."""

    @property
    def track(self) -> Track: ...
    @property
    def crop(self) -> Crop: ...
    def picture(self, i: int) -> NDArray[np.uint8]: ...


MOST_REFERENCES = 150  # frames of a pool that are used, as many as an actor's package keeps


class ReferencePool:
    """The frames from which a person is known, as those of an actor's package: the references of all others
    that are far enough away from them.
    """

    def __init__(self, clips: Sequence[ReferenceClip], pool: Sequence[Start]) -> None:
        """pool: (clip, frame) of the frames; at most `MOST_REFERENCES` of them are used, spread evenly."""
        chosen = pool[:: -(-len(pool) // MOST_REFERENCES)]
        self._frames = _detail_frames([(clips[c], f) for c, f in chosen])
        self._aligned: dict[ReferenceClip, AlignedReferences] = {}

    def aligned_to(self, clip: ReferenceClip) -> AlignedReferences:
        """The pool's pictures in the place of the frames of `clip`."""
        found = self._aligned.get(clip)
        if found is None:
            performance = Performance.of_track(clip.track)
            found = AlignedReferences(NearFrames(self._frames, clip.track, performance, clip.crop))
            self._aligned[clip] = found
        return found


def _detail_frames(places: Sequence[tuple[ReferenceClip, int]]) -> DetailFrames:
    """Frames of packed crops, as a package holds them: here the pictures are the crops' own."""
    top, bottom, left, right = VIEW
    speech = places[0][0].track.model.n_speech
    pictures, meshes = [], []
    for clip, i in places:
        rgb = clip.picture(i)[top:bottom, left:right]
        pictures.append(cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes())
        mesh = filmed_mesh(clip.track, clip.crop, i)
        mesh[:, :2] -= (left, top)
        meshes.append(mesh.astype(np.float32))
    tracks = [(clip.track, i) for clip, i in places]
    scale: list[float] = [float(c.track.scale[i] * c.crop.affine[i, 0, 0]) for c, i in places]
    return DetailFrames(
        pictures=tuple(pictures),
        mesh=np.stack(meshes),
        jaw=np.array([t.jaw[i] for t, i in tracks], np.float64),
        expression=np.stack([t.expression[i, :speech] for t, i in tracks]).astype(np.float64),
        rotation=np.stack([t.rotation[i] for t, i in tracks]).astype(np.float64),
        scale=np.array(scale),
        source_hash=tuple(t.source_hash for t, _ in tracks),
        number=np.array([t.start + i for t, i in tracks], np.int64),
    )


def no_references(count: int, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """(count, height, width, channels) for frames without aligned references."""
    return np.zeros((count, height, width, channels), np.uint8)

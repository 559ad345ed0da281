"""Crops, UV maps and masks of one clip's frames in memory: what an adaptation trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from training.core.config import GeneratorConfig
from training.data.aligned_references import ReferencePool, no_references
from training.data.mel import RATE, frame_mels
from training.data.uvmap import NO_MESH, pack_uv
from visualdub.box import Box
from visualdub.errors import NoFace
from visualdub.face.crop import stable_crop, warp_crop
from visualdub.face.geometry import frame_geometry
from visualdub.face.landmarks import LIPS_OUTER, landmarks_to_crop
from visualdub.face.track import Performance, Track
from visualdub.render.aligned_references import CHANNELS, AlignedReferences
from visualdub.render.detail_frames import DetailFrames
from visualdub.render.near_frames import NearFrames
from visualdub.stages import Progress

LIPS_MARGIN = 0.15  # share of the lips' longer side, added on each side of their box


class View(NamedTuple):
    """t frames of one clip, cut to the view of h x w pixels of the crop."""

    crops: NDArray[np.uint8]  # (t, h, w, 3) R'G'B'
    uv: NDArray[np.uint16]  # (t, h, w, 2) see `training.data.uvmap`
    mask: NDArray[np.uint8]  # (t, h, w) 0/1


class Frames(Protocol):
    """n consecutive frames of one clip, in memory or on disk."""

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(n,) whether a frame shows a usable face."""

    @property
    def mouth(self) -> NDArray[np.int32]:
        """(n, 4) the lips' boxes in crop pixels: left, top, right, bottom, half open."""

    @property
    def mel(self) -> NDArray[Any] | None:
        """(n, 80, 16) log-mel spectrograms; None where the clip has no sound of its speaker."""

    def __len__(self) -> int:
        """The number of frames, n."""

    def view(self, rows: Sequence[int]) -> View:
        """The frames `rows`, cut to the view."""

    def aligned(self, rows: Sequence[int], pool: ReferencePool | None) -> NDArray[np.uint8]:
        """(t, h, w, 4) the aligned references of the frames `rows`, cut to the view, see
        `visualdub.render.aligned_references`; 0 where there are none. pool: of packed clips, where they come
        from.
        """


@dataclass(frozen=True)
class FrameSet:
    """`Frames` in memory: n frames of crops of S x S pixels."""

    crops: NDArray[np.uint8]  # (n, S, S, 3) R'G'B'
    uv: NDArray[np.uint16]  # (n, S, S, 2) see `training.data.uvmap`
    mask: NDArray[np.uint8]  # (n, S, S) 0/1
    mouth: NDArray[np.int32]  # (n, 4)
    usable: NDArray[np.bool_]  # (n,)
    mel: NDArray[np.float32] | None  # (n, 80, 16)
    view_box: Box = GeneratorConfig.view_box  # the part of the crop that `view` returns
    aligned_references: NDArray[np.uint8] | None = None  # (n, S, S, 4); None: there are none

    def __len__(self) -> int:
        return len(self.usable)

    def view(self, rows: Sequence[int]) -> View:
        """The frames `rows`, cut to the view."""
        part = (list(rows), *self.view_box.slices())
        return View(self.crops[part], self.uv[part], self.mask[part])

    def aligned(self, rows: Sequence[int], pool: ReferencePool | None = None) -> NDArray[np.uint8]:
        """(t, h, w, 4) the aligned references of the frames `rows`; they were made from an actor's
        footage.
        """
        if self.aligned_references is None:
            return no_references(len(rows), self.view_box.height, self.view_box.width, CHANNELS)
        return self.aligned_references[(list(rows), *self.view_box.slices())]


def read_frame_set(
    path: Path,
    track: Track,
    view_box: Box,
    progress: Progress | None = None,
    offset: float = 0.0,
) -> FrameSet:
    """Decode the frames of `track` once and compute everything that the training needs of them.

    path: the clip that was tracked. view_box: the part of the crop to serve. progress: gets the stage
    "reading", in frames. offset: seconds by which the audio leads the video. Raises `NoFace` where no tracked
    frame has a usable face.
    """
    from visualdub.media.source import open_source
    from visualdub.media.yuv import frame_rgb

    if not track.usable.any():
        raise NoFace(
            f"{path}: no usable face in frames {track.frames}; expected frames that show the actor's face"
        )
    n, crop = len(track), stable_crop(track)
    performance = Performance.of_track(track)
    crops = np.zeros((n, crop.size, crop.size, 3), np.uint8)
    uv = np.full((n, crop.size, crop.size, 2), NO_MESH, np.uint16)
    mask = np.zeros((n, crop.size, crop.size), np.uint8)
    mouth = np.zeros((n, 4), np.int32)
    with open_source(path) as source:
        for i, frame in enumerate(source.frames(track.frames)):
            if track.usable[i]:
                crops[i] = warp_crop(frame_rgb(frame), crop.stored_affine[i])
                geometry = frame_geometry(track, crop, performance, i)
                uv[i], mask[i] = pack_uv(geometry.uv), geometry.mask > 0.5
                mouth[i] = lips_box(track.landmarks[i], crop.affine[i], crop.size)
            if progress is not None:
                progress.report("reading", i + 1, n)
    return FrameSet(crops, uv, mask, mouth, track.usable.copy(), clip_mels(path, track, offset), view_box)


def with_aligned_references(
    frames: FrameSet, track: Track, footage: DetailFrames | None, progress: Progress | None = None
) -> FrameSet:
    """The frames with their aligned references out of `footage`, the frames that an actor's package keeps.

    track: of `frames`. progress: gets the stage "aligning", in frames.
    """
    if footage is None:
        return frames
    crop, n = stable_crop(track), len(track)
    aligned = AlignedReferences(NearFrames(footage, track, Performance.of_track(track), crop))
    references = np.zeros((n, crop.size, crop.size, CHANNELS), np.uint8)
    for i in range(n):
        if track.usable[i]:
            references[i] = aligned.of_frame(i)
        if progress is not None:
            progress.report("aligning", i + 1, n)
    return replace(frames, aligned_references=references)


def lips_box(
    landmarks: NDArray[np.floating[Any]], affine: NDArray[np.floating[Any]], size: int
) -> NDArray[np.int32]:
    """(4,) left, top, right, bottom of a box around the outer lips with a margin, cut at the crop.

    landmarks: (478, 3) square pixels. affine: (2, 3) square to crop pixels. size: side of the crop in pixels.
    """
    lips = landmarks_to_crop(landmarks[None, list(LIPS_OUTER)], affine[None])[0]
    low, high = lips.min(0), lips.max(0)
    margin = LIPS_MARGIN * (high - low).max()
    box = np.concatenate([np.floor(low - margin), np.ceil(high + margin)])
    return np.asarray(np.clip(box, 0, size), np.int32)


def clip_mels(path: Path, track: Track, offset: float = 0.0) -> NDArray[np.float32] | None:
    """(n, 80, 16) log-mel spectrograms of the track's frames; None where the clip has no sound.

    offset: seconds by which the audio leads the video.
    """
    from visualdub.media.audio import AudioMissing, read_audio
    from visualdub.speech.sync import shifted_sound

    try:
        return frame_mels(
            shifted_sound(read_audio(path, RATE), offset, RATE), track.rate, track.start, len(track)
        )
    except AudioMissing:
        return None

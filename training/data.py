"""Crops, UV maps and masks of one actor's frames, held in memory, handed out as windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.config import GeneratorConfig
from training.mel import frame_mels
from visualdub.errors import NoFace
from visualdub.face.landmarks import LIPS_OUTER
from visualdub.face.track import Performance, Track

UV_SCALE = 65534  # UV maps are kept as uint16: 0..1 in steps of 1/65534, NO_MESH where no mesh is
NO_MESH = 65535
MOUTH_MARGIN = 0.15  # of the lips' box, added on each side


@dataclass(frozen=True)
class FrameSet:
    """Consecutive frames of one clip, ready to train on. n frames, S = size of the crop."""

    crops: NDArray[np.uint8]  # (n, S, S, 3) R'G'B'
    uv: NDArray[np.uint16]  # (n, S, S, 2) see `pack_uv`
    mask: NDArray[np.uint8]  # (n, S, S) 0/1
    mouth: NDArray[np.int32]  # (n, 4) box around the lips in crop pixels: x0, y0, x1, y1, end exclusive
    usable: NDArray[np.bool_]  # (n,) frames with a face
    mel: NDArray[np.float32] | None  # (n, 80, 16), None where the clip has no sound

    def __len__(self) -> int:
        return len(self.usable)


@dataclass(frozen=True)
class Batch:
    """Windows of one actor as tensors, cut to the view of h x w pixels. N windows, T frames, K references."""

    frames: Tensor  # (N, T, 3, h, w) 0..1
    uv: Tensor  # (N, T, h, w, 2) 0..1, -1 where no mesh is
    mask: Tensor  # (N, T, h, w) 0/1
    mouth: Tensor  # (N, T, h, w) 0/1, inside the lips' box
    boxes: Tensor  # (N, T, 4) the lips' boxes, integer pixels of the view
    references: Tensor  # (N, K, 3, h, w) 0..1
    mel: Tensor | None  # (N, 80, 16) of the centre frames

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(*(None if x is None else x.to(device) for x in self._parts()))  # type: ignore[arg-type]

    def _parts(self) -> tuple[Tensor | None, ...]:
        return self.frames, self.uv, self.mask, self.mouth, self.boxes, self.references, self.mel


def pack_uv(uv: NDArray[np.float32]) -> NDArray[np.uint16]:
    """UV map (..., 2) of floats, negative where no mesh is, to uint16; the error is at most 1/131068."""
    packed: NDArray[np.uint16] = np.round(np.clip(uv, 0, 1) * UV_SCALE).astype(np.uint16)
    packed[(uv < 0).any(-1)] = NO_MESH
    return packed


def unpack_uv(packed: NDArray[np.uint16]) -> NDArray[np.float32]:
    """What `pack_uv` packed: (..., 2) float32 in 0..1, -1 where no mesh is."""
    uv = packed.astype(np.float32) / np.float32(UV_SCALE)
    uv[packed == NO_MESH] = -1
    return uv


# ---- preparing --------------------------------------------------------------------------------------------------------


def prepare(path: Path, track: Track, progress: Callable[[int, int], None] | None = None) -> FrameSet:
    """Decode the frames of `track` once and compute everything the training needs of them.

    `path` is the clip the track was made of. Raises `NoFace` where no tracked frame has a usable face.
    """
    from visualdub.face.crop import stable_crop, warp_crop
    from visualdub.face.geometry import frame_geometry
    from visualdub.media.decode import read_frames
    from visualdub.media.pixels import frame_rgb

    if not track.usable.any():
        raise NoFace(f"{path}: no usable face in frames {track.frames}; expected frames that show the actor's face")
    n, crop = len(track), stable_crop(track)
    performance = Performance.of_track(track)
    crops = np.zeros((n, crop.size, crop.size, 3), np.uint8)
    uv = np.full((n, crop.size, crop.size, 2), NO_MESH, np.uint16)
    mask = np.zeros((n, crop.size, crop.size), np.uint8)
    mouth = np.zeros((n, 4), np.int32)
    for i, frame in enumerate(read_frames(path, track.frames)):
        if track.usable[i]:
            crops[i] = warp_crop(frame_rgb(frame), crop.affine[i])
            geometry = frame_geometry(track, crop, performance, i)
            uv[i], mask[i] = pack_uv(geometry.uv), geometry.mask > 0.5
            mouth[i] = mouth_box(track.landmarks[i], crop.affine[i], crop.size)
        if progress is not None:
            progress(i + 1, n)
    return FrameSet(crops, uv, mask, mouth, track.usable.copy(), _sound(path, track))


def mouth_box(landmarks: NDArray[np.floating[Any]], affine: NDArray[np.floating[Any]], size: int) -> NDArray[np.int32]:
    """Box x0, y0, x1, y1 around the outer lips with a margin. landmarks (478, 3) source pixels, affine (2, 3) to crop pixels."""
    lips = landmarks[list(LIPS_OUTER), :2] @ affine[:, :2].T + affine[:, 2]
    low, high = lips.min(0), lips.max(0)
    margin = MOUTH_MARGIN * (high - low).max()
    box = np.concatenate([np.floor(low - margin), np.ceil(high + margin)])
    return np.asarray(np.clip(box, 0, size), np.int32)


def _sound(path: Path, track: Track) -> NDArray[np.float32] | None:
    from visualdub.media.audio import AudioMissing, read_audio

    try:
        return frame_mels(read_audio(path), track.rate, track.start, len(track))
    except AudioMissing:
        return None


# ---- windows ----------------------------------------------------------------------------------------------------------


class WindowSampler:
    """Draws random windows out of frame sets, keeping some frames aside to measure on.

    Held out are blocks of T frames, one in every `every` blocks (at least one, the middle of the longest set), as long as enough
    is left to train on; a training window never holds one of their frames.
    """

    def __init__(self, sets: Sequence[FrameSet], config: GeneratorConfig, every: int, scattered: float = 0.0) -> None:
        self.sets, self.config, self.scattered = list(sets), config, scattered
        t = config.window
        self.held_out = self._hold_out(every)
        kept = {(s, f) for s, start in self.held_out for f in range(start, start + t)}
        self.starts = [(s, i) for s, clip in enumerate(self.sets) for i in range(len(clip) - t + 1)
                       if clip.usable[i:i + t].all() and not any((s, i + k) in kept for k in range(t))]
        self.faces = [(s, i) for s, clip in enumerate(self.sets) for i in np.flatnonzero(clip.usable) if (s, i) not in kept]
        if not self.starts:
            raise NoFace(f"the clips have no {t} consecutive frames with a usable face; expected at least {t}, better 25")

    def _hold_out(self, every: int) -> list[tuple[int, int]]:
        t = self.config.window
        blocks = [(s, i) for s, clip in enumerate(self.sets) for i in range(0, len(clip) - t + 1, t)
                  if clip.usable[i:i + t].all()]
        return blocks[every // 2::every] if len(blocks) >= 5 else []

    def draw(self, count: int, rng: torch.Generator) -> Batch:
        """`count` random training windows with random references.

        A share of `scattered` of them holds any T frames of a clip instead of neighbours: T different mouths teach more than
        one mouth T times.
        """
        picks = torch.randint(len(self.starts), (count,), generator=rng).tolist()
        references = torch.randint(len(self.faces), (count, self.config.references), generator=rng).tolist()
        windows = []
        for s, i in (self.starts[p] for p in picks):
            apart = bool(torch.rand((), generator=rng) < self.scattered)
            others = [f for c, f in self.faces if c == s] if apart else []
            chosen = torch.randint(max(1, len(others)), (self.config.window,), generator=rng).tolist()
            windows.append((s, [others[k] for k in chosen] if apart else list(range(i, i + self.config.window))))
        return self.batch(windows, [[self.faces[r] for r in row] for row in references])

    def window(self, start: tuple[int, int]) -> tuple[int, list[int]]:
        """The T neighbours that begin at (set, frame)."""
        return start[0], list(range(start[1], start[1] + self.config.window))

    def batch(self, windows: Sequence[tuple[int, list[int]]], references: Sequence[Sequence[tuple[int, int]]]) -> Batch:
        """The windows of (set, T frames) each, with the frames `references` beside them."""
        t = self.config.window
        parts = [(self.sets[s], frames) for s, frames in windows]
        top, bottom, left, right = self.config.view
        see = (slice(top, bottom), slice(left, right))
        uv = np.stack([unpack_uv(clip.uv[r][(slice(None), *see)]) for clip, r in parts])
        boxes = np.stack([clip.mouth[r] for clip, r in parts]) - np.array([left, top, left, top], np.int32)
        pictures = np.stack([np.stack([self.sets[s].crops[(i, *see)] for s, i in row]) for row in references])
        sound = all(clip.mel is not None for clip, _ in parts)
        mel = np.stack([clip.mel[r[t // 2]] for clip, r in parts if clip.mel is not None]) if sound else None
        mask = torch.from_numpy(np.stack([clip.mask[r][(slice(None), *see)] for clip, r in parts]).astype(np.float32))
        crops = picture_tensor(np.stack([clip.crops[r][(slice(None), *see)] for clip, r in parts]))
        return Batch(crops, torch.from_numpy(uv), mask, box_mask(boxes, *self.config.view_size), torch.from_numpy(boxes),
                     picture_tensor(pictures), None if mel is None else torch.from_numpy(mel))


def picture_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) float32 0..1."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pictures, -1, -3))).float() / 255


def box_mask(boxes: NDArray[np.int32], height: int, width: int) -> Tensor:
    """(..., 4) boxes x0, y0, x1, y1 -> (..., height, width) float32, 1 inside."""
    across, down = np.arange(width), np.arange(height)
    x = (across >= boxes[..., 0, None]) & (across < boxes[..., 2, None])
    y = (down >= boxes[..., 1, None]) & (down < boxes[..., 3, None])
    return torch.from_numpy((y[..., :, None] & x[..., None, :]).astype(np.float32))


def pick_references(sets: Sequence[FrameSet], count: int) -> list[tuple[int, int]]:
    """The actor's fixed references: usable frames spread evenly over all clips, middle of each part. (set, frame) each."""
    faces = [(s, int(i)) for s, clip in enumerate(sets) for i in np.flatnonzero(clip.usable)]
    return [faces[(2 * k + 1) * len(faces) // (2 * count)] for k in range(count)]

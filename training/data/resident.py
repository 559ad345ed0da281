"""A training set that stays on the device: every frame is decoded once, and windows are gathered where the
network runs.

A GPU takes a step in the time that a CPU needs to decode a single frame. 12,000 frames take 3 GB.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from training.core.config import RunConfig
from training.data.aligned_references import ReferencePool
from training.data.augment import mirrored_uv, recolour
from training.data.frames import Frames, View
from training.data.segments import Start
from training.data.uvmap import NO_MESH, UV_SCALE
from training.data.windows import (
    Batch,
    Window,
    WindowSampler,
    box_mask,
    recoloured_aligned,
    reference_pool_of,
)
from training.data.workers import Workers
from visualdub.stages import Progress

BYTES_PER_PIXEL = 8  # 3 of colour, 4 of the UV map and one of the mask; 4 more for each segment's references
ROOM = 0.5  # share of the device's free memory that frames may take


def fits_on_device(people: Sequence[Sequence[Frames]], config: RunConfig, device: torch.device) -> bool:
    """Whether the frames of all people fit on a GPU and leave room for the training; never on a CPU."""
    if device.type != "cuda":
        return False
    height, width = config.generator.view_size
    frames = sum(len(clip) for clips in people for clip in clips)
    aligned = config.generator.aligned_channels * max(1, config.segments)
    return frames * height * width * (BYTES_PER_PIXEL + aligned) < ROOM * torch.cuda.mem_get_info(device)[0]


class ResidentSampler(WindowSampler):
    """A `WindowSampler` whose batches are gathered on the device; the windows are the same."""

    def __init__(
        self,
        people: Sequence[Sequence[Frames]],
        config: RunConfig,
        device: torch.device,
        weights: Sequence[float] | None = None,
    ) -> None:
        """Arguments as in `WindowSampler`; `load` has to be called before a batch is drawn."""
        super().__init__(people, config, weights=weights)
        self.device = device
        self._crops = self._uv = self._mask = torch.empty(0)
        self._aligned = torch.empty(0)
        # of each person's segments: where the references of each clip's frames begin
        self._aligned_first: list[list[list[int]]] = []
        self._first: list[list[int]] = []  # of each person's clips: where its frames begin

    def load(self, progress: Progress, pool: Workers | None = None) -> None:
        """Decode all frames, in the processes of `pool` where it is given, and keep them on the device.

        progress: gets the stage "loading", in clips. Raises `Interrupted` once it was cancelled.
        """
        clips = [clip for of_person in self.people for clip in of_person]
        views: dict[int, View] = {}
        for i, view in _decoded(clips, progress, pool):
            views[i] = view
            progress.report("loading", len(views), len(clips))
        ends = np.cumsum([0, *(len(clip) for clip in clips)])
        numbers = iter(range(len(clips)))
        self._first = [[int(ends[next(numbers)]) for _ in of_person] for of_person in self.people]
        parts = [views[i] for i in range(len(clips))]
        self._crops = torch.cat([torch.from_numpy(v.crops) for v in parts]).to(self.device)
        # int16, of which torch can gather and compare on every device; its bits are those of uint16
        self._uv = torch.cat([torch.from_numpy(v.uv.view(np.int16)) for v in parts]).to(self.device)
        self._mask = torch.cat([torch.from_numpy(v.mask) for v in parts]).to(self.device)
        if self.config.generator.aligned:
            self._load_aligned(progress, pool)

    def _load_aligned(self, progress: Progress, pool: Workers | None) -> None:
        """Carry the frames of every segment to all frames of their person."""
        work = [
            SegmentReferences((p, k), clips, segment.reference_pool)
            for p, clips in enumerate(self.people)
            for k, segment in enumerate(self.segments[p])
        ]
        made = pool.run(aligned_by, work, progress) if pool else ((w, aligned_by(w)) for w in work)
        parts: dict[tuple[int, int], list[Tensor]] = {}
        for done, (segment, views) in enumerate(made, 1):
            parts[segment.place] = [torch.from_numpy(view).to(self.device) for view in views]
            progress.report("aligning", done, len(work))
        ends = itertools.accumulate((len(x) for w in work for x in parts[w.place]), initial=0)
        self._aligned_first = [
            [[next(ends) for _ in clips] for _ in self.segments[p]] for p, clips in enumerate(self.people)
        ]
        self._aligned = torch.cat([x for w in work for x in parts[w.place]])

    def draw(self, numbers: Sequence[int]) -> Batch:
        """A batch of the windows `numbers`, on the device."""
        return self.collect([self.plan(n) for n in numbers])

    def collect(self, windows: Sequence[Window]) -> Batch:
        """The windows as one batch, on the device."""
        config, device = self.config.generator, self.device
        left, top, _, _ = config.view_box
        people = [self.people[w.person] for w in windows]
        rows = [[self._first[w.person][w.clip] + f for f in w.rows] for w in windows]
        references = [[self._first[w.person][c] + f for c, f in w.references] for w in windows]
        boxes = np.stack([clips[w.clip].mouth[w.rows] for w, clips in zip(windows, people, strict=True)])
        boxes = boxes - np.array([left, top, left, top], np.int32)
        mels = [self._mel(clips[w.clip], w) for w, clips in zip(windows, people, strict=True)]
        frames, uv, mask = self._view(torch.tensor(rows, device=device))
        shift = torch.from_numpy(np.stack([w.shift for w in windows])).to(device)
        batch = Batch(
            frames,
            torch.where(uv >= 0, (uv + shift[:, :, None, None]).clamp(0, 1), uv),
            mask,
            box_mask(boxes, *config.view_size).to(device),
            torch.from_numpy(boxes.astype(np.int64)).to(device),
            self._pictures(torch.tensor(references, device=device)),
            torch.from_numpy(np.stack(mels)).to(device),
            torch.tensor([w.person for w in windows]),
            torch.tensor([w.perceptual_frame for w in windows], device=device),
            torch.tensor([w.silent for w in windows], device=device),
            torch.tensor([w.segment for w in windows]),
            torch.tensor([w.mirror for w in windows], device=device),
            torch.from_numpy(np.stack([_colouring(w) for w in windows])).to(device),
            self._aligned_batch(windows),
        )
        return _augmented(batch)

    def _aligned_batch(self, windows: Sequence[Window]) -> Tensor:
        """(N, T, A, h, w) the aligned references of the windows."""
        config = self.config.generator
        if not config.aligned:
            return torch.zeros(len(windows), config.window, 0, *config.view_size, device=self.device)
        rows = [[self._aligned_first[w.person][w.segment][w.clip] + f for f in w.rows] for w in windows]
        kept = torch.tensor([w.sees_aligned for w in windows], device=self.device)
        pictures = self._aligned[torch.tensor(rows, device=self.device)].movedim(-1, -3).float() / 255
        return pictures * kept[:, None, None, None, None]

    def _mel(self, clip: Frames, window: Window) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """The spectrogram of the window's middle frame; zeros where it is silent."""
        if window.silent or clip.mel is None:
            return np.zeros(self.config.generator.mel, np.float32)
        return np.asarray(clip.mel[window.rows[len(window.rows) // 2]], np.float32)

    def _pictures(self, rows: Tensor) -> Tensor:
        """Rows (N, T) of the loaded frames to pictures (N, T, 3, h, w) in 0..1."""
        return self._crops[rows].movedim(-1, -3).float() / 255

    def _view(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures, UV maps and masks of the loaded frames `rows` (N, T), as in `Batch`."""
        packed = self._uv[rows].to(torch.int32) & 0xFFFF
        uv = packed.float() / UV_SCALE
        uv[packed == NO_MESH] = -1
        return self._pictures(rows), uv, self._mask[rows].float()

    def feed(self, first: int, workers: int = 0) -> Iterator[Batch]:
        """Batches without end, from window `first` of the run on. workers: processes that choose the windows
        ahead; 0: none.
        """
        size = self.config.batch
        rounds = (list(range(at, at + size)) for at in itertools.count(first, size))
        if workers == 0:
            return (self.draw(numbers) for numbers in rounds)
        loader = DataLoader(
            _Planned(self), batch_sampler=rounds, num_workers=workers, collate_fn=list, prefetch_factor=8
        )
        return (self.collect(windows) for windows in loader)


@dataclass(frozen=True)
class _Planned(TorchDataset[Window]):
    """The windows of a sampler by number, for worker processes; they never touch the device."""

    sampler: WindowSampler

    def __getitem__(self, number: int) -> Window:
        return self.sampler.plan(number)


def _augmented(batch: Batch) -> Batch:
    """The batch with those windows mirrored and recoloured that say so."""
    flags = batch.mirrored
    x0, y0, x1, y1 = batch.boxes.unbind(-1)
    width = batch.frames.shape[-1]
    frames = recolour(_where(flags, batch.frames.flip(-1), batch.frames), batch.colouring[:, None])
    references = recolour(
        _where(flags, batch.references.flip(-1), batch.references), batch.colouring[:, None]
    )
    return Batch(
        frames,
        _where(flags, mirrored_uv(batch.uv.flip(-2)), batch.uv),
        _where(flags, batch.mask.flip(-1), batch.mask),
        _where(flags, batch.mouth.flip(-1), batch.mouth),
        _where(flags, torch.stack([width - x1, y0, width - x0, y1], -1), batch.boxes),
        references,
        batch.mel,
        batch.person,
        batch.perceptual_frame,
        batch.silent,
        batch.segment,
        batch.mirrored,
        batch.colouring,
        recoloured_aligned(_where(flags, batch.aligned.flip(-1), batch.aligned), batch.colouring[:, None]),
    )


def _where(flags: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """`yes` for the windows whose flag (N,) is set, `no` (N, ...) for the others."""
    return torch.where(flags.reshape(-1, *[1] * (no.ndim - 1)), yes, no)


def _colouring(window: Window) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.eye(3, 4, dtype=np.float32) if window.colouring is None else window.colouring


def _decoded(clips: Sequence[Frames], progress: Progress, pool: Workers | None) -> Iterator[tuple[int, View]]:
    """The number of each clip with its view, in the order in which they are decoded."""
    if pool is None:
        yield from ((i, whole_view(clip)) for i, clip in enumerate(clips))
        return
    numbers = {id(clip): i for i, clip in enumerate(clips)}
    yield from ((numbers[id(clip)], view) for clip, view in pool.run(whole_view, clips, progress))


@dataclass(frozen=True)
class SegmentReferences:
    """A person's segment, whose frames are references for all frames of the person."""

    place: tuple[int, int]  # numbers of person and segment
    clips: Sequence[Frames]
    pool: Sequence[Start]


def aligned_by(segment: SegmentReferences) -> list[NDArray[np.uint8]]:
    """(n, h, w, 4) for each clip: its aligned references out of the segment; 0 where it shows no face."""
    pool = reference_pool_of(segment.clips, segment.pool)
    return [_aligned_clip(clip, pool) for clip in segment.clips]


def _aligned_clip(clip: Frames, pool: ReferencePool | None) -> NDArray[np.uint8]:
    usable = np.flatnonzero(clip.usable)
    view = clip.aligned(usable.tolist(), pool)
    references = np.zeros((len(clip), *view.shape[1:]), np.uint8)
    references[usable] = view
    return references


def whole_view(clip: Frames) -> View:
    """All frames of a clip; those without a face are black, off the mesh and outside the mask."""
    usable = np.flatnonzero(clip.usable)
    view = clip.view(usable.tolist())
    n = len(clip)
    crops = np.zeros((n, *view.crops.shape[1:]), np.uint8)
    uv = np.full((n, *view.uv.shape[1:]), NO_MESH, np.uint16)
    mask = np.zeros((n, *view.mask.shape[1:]), np.uint8)
    crops[usable], uv[usable], mask[usable] = view
    return View(crops, uv, mask)

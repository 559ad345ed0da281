"""Windows of frames, chosen at random and gathered into batches. A window depends on the run's seed and its
own number alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from training.core.config import GeneratorConfig, RunConfig
from training.data.aligned_references import ReferenceClip, ReferencePool
from training.data.augment import mirrored_uv, random_colouring, recolour
from training.data.frames import Frames
from training.data.segments import Segment, Start, choose_segments
from training.data.uvmap import unpack_uv
from visualdub.errors import BadInput, NoFace
from visualdub.render.recent import Latest

FEWEST_BLOCKS = 4  # one second of 25 frames has five, four where a frame shows no face
OUTSIDE_SHARE = 0.75  # share of windows that show only frames outside the segment they are rendered from
MOST_POOLS = 32  # of aligned references that are kept, about 25 MB each
SEGMENT_STREAM = 77  # tells the random numbers that choose segments from all others


@dataclass(frozen=True)
class Window:
    """The frames of one sample, T of them, with K references, and how they are augmented."""

    person: int
    clip: int
    rows: list[int]  # T frames of the clip
    references: list[Start]  # K frames of any of the person's clips
    shift: NDArray[np.float32]  # (T, 2) added to the UV map, in texture widths
    perceptual_frame: int  # the one of the T frames that gets the perceptual loss; -1: none
    silent: bool  # rendered with the null audio code
    segment: int = 0  # the one of the person's segments that makes the texture
    mirror: bool = False
    sees_aligned: bool = True  # whether it has aligned references
    colouring: NDArray[np.float32] | None = None  # (3, 4) see `training.data.augment`; None: as filmed


@dataclass(frozen=True)
class Batch:
    """N windows of T frames and K references as tensors, cut to the view of h x w pixels."""

    frames: Tensor  # (N, T, 3, h, w) 0..1
    uv: Tensor  # (N, T, h, w, 2) 0..1, -1 where there is no mesh
    mask: Tensor  # (N, T, h, w) 0/1
    mouth: Tensor  # (N, T, h, w) 0/1, inside the lips' box
    boxes: Tensor  # (N, T, 4) the lips' boxes in whole pixels of the view: left, top, right, bottom
    references: Tensor  # (N, K, 3, h, w) 0..1
    mel: Tensor  # (N, 80, 16) log-mel spectrograms of the centre frames, 0 where silent
    person: Tensor  # (N,) int64
    perceptual_frame: Tensor  # (N,) int64, the frame that gets the perceptual loss, -1 for none
    silent: Tensor  # (N,) bool
    segment: Tensor  # (N,) int64
    mirrored: Tensor  # (N,) bool
    colouring: Tensor  # (N, 3, 4) see `training.data.augment`
    # (N, T, A, h, w) aligned references, 0..1; A is 0 for a network that takes none
    aligned: Tensor

    def __len__(self) -> int:
        """The number of windows, N."""
        return len(self.frames)

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))

    def __getitem__(self, part: slice) -> Batch:
        """A part of the windows."""
        return Batch(*(getattr(self, f.name)[part] for f in fields(self)))


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch of the windows of several."""
    return Batch(*(torch.cat([getattr(b, f.name) for b in batches]) for f in fields(Batch)))


def mirrored(batch: Batch) -> Batch:
    """The batch mirrored; its texture has to be mirrored too."""
    uv, width = mirrored_uv(batch.uv.flip(-2)), batch.frames.shape[-1]
    x0, y0, x1, y1 = batch.boxes.unbind(-1)
    return replace(
        batch,
        frames=batch.frames.flip(-1),
        uv=uv,
        mask=batch.mask.flip(-1),
        mouth=batch.mouth.flip(-1),
        boxes=torch.stack([width - x1, y0, width - x0, y1], -1),
        references=batch.references.flip(-1),
        aligned=batch.aligned.flip(-1),
        mirrored=~batch.mirrored,
    )


def recoloured(batch: Batch, colouring: Tensor) -> Batch:
    """The batch in other colours, which may leave 0..1. colouring: (3, 4), see `training.data.augment`."""
    return replace(
        batch,
        frames=recolour(batch.frames, colouring),
        references=recolour(batch.references, colouring),
        aligned=recoloured_aligned(batch.aligned, colouring),
        colouring=colouring[None].expand(len(batch), -1, -1),
    )


def recoloured_aligned(aligned: Tensor, colouring: Tensor) -> Tensor:
    """Aligned references (..., A, h, w) in other colours; their confidence stays."""
    if not aligned.shape[-3]:
        return aligned
    return torch.cat([recolour(aligned[..., :3, :, :], colouring), aligned[..., 3:, :, :]], -3)


class WindowSampler:
    """Chooses random windows of people's clips; frames that are held out are never in them."""

    def __init__(
        self,
        people: Sequence[Sequence[Frames]],
        config: RunConfig,
        held_out: Sequence[Start] = (),
        mixed: bool = False,
        weights: Sequence[float] | None = None,
    ) -> None:
        """people: the clips of each person. weights: factor on how often each person is chosen, besides the
        square root of their number of frames.

        held_out: starts of windows of person 0 whose frames are held out. mixed: every other window shows
        person 0, the others show all other people (DESIGN.md 2.4). Raises `NoFace` where a person has no
        window.
        """
        self.people, self.config = [list(clips) for clips in people], config
        self.window, self.mixed = config.generator.window, mixed
        excluded = {(c, f) for c, start in held_out for f in range(start, start + self.window)}
        self.starts = [
            _starts(clips, self.window, excluded if p == 0 else set()) for p, clips in enumerate(self.people)
        ]
        self.frames = [
            [
                (c, int(f))
                for c, clip in enumerate(clips)
                for f in np.flatnonzero(clip.usable)
                if p > 0 or (c, int(f)) not in excluded
            ]
            for p, clips in enumerate(self.people)
        ]
        for starts in self.starts:
            if not starts:
                raise NoFace(
                    f"the clips have no {self.window} consecutive frames with a usable face; "
                    f"expected at least {self.window}, better 25"
                )
        self._pools: Latest[tuple[int, int], ReferencePool] = Latest(MOST_POOLS)
        self.segments = [self._segments(p) for p in range(len(self.people))]
        share = np.sqrt([len(f) for f in self.frames])  # between all people alike and all frames alike
        share *= 1.0 if weights is None else np.asarray(weights)
        share[0] *= not mixed
        self.shares = share / share.sum()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_pools"}  # a process makes its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _pools=Latest(MOST_POOLS))

    def _segments(self, person: int) -> list[Segment]:
        """The segments of a person, each of which makes a starting texture; a single one of all frames where
        the configuration asks for none.
        """
        frames, starts = self.frames[person], self.starts[person]
        if not self.config.segments or self.config.random_texture:
            return [Segment(frames, frames, starts)]
        rng = np.random.default_rng((self.config.seed, person, SEGMENT_STREAM))
        return choose_segments(frames, starts, self.window, self.config.segments, rng)

    def person(self, number: int) -> int:
        """The number of the person whom window `number` shows."""
        return self._person(number, np.random.default_rng((self.config.seed, number)))

    def _person(self, number: int, rng: np.random.Generator) -> int:
        if self.mixed and number % 2 == 0:
            return 0
        return int(rng.choice(len(self.shares), p=self.shares))

    def plan(self, number: int) -> Window:
        """Window `number` of the run."""
        config = self.config
        rng = np.random.default_rng((config.seed, number))
        person = self._person(number, rng)
        k = int(rng.integers(len(self.segments[person])))
        segment = self.segments[person][k]
        outside = rng.random() < OUTSIDE_SHARE
        frames = segment.targets if outside else self.frames[person]
        starts = segment.starts if outside else self.starts[person]
        window = self.plan_among(rng, person, k, frames, starts)
        mirror = bool(rng.random() < config.mirrored)
        colouring = random_colouring(rng, config.recoloured) if config.recoloured else None
        return replace(window, mirror=mirror, colouring=colouring)

    def plan_among(
        self,
        rng: np.random.Generator,
        person: int,
        segment: int,
        frames: Sequence[Start],
        starts: Sequence[Start],
    ) -> Window:
        """A window of a person that shows some of `frames`, rendered from a segment.

        A share of `scattered` of the windows holds any T frames of a clip instead of neighbours: T different
        mouths teach more than one mouth T times. starts: first frames of T neighbours among `frames`.
        """
        config, t = self.config, self.window
        clip, first = starts[rng.integers(len(starts))]
        rows = list(range(first, first + t))
        if rng.random() < config.scattered:
            of_clip = [f for c, f in frames if c == clip]
            rows = [of_clip[i] for i in rng.integers(len(of_clip), size=t)]
        pool = self.segments[person][segment].reference_pool
        references = [pool[i] for i in rng.integers(len(pool), size=config.generator.references)]
        shift = (rng.standard_normal((t, 2)) * config.uv_jitter).astype(np.float32)
        silent = bool(self.people[person][clip].mel is None or rng.random() < config.null_share)
        perceptual = int(rng.integers(t)) if rng.random() < config.losses.perceptual_share else -1
        sees_aligned = bool(rng.random() >= config.aligned_dropout)
        return Window(
            person, clip, rows, references, shift, perceptual, silent, segment, sees_aligned=sees_aligned
        )

    def draw(self, numbers: Sequence[int]) -> Batch:
        """A batch of the windows `numbers`."""
        return joined([self.gather(self.plan(n)) for n in numbers])

    def gather(self, window: Window) -> Batch:
        """One window as a batch of one."""
        clips = self.people[window.person]
        references = [(clips[c], f) for c, f in window.references]
        batch = make_batch(
            clips[window.clip], window, references, self.config.generator, self._pool_of(window)
        )
        if window.mirror:
            batch = mirrored(batch)
        return batch if window.colouring is None else recoloured(batch, torch.from_numpy(window.colouring))

    def _pool_of(self, window: Window) -> ReferencePool | None:
        """Where a window's aligned references come from; None where it gets none."""
        if not self.config.generator.aligned or not window.sees_aligned:
            return None
        key = window.person, window.segment
        found = self._pools.get(key)
        if found is None:
            pool = self.segments[window.person][window.segment].reference_pool
            found = reference_pool_of(self.people[window.person], pool)
            if found is not None:
                self._pools.put(key, found)
        return found


def reference_pool_of(clips: Sequence[Frames], pool: Sequence[Start]) -> ReferencePool | None:
    """The frames of `pool` as references; None for clips that hold their aligned references."""
    with_pictures = [clip for clip in clips if isinstance(clip, ReferenceClip)]
    return ReferencePool(with_pictures, pool) if len(with_pictures) == len(clips) else None


def _starts(clips: Sequence[Frames], window: int, excluded: set[Start]) -> list[Start]:
    """The first frames of T neighbours that all show a face, none of them `excluded`."""
    return [
        (c, i)
        for c, clip in enumerate(clips)
        for i in range(len(clip) - window + 1)
        if clip.usable[i : i + window].all() and not any((c, i + k) in excluded for k in range(window))
    ]


def has_window(clips: Sequence[Frames], window: int) -> bool:
    """Whether there are T neighbours that all show a face."""
    return bool(_starts(clips, window, set()))


def hold_out(clips: Sequence[Frames], window: int, every: int) -> list[Start]:
    """Starts of the blocks of T frames to hold out: one in every `every`, at least one, but none where there
    are fewer than `FEWEST_BLOCKS`.

    They lie between others. At the clip's end they would tell more about later frames, but the training
    frames would end earlier, and that cost later frames 0.2 to 0.4 dB.
    """
    blocks = [
        (c, i)
        for c, clip in enumerate(clips)
        for i in range(0, len(clip) - window + 1, window)
        if clip.usable[i : i + window].all()
    ]
    if len(blocks) < FEWEST_BLOCKS:
        return []
    return blocks[every // 2 :: every] or [blocks[len(blocks) // 2]]


def make_batch(
    clip: Frames,
    window: Window,
    references: Sequence[tuple[Frames, int]],
    config: GeneratorConfig,
    pool: ReferencePool | None = None,
) -> Batch:
    """One window as a batch of one; references: K clips with a frame each. pool: of packed clips, where
    aligned references come from.
    """
    left, top, _, _ = config.view_box
    view, middle = clip.view(window.rows), window.rows[len(window.rows) // 2]
    uv = torch.from_numpy(unpack_uv(view.uv))
    shift = torch.from_numpy(window.shift)[:, None, None]
    uv = torch.where(uv >= 0, (uv + shift).clamp(0, 1), uv)
    boxes = clip.mouth[window.rows] - np.array([left, top, left, top], np.int32)
    pictures = np.concatenate([c.view([f]).crops for c, f in references])
    mel = (
        np.zeros(config.mel, np.float32)
        if window.silent or clip.mel is None
        else np.asarray(clip.mel[middle], np.float32)
    )
    return Batch(
        picture_tensor(view.crops)[None],
        uv[None],
        torch.from_numpy(view.mask.astype(np.float32))[None],
        box_mask(boxes, *config.view_size)[None],
        torch.from_numpy(boxes.astype(np.int64))[None],
        picture_tensor(pictures)[None],
        torch.from_numpy(mel)[None],
        torch.tensor([window.person]),
        torch.tensor([window.perceptual_frame]),
        torch.tensor([window.silent]),
        torch.tensor([window.segment]),
        torch.tensor([False]),
        torch.eye(3, 4)[None],
        _aligned(clip, window, config, pool)[None],
    )


def _aligned(clip: Frames, window: Window, config: GeneratorConfig, pool: ReferencePool | None) -> Tensor:
    """(T, A, h, w) the aligned references of the window."""
    if not config.aligned or not window.sees_aligned:
        return torch.zeros(len(window.rows), config.aligned_channels, *config.view_size)
    return picture_tensor(clip.aligned(window.rows, pool))


def still_windows(
    clips: Sequence[Frames],
    starts: Sequence[Start],
    config: GeneratorConfig,
    reference_pool: Sequence[Start] | None = None,
) -> Batch:
    """Windows to measure on: T neighbours from each start, with fixed references, the null audio code and the
    UV map as it is.

    reference_pool: frames that may serve as references; None: all.
    """
    pool = reference_pool or all_usable(clips)
    references = reference_pool_of(clips, pool) if config.aligned else None
    picks = [(clips[c], f) for c, f in pick_references(clips, config.references, reference_pool)]
    t, unshifted = config.window, np.zeros((config.window, 2), np.float32)
    return joined(
        [
            make_batch(
                clips[c],
                Window(0, c, list(range(i, i + t)), [], unshifted, t // 2, True),
                picks,
                config,
                references,
            )
            for c, i in starts
        ]
    )


def picture_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) float32 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).movedim(-1, -3).float() / 255


def box_mask(boxes: NDArray[np.int32], height: int, width: int) -> Tensor:
    """(..., height, width) float32, 1 inside boxes (..., 4) of left, top, right, bottom, 0 elsewhere."""
    across, down = np.arange(width), np.arange(height)
    x = (across >= boxes[..., 0, None]) & (across < boxes[..., 2, None])
    y = (down >= boxes[..., 1, None]) & (down < boxes[..., 3, None])
    return torch.from_numpy((y[..., :, None] & x[..., None, :]).astype(np.float32))


def pick_references(clips: Sequence[Frames], count: int, pool: Sequence[Start] | None = None) -> list[Start]:
    """A person's fixed references: the middle frames of `count` equal parts of `pool`.

    pool: frames to choose from; None: all usable frames.
    """
    frames = pool or all_usable(clips)
    return [frames[(2 * k + 1) * len(frames) // (2 * count)] for k in range(count)]


def all_usable(clips: Sequence[Frames]) -> list[Start]:
    """All frames of the clips that show a face."""
    return [(c, int(i)) for c, clip in enumerate(clips) for i in np.flatnonzero(clip.usable)]


# ---- feeding -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Numbered(TorchDataset[Batch | BadInput]):
    """A data set of windows by number, for worker processes."""

    sampler: WindowSampler

    def __getitem__(self, number: int) -> Batch | BadInput:
        try:
            return self.sampler.gather(self.sampler.plan(number))
        except BadInput as e:
            return e  # raised in a worker, it would arrive with the worker's traceback


def _all_or_error(windows: Sequence[Batch | BadInput]) -> Batch | BadInput:
    """One batch of the windows, or the first error among them."""
    errors = [w for w in windows if isinstance(w, BadInput)]
    return errors[0] if errors else joined([w for w in windows if isinstance(w, Batch)])


def feed(
    sampler: WindowSampler, first: int, rank: int = 0, world: int = 1, workers: int = 0
) -> Iterator[Batch]:
    """Batches without end, from window `first` of the run on. Of each round of `world` batches, process
    `rank` takes one.

    Two processes with a batch of one thus train on what one process with a batch of two trains on. workers:
    processes that prepare windows ahead; 0: none.
    """
    size = sampler.config.batch

    def rounds() -> Iterator[list[int]]:
        at = first
        while True:
            yield list(range(at + rank * size, at + (rank + 1) * size))
            at += world * size

    if workers == 0:
        return (sampler.draw(numbers) for numbers in rounds())
    loader = DataLoader(
        _Numbered(sampler),
        batch_sampler=rounds(),
        num_workers=workers,
        collate_fn=_all_or_error,
        prefetch_factor=4,
    )
    return _raising(loader)


def _raising(loader: Iterable[Batch | BadInput]) -> Iterator[Batch]:
    for batch in loader:
        if isinstance(batch, BadInput):
            raise batch
        yield batch

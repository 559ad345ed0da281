"""Windows of frames: drawn at random, each a function of the run's seed and its number alone, gathered into
batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from training.core.config import GeneratorConfig, RunConfig
from training.data.augment import mirrored_uv, random_colouring, recolour
from training.data.frames import Frames
from training.data.segments import Passage, Start, choose_passages
from training.data.uvmap import unpack_uv
from visualdub.errors import BadInput, NoFace

FEWEST_BLOCKS = 4  # one second of 25 frames has five, four where a frame shows no face
UNSEEN = 0.75  # share of windows that show only frames outside the passage they are drawn with
PASSAGES = 77  # of the random numbers that choose passages


@dataclass(frozen=True)
class Window:
    """Which frames one sample shows. T frames, K references."""

    person: int
    clip: int
    rows: list[int]  # T
    references: list[Start]  # K
    shift: NDArray[np.float32]  # (T, 2) of the UV map, in texture widths
    look: int  # the frame that the perceptual loss looks at, -1 for none
    silent: bool  # drawn with the null audio code
    passage: int = 0  # of the person's passages, the one that makes the texture
    mirror: bool = False
    colouring: NDArray[np.float32] | None = None  # (3, 4) see `training.data.augment`, None = as filmed


@dataclass(frozen=True)
class Batch:
    """Windows as tensors, cut to the view of h x w pixels. N windows, T frames, K references."""

    frames: Tensor  # (N, T, 3, h, w) 0..1
    uv: Tensor  # (N, T, h, w, 2) 0..1, -1 where no mesh is
    mask: Tensor  # (N, T, h, w) 0/1
    mouth: Tensor  # (N, T, h, w) 0/1, inside the lips' box
    boxes: Tensor  # (N, T, 4) the lips' boxes, integer pixels of the view
    references: Tensor  # (N, K, 3, h, w) 0..1
    mel: Tensor  # (N, 80, 16) of the centre frames, 0 where silent
    person: Tensor  # (N,) int64
    look: Tensor  # (N,) int64, -1 where the perceptual loss does not look
    silent: Tensor  # (N,) bool
    passage: Tensor  # (N,) int64
    mirrored: Tensor  # (N,) bool
    colouring: Tensor  # (N, 3, 4)

    def __len__(self) -> int:
        return len(self.frames)

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))

    def __getitem__(self, part: slice) -> Batch:
        """Some of the windows."""
        return Batch(*(getattr(self, f.name)[part] for f in fields(self)))


def joined(batches: Sequence[Batch]) -> Batch:
    """The windows of several batches in one."""
    return Batch(*(torch.cat([getattr(b, f.name) for b in batches]) for f in fields(Batch)))


def mirrored(batch: Batch) -> Batch:
    """The batch seen in a mirror; the texture has to be mirrored too."""
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
        mirrored=~batch.mirrored,
    )


def recoloured(batch: Batch, colouring: Tensor) -> Batch:
    """The batch in other colours, which may leave 0..1. colouring (3, 4), see `training.data.augment`."""
    return replace(
        batch,
        frames=recolour(batch.frames, colouring),
        references=recolour(batch.references, colouring),
        colouring=colouring[None].expand(len(batch), -1, -1),
    )


class WindowSampler:
    """Draws random windows out of people's clips, keeping some frames aside to measure on."""

    def __init__(
        self,
        people: Sequence[Sequence[Frames]],
        config: RunConfig,
        kept: Sequence[Start] = (),
        mixed: bool = False,
        weights: Sequence[float] | None = None,
    ) -> None:
        """people: the clips of each; weights: how often each is drawn, times the square root of their frames.

        kept: (clip, frame) where windows of person 0 begin that no training window may touch. mixed: every
        other window shows person 0, the others whoever else there is (DESIGN.md 2.4). Raises `NoFace` where
        somebody has no window.
        """
        self.people, self.config = [list(clips) for clips in people], config
        self.window, self.mixed = config.generator.window, mixed
        aside = {(c, f) for c, start in kept for f in range(start, start + self.window)}
        self.starts = [
            _starts(clips, self.window, aside if p == 0 else set()) for p, clips in enumerate(self.people)
        ]
        self.faces = [
            [
                (c, int(f))
                for c, clip in enumerate(clips)
                for f in np.flatnonzero(clip.usable)
                if p > 0 or (c, int(f)) not in aside
            ]
            for p, clips in enumerate(self.people)
        ]
        for starts in self.starts:
            if not starts:
                raise NoFace(
                    f"the clips have no {self.window} consecutive frames with a usable face; "
                    f"expected at least {self.window}, better 25"
                )
        self.passages = [self._passages(p) for p in range(len(self.people))]
        share = np.sqrt([len(f) for f in self.faces])  # between each person and each frame alike
        share *= 1.0 if weights is None else np.asarray(weights)
        share[0] *= not mixed
        self._share = share / share.sum()

    def _passages(self, person: int) -> list[Passage]:
        """What each starting texture of a person is made of; one, of all frames, where the run asks for no
        more.
        """
        faces, starts = self.faces[person], self.starts[person]
        if not self.config.passages or self.config.random_texture:
            return [Passage(faces, faces, starts)]
        rng = np.random.default_rng((self.config.seed, person, PASSAGES))
        return choose_passages(faces, starts, self.window, self.config.passages, rng)

    def person(self, number: int) -> int:
        """Whom window `number` shows."""
        return self._person(number, np.random.default_rng((self.config.seed, number)))

    def _person(self, number: int, rng: np.random.Generator) -> int:
        if self.mixed and number % 2 == 0:
            return 0
        return int(rng.choice(len(self._share), p=self._share))

    def plan(self, number: int) -> Window:
        """Window `number` of the run.

        A share of `scattered` of the windows holds any T frames of a clip instead of neighbours: T different
        mouths teach more than one mouth T times.
        """
        rng, t = np.random.default_rng((self.config.seed, number)), self.window
        person = self._person(number, rng)
        number_of_passage = int(rng.integers(len(self.passages[person])))
        passage = self.passages[person][number_of_passage]
        unseen = rng.random() < UNSEEN
        faces, starts = (
            (passage.faces, passage.starts) if unseen else (self.faces[person], self.starts[person])
        )
        clip, first = starts[rng.integers(len(starts))]
        rows = list(range(first, first + t))
        if rng.random() < self.config.scattered:
            own = [f for c, f in faces if c == clip]
            rows = [own[k] for k in rng.integers(len(own), size=t)]
        known = passage.known
        references = [known[k] for k in rng.integers(len(known), size=self.config.generator.references)]
        shift = (rng.standard_normal((t, 2)) * self.config.uv_jitter).astype(np.float32)
        silent = self.people[person][clip].mel is None or rng.random() < self.config.null_share
        look = int(rng.integers(t)) if rng.random() < self.config.losses.perceptual_share else -1
        mirror = bool(rng.random() < self.config.mirrored)
        colouring = random_colouring(rng, self.config.recoloured) if self.config.recoloured else None
        return Window(
            person, clip, rows, references, shift, look, bool(silent), number_of_passage, mirror, colouring
        )

    def draw(self, numbers: Sequence[int]) -> Batch:
        """The windows of these numbers."""
        return joined([self.gather(self.plan(n)) for n in numbers])

    def gather(self, window: Window) -> Batch:
        """One window as a batch of one."""
        clips = self.people[window.person]
        batch = make_batch(
            clips[window.clip], window, [(clips[c], f) for c, f in window.references], self.config.generator
        )
        if window.mirror:
            batch = mirrored(batch)
        return batch if window.colouring is None else recoloured(batch, torch.from_numpy(window.colouring))


def _starts(clips: Sequence[Frames], window: int, aside: set[Start]) -> list[Start]:
    """Where T neighbours begin that all show a face and are not kept aside."""
    return [
        (c, i)
        for c, clip in enumerate(clips)
        for i in range(len(clip) - window + 1)
        if clip.usable[i : i + window].all() and not any((c, i + k) in aside for k in range(window))
    ]


def has_window(clips: Sequence[Frames], window: int) -> bool:
    """Whether anywhere T neighbours all show a face."""
    return bool(_starts(clips, window, set()))


def hold_out(clips: Sequence[Frames], window: int, every: int) -> list[Start]:
    """Blocks of T frames to keep aside: one in every `every`, at least one, none where there are fewer than
    `FEWEST_BLOCKS`.

    They lie between others. Kept at the clip's end they would tell more of later frames, but those that are
    learned from would end earlier, and that cost later frames 0.2 to 0.4 dB.
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
    clip: Frames, window: Window, references: Sequence[tuple[Frames, int]], config: GeneratorConfig
) -> Batch:
    """One window as tensors; `references` are the frames shown beside it."""
    top, _, left, _ = config.view
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
        torch.tensor([window.look]),
        torch.tensor([window.silent]),
        torch.tensor([window.passage]),
        torch.tensor([False]),
        torch.eye(3, 4)[None],
    )


def still_windows(
    clips: Sequence[Frames],
    starts: Sequence[Start],
    config: GeneratorConfig,
    known: Sequence[Start] | None = None,
) -> Batch:
    """Windows to measure on: T neighbours from each start, fixed references, null audio code, the UV map as
    it is.

    known: frames that may be shown as references, None = all.
    """
    picks = [(clips[c], f) for c, f in pick_references(clips, config.references, known)]
    t, none = config.window, np.zeros((config.window, 2), np.float32)
    return joined(
        [
            make_batch(clips[c], Window(0, c, list(range(i, i + t)), [], none, t // 2, True), picks, config)
            for c, i in starts
        ]
    )


def picture_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) float32 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).movedim(-1, -3).float() / 255


def box_mask(boxes: NDArray[np.int32], height: int, width: int) -> Tensor:
    """(..., 4) boxes x0, y0, x1, y1 -> (..., height, width) float32, 1 inside."""
    across, down = np.arange(width), np.arange(height)
    x = (across >= boxes[..., 0, None]) & (across < boxes[..., 2, None])
    y = (down >= boxes[..., 1, None]) & (down < boxes[..., 3, None])
    return torch.from_numpy((y[..., :, None] & x[..., None, :]).astype(np.float32))


def pick_references(clips: Sequence[Frames], count: int, known: Sequence[Start] | None = None) -> list[Start]:
    """A person's fixed references: usable frames, or `known` ones, spread evenly, the middle of each part.
    (clip, frame) each.
    """
    faces = known or [(c, int(i)) for c, clip in enumerate(clips) for i in np.flatnonzero(clip.usable)]
    return [faces[(2 * k + 1) * len(faces) // (2 * count)] for k in range(count)]


# ---- feeding -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Numbered(TorchDataset[Batch | BadInput]):
    """Windows by number, for worker processes."""

    sampler: WindowSampler

    def __getitem__(self, number: int) -> Batch | BadInput:
        try:
            return self.sampler.gather(self.sampler.plan(number))
        except BadInput as e:
            return e  # raised in a worker it would come back with the worker's traceback


def _all_or_error(windows: Sequence[Batch | BadInput]) -> Batch | BadInput:
    """The windows in one batch, or the first error among them."""
    errors = [w for w in windows if isinstance(w, BadInput)]
    return errors[0] if errors else joined([w for w in windows if isinstance(w, Batch)])


def feed(
    sampler: WindowSampler, first: int, rank: int = 0, world: int = 1, workers: int = 0
) -> Iterator[Batch]:
    """Batches without end, from window `first` of the run on. Of each round of `world` batches, process
    `rank` takes its own.

    Two processes with a batch of one thus see what one process with a batch of two sees. workers: processes
    that draw ahead.
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

"""Lower faces for the privacy experiment: filmed, and rendered by the prior alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.core.config import GeneratorConfig, PriorConfig
from training.core.trainer import texture_of
from training.data.frames import Frames
from training.data.segments import Start
from training.data.uvmap import unpack_uv
from training.data.windows import Batch, picture_tensor, still_windows
from training.renderer.generator import CONFIDENCE_GAIN, Generator, sample_texture, uv_discontinuities
from training.renderer.texture import NeuralTexture
from training.renderer.unwrap import MOST_CONFIDENCE, splat

Draw = Callable[[Batch, Tensor], Tensor]  # renders one window with a texture (C, S, S): (T, 3, h, w) 0..1

TEXELS = 32  # side of the unwrapped face
FILMED_FACES = 5  # filmed faces of each half of a person's clips
WINDOWS = 2  # windows of each validation speaker
CONTROL_PEOPLE = 12  # training people whose starting textures the controls use
TEXTURE_FRAMES = 10  # frames that such a texture is made of


@dataclass(frozen=True)
class Person:
    """The clips of one person."""

    name: str
    clips: Sequence[Frames]
    trained: bool  # whether the prior was trained on them


@dataclass(frozen=True)
class Face:
    """One unwrapped lower face."""

    condition: str  # "filmed", "outsider", "own", "transplant", "random", "flat", "mixture"
    network: str  # "prior", "untrained"; "" where it was filmed
    frames_of: str  # the person in the frames
    start: Start  # clip, first frame
    texture: int  # number of the texture
    texture_of: str  # the person of the texture; "": nobody
    sums: NDArray[np.float32]  # (TEXELS ** 2, 4) as `splat` returns them


# ---- filmed faces ------------------------------------------------------------------------------------------


def lower_face(frames: Tensor, uv: Tensor, mask: Tensor) -> NDArray[np.float32]:
    """(TEXELS ** 2, 4) the unwrapped lower face of frames (T, 3, h, w): colours times weight, and weight.

    uv: (T, h, w, 2). mask: (T, h, w), whose inside is unwrapped.
    """
    sums = torch.zeros(TEXELS * TEXELS, 4)
    for frame, frame_uv, inside in zip(frames, uv, mask, strict=True):
        outside = torch.full_like(frame_uv, -1)
        sums += splat(frame, torch.where(inside[..., None] > 0.5, frame_uv, outside), TEXELS)
    return sums.numpy()


def filmed(person: Person, late: bool, window: int, count: int = FILMED_FACES) -> Iterator[Face]:
    """Filmed faces of the first or (`late`) the second half of each clip, each of `window` neighbours; about
    `count` of them.
    """
    for c, clip in enumerate(person.clips):
        whole = [i for i in range(len(clip) - window + 1) if clip.usable[i : i + window].all()]
        part = [i for i in whole if (i >= len(clip) / 2 if late else i + window <= len(clip) / 2)]
        spread = np.linspace(0, len(part) - 1, max(2, count // len(person.clips))).astype(int) if part else ()
        for i in sorted({part[k] for k in spread}):
            view = clip.view(range(i, i + window))
            sums = lower_face(
                picture_tensor(view.crops), torch.from_numpy(unpack_uv(view.uv)), torch.from_numpy(view.mask)
            )
            yield Face(
                "filmed" if person.trained else "outsider", "", person.name, (c, i), 0, person.name, sums
            )


def later_starts(person: Person, window: int, count: int) -> list[Start]:
    """The first frames of `count` windows in the second halves of the clips, spread evenly; none where there
    are none.
    """
    starts = [
        (c, i)
        for c, clip in enumerate(person.clips)
        for i in range(len(clip) // 2, len(clip) - window + 1)
        if clip.usable[i : i + window].all()
    ]
    return [starts[(2 * k + 1) * len(starts) // (2 * count)] for k in range(count)] if starts else []


# ---- rendered faces ----------------------------------------------------------------------------------------


def drawing(network: Generator) -> Draw:
    """A function that renders with the network and the null audio code."""
    network.eval()

    @torch.no_grad()
    def draw(window: Batch, texture: Tensor) -> Tensor:
        sampled = sample_texture(network.with_uv_embedding(texture[None]), window.uv)
        args = (
            window.frames,
            sampled,
            uv_discontinuities(window.uv),
            window.mask,
            window.references,
            network.null_audio[None],
            window.aligned,
        )
        picture: Tensor = network(*args)[0]
        return picture.clamp(0, 1)

    return draw


def random_textures(config: GeneratorConfig, draws: int, seed: int) -> list[Tensor]:
    """`draws` textures (C, S, S) as an adaptation from a random texture starts with."""
    rng = torch.Generator().manual_seed(seed)
    return [
        NeuralTexture(config.texture_size, config.texture_channels, None, rng)().detach()[0]
        for _ in range(draws)
    ]


def flat_texture(config: GeneratorConfig) -> Tensor:
    """(C, S, S) grey of the lowest confidence: the network and the surroundings alone decide what is
    rendered.
    """
    texture = torch.zeros(config.texture_channels, config.texture_size, config.texture_size)
    texture[:3], texture[3] = 0.5, -MOST_CONFIDENCE / CONFIDENCE_GAIN
    return texture


def own_texture(person: Person, config: PriorConfig) -> Tensor:
    """(C, S, S) the starting texture from the first half of a person's clips."""
    early = [
        (c, int(i))
        for c, clip in enumerate(person.clips)
        for i in np.flatnonzero(clip.usable)
        if i < len(clip) / 2
    ]
    return texture_of(person.clips, early, config, TEXTURE_FRAMES)[0]


def mixtures(
    textures: Mapping[str, Tensor], without: str, draws: int, rng: np.random.Generator
) -> list[Tensor]:
    """`draws` random mixtures of all people's textures except those of `without`; none where there is nobody
    else.
    """
    others = [t for n, t in textures.items() if n != without]
    return [
        torch.stack([float(s) * t for s, t in zip(share, others, strict=True)]).sum(0)
        for share in rng.dirichlet(np.ones(len(others)), draws if others else 0)
    ]


@dataclass(frozen=True)
class Studio:
    """The people and networks of the experiment, from which it renders its faces."""

    people: Sequence[Person]
    config: PriorConfig
    prior: Draw
    untrained: Draw | None
    draws: int
    seed: int

    def faces(self) -> Iterator[tuple[Face, Tensor]]:
        """Every rendered face, with its middle frame (3, h, w) pasted into the filmed one."""
        outsiders = [p for p in self.people if not p.trained]
        insiders = [p for p in self.people if p.trained]
        every = max(1, len(insiders) // CONTROL_PEOPLE)
        control = {p.name: own_texture(p, self.config) for p in insiders[::every][:CONTROL_PEOPLE]}
        validation = {p.name: own_texture(p, self.config) for p in outsiders}
        rng = np.random.default_rng(self.seed)
        for person in outsiders:
            yield from self._tests(person, validation, control, rng)
        for person in insiders:
            if person.name in control:
                yield from self._faces(person, 1, "own", [(person.name, control[person.name])])

    def _tests(
        self,
        person: Person,
        validation: Mapping[str, Tensor],
        control: Mapping[str, Tensor],
        rng: np.random.Generator,
    ) -> Iterator[tuple[Face, Tensor]]:
        """The faces over a validation speaker's frames, with the starting textures of validation speakers and
        of training people.
        """
        g = self.config.generator
        mixed = mixtures(validation, person.name, min(4, self.draws), rng)
        for condition, textures in (
            ("random", random_textures(g, self.draws, self.seed)),
            ("flat", [flat_texture(g)]),
            ("mixture", mixed),
        ):
            yield from self._faces(person, WINDOWS, condition, [("", t) for t in textures])
        yield from self._faces(person, 1, "transplant", list(control.items()))

    def _faces(
        self, person: Person, count: int, condition: str, textures: Sequence[tuple[str, Tensor]]
    ) -> Iterator[tuple[Face, Tensor]]:
        """The faces of `count` windows with each of `textures`, (person or "", texture)."""
        starts = later_starts(person, self.config.generator.window, count)
        networks = [("prior", self.prior)]
        if condition == "random" and self.untrained is not None:
            networks.append(("untrained", self.untrained))
        for start in starts:
            window = still_windows(person.clips, [start], self.config.generator)
            middle = window.frames.shape[1] // 2
            for i, (name, texture) in enumerate(textures):
                for network, draw in networks:
                    rendered = draw(window, texture)
                    mask = window.mask[0, middle]
                    pasted = rendered[middle] * mask + window.frames[0, middle] * (1 - mask)
                    sums = lower_face(rendered, window.uv[0], window.mask[0])
                    yield Face(condition, network, person.name, start, i, name, sums), pasted

"""Does the prior alone draw anybody it was trained on? `python -m training.experiments.privacy --dataset D
--prior F -o DIR`

Faces. The network draws frames of validation speakers, whom it never saw, with textures that hold nobody it
was trained on: *random* (the paper's start), *flat* (grey, trusting itself least) and *mixture* (random
mixtures of the starting textures of the other validation speakers, the likeliest input that is no trained
person). References are the speaker's own, the audio code null.

Instrument. The drawn mask region is unwrapped into the texture layout, freed of smooth light (a cubic per
colour) and of contrast, and embedded by PCA and LDA fitted on real frames of the first half of each clip. A
person is the mean of those. A face is *retrieved* where its cosine to the nearest trained person reaches a
threshold that `FALSE_ALARMS` of two kinds of faces reach at most, which is the chance level: real ones of
outsiders (training people in turn, left out of embedding and gallery), and those that an untrained network,
which cannot know anybody, draws of the test's own input. A top-1 rate would have none: somebody is always
nearest, and nobody was asked for. People filmed twice under two names raise the threshold. The verdict is
that of *random*; *flat* is a single texture, so that its faces are hardly more than one trial.

Controls, which show that a leak would be seen: *filmed*, the second halves of training people's clips; *own*,
drawn with a training person's starting texture over their own later frames; *transplant*, with the same
texture over the validation speakers' frames, which is the test itself with a leak in it. And a share of a
training person's picture is planted in the faces under test until it is noticed. Surroundings carried inwards
make a face resemble the speaker of the frame: that is reported.

Beside the verdict stand: how often the nearest of all other people is one trained on (permutation of the
labels over people), how unevenly the nearest person is spread, and whether one texture picks the same person
in different speakers' frames; both also for an untrained network, because any network shows the same texture
alike.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import beta, rankdata
from torch import Tensor

from training.core.config import GeneratorConfig, PriorConfig
from training.core.sheet import as_picture, save_sheet
from training.core.trainer import texture_of
from training.data.frames import Frames
from training.data.packed import Dataset
from training.data.segments import Start
from training.data.uvmap import unpack_uv
from training.data.windows import Batch, picture_tensor, still_windows
from training.experiments.study import run_main
from training.prior_file import load_prior, load_weights
from training.renderer.generator import TRUST_GAIN, Generator, sample_texture, uv_jumps
from training.renderer.texture import NeuralTexture
from training.renderer.unwrap import MOST_TRUST, splat
from visualdub.errors import BadInput
from visualdub.storage import atomic_path, write_text

Array = NDArray[np.float64]
Draw = Callable[[Batch, Tensor], Tensor]  # one window, texture (C, S, S) -> (T, 3, h, w) 0..1

TEXELS = 32  # side of the unwrapped face
COVERED = 0.9  # share of the real faces that must show a texel for it to count
COMPONENTS = 100  # of the PCA
DISCRIMINANTS = 45  # of the LDA
SHRINKAGE = 0.1  # of the scatter within people, towards a sphere
FALSE_ALARMS = 0.1  # share of outsiders' real faces that are taken for somebody: the chance level
FOLDS = 6  # of the training people, to find the threshold
HALF = 5  # real faces of each half of a person's clips
FRAMES = 2  # windows of each validation speaker
ASKED = 12  # training people whose starting textures the controls use
TEXTURE_FRAMES = 10  # that such a texture is made of
SHUFFLES = 4000
RESAMPLED = 1000
PLANTED = tuple(i / 20 for i in range(1, 21))  # shares of a training person's picture


@dataclass(frozen=True)
class Person:
    """Somebody's clips."""

    name: str
    clips: Sequence[Frames]
    trained: bool  # the prior saw them


@dataclass(frozen=True)
class Face:
    """One unwrapped lower face."""

    condition: str  # "filmed", "outsider", "own", "transplant", "random", "flat", "mixture"
    network: str  # "prior", "untrained", "" where it was filmed
    frames_of: str
    start: Start  # clip, first frame
    draw: int  # which texture
    asked: str  # whose texture, "" = nobody's
    sums: NDArray[np.float32]  # (TEXELS ** 2, 4) as `splat` leaves them


# ---- the instrument ----------------------------------------------------------------------------------------


def lower_face(frames: Tensor, uv: Tensor, mask: Tensor) -> NDArray[np.float32]:
    """Frames (T, 3, h, w) inside mask (T, h, w), uv (T, h, w, 2) -> (TEXELS ** 2, 4) colours times weight,
    and weight.
    """
    sums = torch.zeros(TEXELS * TEXELS, 4)
    for frame, where, inside in zip(frames, uv, mask, strict=True):
        sums += splat(frame, torch.where(inside[..., None] > 0.5, where, torch.full_like(where, -1)), TEXELS)
    return sums.numpy()


class Features:
    """Unwrapped faces as vectors of length 1, without smooth light, mean colour and contrast."""

    def __init__(self, sums: NDArray[np.float32]) -> None:
        """sums (n, TEXELS ** 2, 4) of real faces: what most of them show is what is looked at."""
        self.region = (sums[..., 3] > 0.5).mean(0) > COVERED
        if self.region.sum() < 30:
            raise BadInput(
                f"the faces share {self.region.sum()} texels of their lower faces; expected 30 or more"
            )
        texels = np.flatnonzero(self.region)
        y, x = texels // TEXELS / TEXELS - 0.5, texels % TEXELS / TEXELS - 0.5
        powers = [x**i * y**j for i in range(4) for j in range(4 - i)]
        self.light = np.linalg.qr(np.stack(powers, 1))[0]

    def __call__(self, sums: NDArray[np.float32]) -> Array:
        """(n, TEXELS ** 2, 4) -> (n, D)."""
        seen = sums[:, self.region].astype(np.float64)
        colours = seen[..., :3] / np.maximum(seen[..., 3:], 1e-6)
        left = colours - self.light @ (self.light.T @ colours)
        return unit(left.reshape(len(left), -1))


def unit(x: Array) -> Array:
    """Rows of x (n, D) scaled to length 1; rows of zeros stay."""
    scaled: Array = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return scaled


class Embedding:
    """PCA and LDA of labelled faces, and the mean of each person: what a retrieval asks."""

    def __init__(self, faces: Array, who: NDArray[np.str_]) -> None:
        """faces (n, D) of people `who` (n,)."""
        self.names = np.unique(who)
        self.mean = faces.mean(0)
        axes = np.linalg.svd(faces - self.mean, full_matrices=False)[2][
            : min(COMPONENTS, len(faces) - len(self.names))
        ].T
        reduced = (faces - self.mean) @ axes
        means = np.stack([reduced[who == n].mean(0) for n in self.names])
        apart = reduced - means[np.searchsorted(self.names, who)]
        within = apart.T @ apart / len(apart)
        within += SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
        values, vectors = np.linalg.eigh(within)
        white = vectors / np.sqrt(values)
        between = np.linalg.svd((means - means.mean(0)) @ white, full_matrices=False)[2][
            : min(DISCRIMINANTS, len(means) - 1)
        ]
        self.matrix = axes @ white @ between.T
        own = self.embed(faces)
        self.people = unit(np.stack([own[who == n].mean(0) for n in self.names]))

    def embed(self, faces: Array) -> Array:
        """(n, D) -> (n, d) of length 1."""
        return unit((faces - self.mean) @ self.matrix)

    def similarity(self, faces: Array) -> Array:
        """Cosine of faces (n, D) to everybody: (n, people)."""
        return self.embed(faces) @ self.people.T


def threshold(
    known: Array, who: NDArray[np.str_], later: Array, later_who: NDArray[np.str_], rng: np.random.Generator
) -> float:
    """The similarity that `FALSE_ALARMS` of the faces `later` (n, D) reach with people they are not,
    themselves left out.
    """
    best: list[float] = []
    for fold in np.array_split(rng.permutation(np.unique(who)), FOLDS):
        kept = ~np.isin(who, fold)
        best += list(Embedding(known[kept], who[kept]).similarity(later[np.isin(later_who, fold)]).max(1))
    return float(np.quantile(best, 1 - FALSE_ALARMS))


# ---- the faces ---------------------------------------------------------------------------------------------


def filmed(person: Person, late: bool, window: int, count: int = HALF) -> Iterator[Face]:
    """Real faces of the first or the second half of each clip, `window` neighbours each."""
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
    """Where windows of later frames begin, spread over all clips."""
    found = [
        (c, i)
        for c, clip in enumerate(person.clips)
        for i in range(len(clip) // 2, len(clip) - window + 1)
        if clip.usable[i : i + window].all()
    ]
    return [found[(2 * k + 1) * len(found) // (2 * count)] for k in range(count)] if found else []


def drawing(network: Generator) -> Draw:
    """What the network draws with the null audio code."""
    network.eval()

    @torch.no_grad()
    def draw(window: Batch, texture: Tensor) -> Tensor:
        sampled = sample_texture(network.with_atlas(texture[None]), window.uv)
        args = (
            window.frames,
            sampled,
            uv_jumps(window.uv),
            window.mask,
            window.references,
            network.null_audio[None],
        )
        picture: Tensor = network(*args)[0]
        return picture.clamp(0, 1)

    return draw


def random_textures(config: GeneratorConfig, draws: int, seed: int) -> list[Tensor]:
    """(C, S, S) each, as an adaptation from a random texture begins."""
    rng = torch.Generator().manual_seed(seed)
    return [
        NeuralTexture(config.texture_size, config.texture_channels, None, rng)().detach()[0]
        for _ in range(draws)
    ]


def flat_texture(config: GeneratorConfig) -> Tensor:
    """(C, S, S) grey that trusts itself least: what is drawn is the network's and the surroundings'."""
    texture = torch.zeros(config.texture_channels, config.texture_size, config.texture_size)
    texture[:3], texture[3] = 0.5, -MOST_TRUST / TRUST_GAIN
    return texture


def own_texture(person: Person, config: PriorConfig) -> Tensor:
    """(C, S, S) starting texture of the first half of a person's clips."""
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
    """Random mixtures of everybody's textures but one person's; none where nobody else is."""
    others = [t for n, t in textures.items() if n != without]
    return [
        torch.stack([float(s) * t for s, t in zip(share, others, strict=True)]).sum(0)
        for share in rng.dirichlet(np.ones(len(others)), draws if others else 0)
    ]


@dataclass(frozen=True)
class Studio:
    """Who is drawn and by what."""

    people: Sequence[Person]
    config: PriorConfig
    prior: Draw
    untrained: Draw | None
    draws: int
    seed: int

    def shoot(self) -> Iterator[tuple[Face, Tensor]]:
        """Every drawn face, with its middle frame (3, h, w) pasted into the film."""
        outsiders = [p for p in self.people if not p.trained]
        insiders = [p for p in self.people if p.trained]
        asked = {
            p.name: own_texture(p, self.config) for p in insiders[:: max(1, len(insiders) // ASKED)][:ASKED]
        }
        lent = {p.name: own_texture(p, self.config) for p in outsiders}
        rng = np.random.default_rng(self.seed)
        for person in outsiders:
            yield from self._tests(person, lent, asked, rng)
        for person in insiders:
            if person.name in asked:
                yield from self._faces(person, 1, "own", [(person.name, asked[person.name])])

    def _tests(
        self,
        person: Person,
        lent: Mapping[str, Tensor],
        asked: Mapping[str, Tensor],
        rng: np.random.Generator,
    ) -> Iterator[tuple[Face, Tensor]]:
        g = self.config.generator
        mixed = mixtures(lent, person.name, min(4, self.draws), rng)
        for condition, textures in (
            ("random", random_textures(g, self.draws, self.seed)),
            ("flat", [flat_texture(g)]),
            ("mixture", mixed),
        ):
            yield from self._faces(person, FRAMES, condition, [("", t) for t in textures])
        yield from self._faces(person, 1, "transplant", list(asked.items()))

    def _faces(
        self, person: Person, count: int, condition: str, textures: Sequence[tuple[str, Tensor]]
    ) -> Iterator[tuple[Face, Tensor]]:
        starts = later_starts(person, self.config.generator.window, count)
        networks = [("prior", self.prior)]
        if condition == "random" and self.untrained is not None:
            networks.append(("untrained", self.untrained))
        for start in starts:
            window = still_windows(person.clips, [start], self.config.generator)
            middle = window.frames.shape[1] // 2
            for i, (name, texture) in enumerate(textures):
                for network, draw in networks:
                    drawn = draw(window, texture)
                    mask = window.mask[0, middle]
                    pasted = drawn[middle] * mask + window.frames[0, middle] * (1 - mask)
                    sums = lower_face(drawn, window.uv[0], window.mask[0])
                    yield Face(condition, network, person.name, start, i, name, sums), pasted


# ---- statistics --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % confidence interval."""

    share: float
    low: float
    high: float
    count: int  # faces

    def __str__(self) -> str:
        return f"{100 * self.share:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def rate(
    hits: NDArray[np.bool_], people: NDArray[np.str_], draws: NDArray[np.str_], rng: np.random.Generator
) -> Rate:
    """Share of hits; resampled over people and over textures at once, never narrower than people x textures
    trials allow.
    """
    p, d = (np.unique(x, return_inverse=True)[1] for x in (people, draws))
    shares: list[float] = []
    for _ in range(RESAMPLED):
        weight = (
            np.bincount(rng.integers(p.max() + 1, size=p.max() + 1), minlength=p.max() + 1)[p]
            * np.bincount(rng.integers(d.max() + 1, size=d.max() + 1), minlength=d.max() + 1)[d]
        )
        if weight.sum():
            shares.append(float((weight * hits).sum() / weight.sum()))
    share, n = float(hits.mean()), len(set(zip(p.tolist(), d.tolist(), strict=True)))
    low = float(beta.ppf(0.025, share * n, n - share * n + 1)) if share > 0 else 0.0
    high = float(beta.ppf(0.975, share * n + 1, n - share * n)) if share < 1 else 1.0
    return Rate(
        share,
        min(low, float(np.quantile(shares, 0.025))),
        max(high, float(np.quantile(shares, 0.975))),
        len(hits),
    )


def trained_nearer(
    similarity: Array, own: NDArray[np.int64], trained: NDArray[np.bool_], rng: np.random.Generator
) -> dict[str, float]:
    """Are trained people nearer to the faces than people never trained on? similarity (n, P), own (n,) the
    frame's person.

    `top1` against `top1_chance`, the share of trained people; `auc`: how often a trained person is nearer
    than one never trained on, 0.5 = chance. p-values, one-sided, of exchanging who was trained on.
    """
    others = np.where(np.arange(len(trained)) == own[:, None], -np.inf, similarity)
    top = others.argmax(1)
    ranks = (rankdata(others, axis=1) - 2) / (
        len(trained) - 2
    )  # the frame's own person is last and not counted
    counted = np.arange(len(trained)) != own[:, None]

    def measured(label: NDArray[np.bool_]) -> tuple[float, float]:
        inside = (counted & label).sum(1) / counted.sum(1)
        gap = ranks[counted & label].mean() - ranks[counted & ~label].mean()
        return float((label[top] - inside).mean()), float(gap)

    excess, gap = measured(trained)
    null = np.array([measured(rng.permutation(trained)) for _ in range(SHUFFLES)])
    p = (1 + (null >= np.array([excess, gap]) - 1e-12).sum(0)) / (SHUFFLES + 1)
    chance = float(((counted & trained).sum(1) / counted.sum(1)).mean())
    return {
        "top1": excess + chance,
        "top1_chance": chance,
        "top1_p": float(p[0]),
        "auc": 0.5 + gap * (len(trained) - 2) / (len(trained) - 1),
        "auc_p": float(p[1]),
    }


def picked_alike(
    top: NDArray[np.int64], people: NDArray[np.str_], draws: NDArray[np.str_], rng: np.random.Generator
) -> dict[str, float]:
    """How often one texture picks the same nearest person in two speakers' frames; `chance` and `p` from
    exchanged textures.
    """
    alike, apart = top[:, None] == top, people[:, None] != people

    def agreement(d: NDArray[np.str_]) -> float:
        pairs = apart & (d[:, None] == d)
        return float(alike[pairs].mean()) if pairs.any() else 0.0

    null = []
    for _ in range(SHUFFLES // 10):
        changed = draws.copy()
        for person in np.unique(people):
            mine = np.flatnonzero(people == person)
            values = np.unique(draws[mine])
            changed[mine] = rng.permutation(values)[np.searchsorted(values, draws[mine])]
        null.append(agreement(changed))
    found = agreement(draws)
    return {
        "share": found,
        "chance": float(np.mean(null)),
        "p": (1 + sum(x >= found for x in null)) / (len(null) + 1),
    }


# ---- the verdict -------------------------------------------------------------------------------------------


@dataclass
class Finding:
    """All that is said of a prior."""

    rates: dict[str, Rate]  # retrieved as anybody trained on, by condition
    top1: dict[str, Rate]  # nearest is the person asked for, by control
    bar: float  # the threshold
    nearer: dict[str, float]
    alike: dict[str, dict[str, float]]  # by network
    favourite: dict[str, tuple[str, float]]  # nearest most often, and how often, by network
    own_nearest: (
        float  # share of random-texture faces nearest to the frame's own person, who is then in the gallery
    )
    smallest: float | None  # planted share of a training person's picture that would be noticed
    people: tuple[int, int]  # trained on, never trained on
    rows: list[dict[str, Any]]

    @property
    def leaks(self) -> bool:
        """Whether random textures retrieve trained people more often than chance, as far as their interval is
        sure.
        """
        return self.rates["random"].low > FALSE_ALARMS


def examine(people: Sequence[Person], faces: Sequence[Face], window: int, seed: int) -> Finding:
    """Measure drawn faces against real ones of everybody, `window` frames each.

    Raises `BadInput` where there are too few people.
    """
    inside = [p.name for p in people if p.trained]
    if len(inside) < FOLDS or len(people) - len(inside) < 2:
        raise BadInput(
            f"{len(inside)} people trained on and {len(people) - len(inside)} never trained on; expected "
            f"{FOLDS} and 2 or more"
        )
    rng = np.random.default_rng(seed)
    early, late = ([f for p in people for f in filmed(p, half, window)] for half in (False, True))
    features = Features(np.stack([f.sums for f in early]))
    known, known_who = features(_sums(early)), _who(early)
    real, real_who = features(_sums(late)), _who(late)
    mine, its = np.isin(known_who, inside), np.isin(real_who, inside)
    bar = threshold(known[mine], known_who[mine], real[its], real_who[its], rng)
    embedding = Embedding(known[mine], known_who[mine])
    innocent = [f for f in faces if f.network == "untrained"]
    if innocent:
        bar = max(
            bar, float(np.quantile(embedding.similarity(features(_sums(innocent))).max(1), 1 - FALSE_ALARMS))
        )
    shown = [*late, *faces]
    vectors = np.concatenate([real, features(_sums(faces))])
    rows = _rows(shown, embedding, vectors, bar)
    picked = [i for i, f in enumerate(shown) if (f.condition, f.network) == ("random", "prior")]
    tested = [shown[i] for i in picked]
    nearer, own = _against_everybody(known, known_who, vectors[picked], _who(tested), inside, rng)
    smallest = _smallest(embedding, vectors[picked], real[its], bar, tested, rng)
    return Finding(
        _rates(rows, rng),
        _top1(rows, rng),
        bar,
        nearer,
        *_picks(rows, rng),
        own,
        smallest,
        (len(inside), len(people) - len(inside)),
        rows,
    )


def _sums(faces: Sequence[Face]) -> NDArray[np.float32]:
    return np.stack([f.sums for f in faces])


def _who(faces: Sequence[Face]) -> NDArray[np.str_]:
    return np.array([f.frames_of for f in faces])


def _rows(faces: Sequence[Face], embedding: Embedding, vectors: Array, bar: float) -> list[dict[str, Any]]:
    similarity = embedding.similarity(vectors)
    return [
        {
            "condition": f.condition,
            "network": f.network,
            "frames_of": f.frames_of,
            "clip": f.start[0],
            "frame": f.start[1],
            "draw": f.draw,
            "asked": f.asked,
            "nearest": str(embedding.names[s.argmax()]),
            "similarity": round(float(s.max()), 4),
            "retrieved": int(s.max() >= bar),
        }
        for f, s in zip(faces, similarity, strict=True)
    ]


def _columns(rows: Sequence[Mapping[str, Any]]) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Person and texture of each row, which its confidence interval is taken over."""
    return np.array([r["frames_of"] for r in rows]), np.array([f"{r['asked']} {r['draw']}" for r in rows])


def _rates(rows: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> dict[str, Rate]:
    found = {}
    for condition, network in sorted({(r["condition"], r["network"]) for r in rows}):
        some = [r for r in rows if (r["condition"], r["network"]) == (condition, network)]
        name = condition if network != "untrained" else f"{condition}, untrained network"
        found[name] = rate(np.array([bool(r["retrieved"]) for r in some]), *_columns(some), rng)
    return found


def _top1(rows: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> dict[str, Rate]:
    found = {}
    for condition in ("filmed", "own", "transplant"):
        some = [r for r in rows if r["condition"] == condition]
        if some:
            found[condition] = rate(
                np.array([r["nearest"] == r["asked"] for r in some]), *_columns(some), rng
            )
    return found


def _against_everybody(
    known: Array,
    who: NDArray[np.str_],
    faces: Array,
    frames_of: NDArray[np.str_],
    inside: Sequence[str],
    rng: np.random.Generator,
) -> tuple[dict[str, float], float]:
    """`trained_nearer` with embeddings that know everybody alike, and how often the frame's own person is the
    nearest.
    """
    everybody = Embedding(known, who)
    own = np.searchsorted(everybody.names, frames_of)
    similarity = np.zeros((len(faces), len(everybody.names)))
    for person in np.unique(frames_of):
        some, kept = frames_of == person, who != person
        others = Embedding(known[kept], who[kept])
        similarity[np.ix_(some, np.isin(everybody.names, others.names))] = others.similarity(faces[some])
    nearest = everybody.similarity(faces).argmax(1)
    return trained_nearer(similarity, own, np.isin(everybody.names, inside), rng), float(
        (nearest == own).mean()
    )


def _picks(
    rows: Sequence[Mapping[str, Any]], rng: np.random.Generator
) -> tuple[dict[str, dict[str, float]], dict[str, tuple[str, float]]]:
    alike, favourite = {}, {}
    for network in ("prior", "untrained"):
        some = [r for r in rows if r["condition"] == "random" and r["network"] == network]
        if not some:
            continue
        names, top = np.unique([r["nearest"] for r in some], return_inverse=True)
        alike[network] = picked_alike(top, *_columns(some), rng)
        favourite[network] = (str(names[np.bincount(top).argmax()]), float(np.bincount(top).max() / len(top)))
    return alike, favourite


def _smallest(
    embedding: Embedding,
    faces: Array,
    real: Array,
    bar: float,
    origin: Sequence[Face],
    rng: np.random.Generator,
) -> float | None:
    """The smallest share of real faces (m, D) of trained people, mixed into faces (n, D), that counts as a
    leak.
    """
    people, draws = _who(origin), np.array([str(f.draw) for f in origin])
    planted = real[rng.integers(len(real), size=len(faces))]
    for share in PLANTED:
        hits = embedding.similarity(unit((1 - share) * faces + share * planted)).max(1) >= bar
        if rate(hits, people, draws, rng).low > FALSE_ALARMS:
            return share
    return None


# ---- what is written ---------------------------------------------------------------------------------------


def summary(finding: Finding) -> str:
    """The finding as markdown."""
    r, n, (inside, outside) = finding.rates, finding.nearer, finding.people
    verdict = (
        "better than chance: the prior draws people it was trained on"
        if finding.leaks
        else "no better than chance"
    )
    said = {
        "filmed": "training people, later real frames",
        "own": "their own texture, their own frames",
        "transplant": "their own texture, other people's frames",
        "outsider": "never trained on, real frames",
        "random": "**random texture, other people's frames**",
        "flat": "flat texture, other people's frames",
        "mixture": "mixture of others' textures, other people's frames",
    }
    lines = [
        "# The prior alone",
        "",
        (
            f"Retrieval of any of {inside} training people from the generated lower face (random texture,"
            f" frames of {outside} other people): {r['random']}, chance {100 * FALSE_ALARMS:.0f} %:"
            f" {verdict}."
        ),
        "",
        (
            "| lower faces | number | retrieved, [95 %] | the one asked for is nearest (chance"
            f" {100 / inside:.1f} %) |"
        ),
        "|---|---|---|---|",
    ]
    lines += [f"| {said.get(c, c)} | {x.count} | {x} | {finding.top1.get(c, '')} |" for c, x in r.items()]
    noticed = (
        "none was noticed" if finding.smallest is None else f"{100 * finding.smallest:.0f} % would be noticed"
    )
    lines += [
        "",
        (
            f"- Retrieved: cosine of {finding.bar:.3f} or more, which {100 * FALSE_ALARMS:.0f} % of"
            " outsiders' real faces and of an untrained network's reach at most."
        ),
        f"- A training person's picture planted in the random-texture faces: {noticed}.",
        (
            f"- Nearest of all others is a trained person: {100 * n['top1']:.1f} %, chance"
            f" {100 * n['top1_chance']:.1f} % (p = {n['top1_p']:.3f}); a trained person is nearer than one"
            f" never trained on: {100 * n['auc']:.1f} %, chance 50 % (p = {n['auc_p']:.3f})."
        ),
        f"- The frame's own person, when in the gallery, is nearest: {100 * finding.own_nearest:.1f} %.",
    ]
    for network, x in finding.alike.items():
        name, share = finding.favourite[network]
        lines.append(
            f"- {network} network: one texture picks the same person in two speakers' frames"
            f" {100 * x['share']:.1f} %, exchanged textures {100 * x['chance']:.1f} % (p = {x['p']:.3f});"
            f" most often nearest: {name}, {100 * share:.1f} % (uniform {100 / inside:.1f} %)."
        )
    return "\n".join(lines) + "\n"


def write_finding(finding: Finding, folder: Path) -> None:
    """`privacy.csv`, a row for every face, `people.csv`, whom the random textures come nearest, and
    `privacy.md`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "privacy.csv") as temporary, temporary.open("w", newline="") as f:
        writer = csv.DictWriter(f, list(finding.rows[0]))
        writer.writeheader()
        writer.writerows(finding.rows)
    with atomic_path(folder / "people.csv") as temporary, temporary.open("w", newline="") as f:
        table = csv.writer(f)
        table.writerow(["network", "person", "share", "uniform"])
        for network in finding.favourite:
            near = [
                r["nearest"] for r in finding.rows if r["condition"] == "random" and r["network"] == network
            ]
            table.writerows(
                [network, p, round(near.count(p) / len(near), 4), round(1 / finding.people[0], 4)]
                for p in sorted({r["asked"] for r in finding.rows if r["condition"] == "filmed"})
            )
    write_text(folder / "privacy.md", summary(finding))


# ---- the command -------------------------------------------------------------------------------------------


def open_people(dataset: Dataset, config: GeneratorConfig) -> list[Person]:
    """Everybody with windows in both halves of their clips, sorted by split and name."""
    found = [
        Person(name, [dataset.open(c, config.view) for c in clips], split == "train")
        for split in ("train", "validation")
        for name, clips in dataset.people(split).items()
    ]
    return [
        p
        for p in found
        if later_starts(p, config.window, 1) and any(True for _ in filmed(p, False, config.window, 1))
    ]


def examine_prior(dataset: Path, prior: Path, output: Path, draws: int, seed: int) -> Finding:
    """The whole experiment; writes into `output`, pictures of people among them: keep those out of a
    repository.
    """
    loaded = load_prior(prior)
    torch.manual_seed(seed)
    untrained, trained = Generator(loaded.config), Generator(loaded.config)
    load_weights(loaded, trained)
    people, config = (
        open_people(Dataset(dataset), loaded.config),
        PriorConfig(generator=loaded.config, steps=1),
    )
    studio = Studio(people, config, drawing(trained), drawing(untrained), draws, seed)
    faces, pictures = [], []
    for face, picture in studio.shoot():
        if face.network == "prior" and face.draw in (0, 1, 2) and face.condition != "own":
            pictures.append((face.frames_of, face.start, as_picture(picture)))
        faces.append(face)
    finding = examine(people, faces, loaded.config.window, seed)
    write_finding(finding, output)
    _sheet(pictures, output / "privacy.png")
    return finding


def _sheet(pictures: Sequence[tuple[str, Start, NDArray[np.uint8]]], path: Path) -> None:
    """One row per speaker's first frame: random, flat, mixture, transplant."""
    rows: dict[str, list[NDArray[np.uint8]]] = {}
    for name, _, picture in pictures:
        rows.setdefault(name, []).append(picture)
    save_sheet(
        np.concatenate([np.concatenate(r[: min(map(len, rows.values()))], 1) for r in rows.values()]), path
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run from the command line; 1 where the prior draws people it was trained on."""
    parser = argparse.ArgumentParser(description="Does the prior alone draw anybody it was trained on?")
    parser.add_argument("--dataset", type=Path, required=True, help="packed dataset the prior was trained on")
    parser.add_argument("--prior", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder")
    parser.add_argument("--draws", type=int, default=10, help="random textures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(args)
    torch.set_num_threads(given.threads)
    finding = examine_prior(given.dataset, given.prior, given.output, given.draws, given.seed)
    print(summary(finding))
    return int(finding.leaks)


if __name__ == "__main__":
    run_main(main)

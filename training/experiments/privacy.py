"""Does the prior alone render anybody it was trained on? `python -m training.experiments.privacy --dataset D
--prior F -o DIR`

Faces. The network renders frames of validation speakers, who were not in its training, with textures of
nobody it was trained on: *random* (the paper's start), *flat* (grey, of the lowest confidence) and *mixture*
(random mixtures of the starting textures of the other validation speakers, which resemble a real texture
most). References are the speaker's own, the audio code is the null code.

Instrument. The rendered mask region is unwrapped into the texture layout, freed of smooth light (a cubic per
colour) and of contrast, and embedded by PCA and LDA, which are fitted to filmed frames of the first half of
each clip. A person is the mean of those. A face counts as *retrieved* where its cosine to the nearest
training person reaches a threshold. The threshold is such that at most `FALSE_ALARMS` of two kinds of faces
reach it, which is the chance level: filmed ones of outsiders (training people in turn, left out of embedding
and gallery), and those that an untrained network, which cannot know anybody, renders from the input of the
test. A top-1 rate would have no such level: somebody is always nearest, and there is no right answer. People
who were filmed twice under two names raise the threshold. The verdict is that of *random*; *flat* is a single
texture, whose faces are hardly more than one trial.

Controls, which show that a leak would be noticed: *filmed*, the second halves of training people's clips;
*own*, a training person's starting texture over later frames of that person; *transplant*, the same texture
over the validation speakers' frames, which is the test itself with a leak in it. Besides, a share of a
training person's picture is added to the faces under test until it is noticed. Colours of the surroundings,
carried inwards, make a face resemble the speaker of the frame; that is reported.

The verdict comes with: how often the nearest of all other people is a training person (tested by permuting
the labels over people), how unevenly the nearest person is distributed, and whether one texture gives the
same nearest person in different speakers' frames. The last two are also given for an untrained network,
because any network shows the same texture alike.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.core.config import GeneratorConfig, PriorConfig
from training.core.sheet import as_picture, save_sheet
from training.data.packed import Dataset
from training.data.segments import Start
from training.experiments.privacy_faces import Face, Person, Studio, drawing, filmed, later_starts
from training.experiments.privacy_statistics import (
    FALSE_ALARMS,
    FOLDS,
    Array,
    Embedding,
    Features,
    Rate,
    rate,
    same_nearest,
    threshold,
    trained_nearer,
    unit,
)
from training.experiments.study import run_main
from training.prior_file import load_prior, load_weights
from training.renderer.generator import Generator
from visualdub.errors import BadInput
from visualdub.storage import atomic_path, write_text

PLANTED = tuple(i / 20 for i in range(1, 21))  # shares of a training person's picture


# ---- the verdict -------------------------------------------------------------------------------------------


@dataclass
class Finding:
    """The results of the experiment on one prior."""

    rates: dict[str, Rate]  # retrieved as any training person, by condition
    top1: dict[str, Rate]  # nearest to the person of the texture, by control
    threshold: float  # cosine from which on a face is retrieved
    nearer: dict[str, float]  # see `trained_nearer`
    agreement: dict[str, dict[str, float]]  # see `same_nearest`, by network
    most_frequent: dict[
        str, tuple[str, float]
    ]  # the person who is nearest most often, and how often, by network
    # share of random-texture faces whose nearest person is the frame's own, who is in the gallery for this
    own_nearest: float
    noticed_share: (
        float | None
    )  # smallest share of a training person's picture that is noticed; None: none is
    people: tuple[int, int]  # numbers of training people and of others
    rows: list[dict[str, Any]]  # one for each face

    @property
    def leaks(self) -> bool:
        """Whether random textures retrieve training people more often than chance: the interval of their rate
        is above it.
        """
        return self.rates["random"].low > FALSE_ALARMS


def examine(people: Sequence[Person], faces: Sequence[Face], window: int, seed: int) -> Finding:
    """Compare rendered faces with filmed ones of all people, each of `window` frames.

    Raises `BadInput` where there are too few people.
    """
    inside = [p.name for p in people if p.trained]
    if len(inside) < FOLDS or len(people) - len(inside) < 2:
        raise BadInput(
            f"{len(inside)} training people and {len(people) - len(inside)} others; expected "
            f"{FOLDS} and 2 or more"
        )
    rng = np.random.default_rng(seed)
    early, late = ([f for p in people for f in filmed(p, half, window)] for half in (False, True))
    features = Features(np.stack([f.sums for f in early]))
    gallery, gallery_who = features(_sums(early)), _who(early)
    filmed_late, late_who = features(_sums(late)), _who(late)
    trained, trained_late = np.isin(gallery_who, inside), np.isin(late_who, inside)
    limit = threshold(
        gallery[trained], gallery_who[trained], filmed_late[trained_late], late_who[trained_late], rng
    )
    embedding = Embedding(gallery[trained], gallery_who[trained])
    untrained = [f for f in faces if f.network == "untrained"]
    if untrained:
        similarity = embedding.similarity(features(_sums(untrained))).max(1)
        limit = max(limit, float(np.quantile(similarity, 1 - FALSE_ALARMS)))
    compared = [*late, *faces]
    vectors = np.concatenate([filmed_late, features(_sums(faces))])
    rows = _rows(compared, embedding, vectors, limit)
    tests = [i for i, f in enumerate(compared) if (f.condition, f.network) == ("random", "prior")]
    tested = [compared[i] for i in tests]
    nearer, own_nearest = _among_everybody(gallery, gallery_who, vectors[tests], _who(tested), inside, rng)
    noticed = _noticed_share(embedding, vectors[tests], filmed_late[trained_late], limit, tested, rng)
    return Finding(
        _rates(rows, rng),
        _top1(rows, rng),
        limit,
        nearer,
        *_nearest_people(rows, rng),
        own_nearest,
        noticed,
        (len(inside), len(people) - len(inside)),
        rows,
    )


def _sums(faces: Sequence[Face]) -> NDArray[np.float32]:
    return np.stack([f.sums for f in faces])


def _who(faces: Sequence[Face]) -> NDArray[np.str_]:
    return np.array([f.frames_of for f in faces])


def _rows(faces: Sequence[Face], embedding: Embedding, vectors: Array, limit: float) -> list[dict[str, Any]]:
    """One row of the table for each face, whose vectors are (n, D)."""
    similarity = embedding.similarity(vectors)
    return [
        {
            "condition": f.condition,
            "network": f.network,
            "frames_of": f.frames_of,
            "clip": f.start[0],
            "frame": f.start[1],
            "texture": f.texture,
            "texture_of": f.texture_of,
            "nearest": str(embedding.names[s.argmax()]),
            "similarity": round(float(s.max()), 4),
            "retrieved": int(s.max() >= limit),
        }
        for f, s in zip(faces, similarity, strict=True)
    ]


def _columns(rows: Sequence[Mapping[str, Any]]) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """The person and the texture of each row, over which confidence intervals are taken."""
    people = np.array([r["frames_of"] for r in rows])
    return people, np.array([f"{r['texture_of']} {r['texture']}" for r in rows])


def _rates(rows: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> dict[str, Rate]:
    """The share of retrieved faces, by condition and network."""
    rates = {}
    for condition, network in sorted({(r["condition"], r["network"]) for r in rows}):
        some = [r for r in rows if (r["condition"], r["network"]) == (condition, network)]
        name = condition if network != "untrained" else f"{condition}, untrained network"
        rates[name] = rate(np.array([bool(r["retrieved"]) for r in some]), *_columns(some), rng)
    return rates


def _top1(rows: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> dict[str, Rate]:
    """The share of faces whose nearest person is that of the texture, by control."""
    rates = {}
    for condition in ("filmed", "own", "transplant"):
        some = [r for r in rows if r["condition"] == condition]
        if some:
            hits = np.array([r["nearest"] == r["texture_of"] for r in some])
            rates[condition] = rate(hits, *_columns(some), rng)
    return rates


def _among_everybody(
    gallery: Array,
    who: NDArray[np.str_],
    faces: Array,
    frames_of: NDArray[np.str_],
    inside: Sequence[str],
    rng: np.random.Generator,
) -> tuple[dict[str, float], float]:
    """`trained_nearer` with embeddings that are fitted to all people alike, and the share of faces whose
    nearest person is the frame's own.
    """
    everybody = Embedding(gallery, who)
    own = np.searchsorted(everybody.names, frames_of)
    similarity = np.zeros((len(faces), len(everybody.names)))
    for person in np.unique(frames_of):
        some, other = frames_of == person, who != person
        others = Embedding(gallery[other], who[other])
        similarity[np.ix_(some, np.isin(everybody.names, others.names))] = others.similarity(faces[some])
    nearest = everybody.similarity(faces).argmax(1)
    return trained_nearer(similarity, own, np.isin(everybody.names, inside), rng), float(
        (nearest == own).mean()
    )


def _nearest_people(
    rows: Sequence[Mapping[str, Any]], rng: np.random.Generator
) -> tuple[dict[str, dict[str, float]], dict[str, tuple[str, float]]]:
    """`same_nearest`, and the person who is nearest most often with that share, of the random textures by
    network.
    """
    agreement, most_frequent = {}, {}
    for network in ("prior", "untrained"):
        some = [r for r in rows if r["condition"] == "random" and r["network"] == network]
        if not some:
            continue
        names, top = np.unique([r["nearest"] for r in some], return_inverse=True)
        agreement[network] = same_nearest(top, *_columns(some), rng)
        counts = np.bincount(top)
        most_frequent[network] = (str(names[counts.argmax()]), float(counts.max() / len(top)))
    return agreement, most_frequent


def _noticed_share(
    embedding: Embedding,
    faces: Array,
    training_faces: Array,
    limit: float,
    origin: Sequence[Face],
    rng: np.random.Generator,
) -> float | None:
    """The smallest share of filmed faces (m, D) of training people, mixed into faces (n, D), that counts as a
    leak; None where none of `PLANTED` does.
    """
    people, textures = _who(origin), np.array([str(f.texture) for f in origin])
    planted = training_faces[rng.integers(len(training_faces), size=len(faces))]
    for share in PLANTED:
        hits = embedding.similarity(unit((1 - share) * faces + share * planted)).max(1) >= limit
        if rate(hits, people, textures, rng).low > FALSE_ALARMS:
            return share
    return None


# ---- what is written ---------------------------------------------------------------------------------------


def summary(finding: Finding) -> str:
    """The finding as Markdown."""
    r, n, (inside, outside) = finding.rates, finding.nearer, finding.people
    verdict = (
        "better than chance: the prior renders people it was trained on"
        if finding.leaks
        else "no better than chance"
    )
    labels = {
        "filmed": "training people, later filmed frames",
        "own": "their own texture, their own frames",
        "transplant": "their own texture, other people's frames",
        "outsider": "not trained on, filmed frames",
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
            "| lower faces | number | retrieved, [95 %] | person of the texture is nearest (chance"
            f" {100 / inside:.1f} %) |"
        ),
        "|---|---|---|---|",
    ]
    lines += [f"| {labels.get(c, c)} | {x.count} | {x} | {finding.top1.get(c, '')} |" for c, x in r.items()]
    share = finding.noticed_share
    noticed = "no share was noticed" if share is None else f"{100 * share:.0f} % would be noticed"
    lines += [
        "",
        (
            f"- Retrieved: cosine of {finding.threshold:.3f} or more, which {100 * FALSE_ALARMS:.0f} % of"
            " outsiders' filmed faces and of an untrained network's reach at most."
        ),
        f"- A training person's picture added to the random-texture faces: {noticed}.",
        (
            f"- The nearest of all other people is a training person: {100 * n['top1']:.1f} %, chance"
            f" {100 * n['top1_chance']:.1f} % (p = {n['top1_p']:.3f}); a training person is nearer than"
            f" another: {100 * n['auc']:.1f} %, chance 50 % (p = {n['auc_p']:.3f})."
        ),
        f"- The frame's own person, when in the gallery, is nearest: {100 * finding.own_nearest:.1f} %.",
    ]
    for network, x in finding.agreement.items():
        name, often = finding.most_frequent[network]
        lines.append(
            f"- {network} network: one texture gives the same nearest person in two speakers' frames"
            f" {100 * x['share']:.1f} %, exchanged textures {100 * x['chance']:.1f} % (p = {x['p']:.3f});"
            f" most often nearest: {name}, {100 * often:.1f} % (uniform {100 / inside:.1f} %)."
        )
    return "\n".join(lines) + "\n"


def write_finding(finding: Finding, folder: Path) -> None:
    """Write `privacy.csv`, a row for every face, `people.csv`, how often each person is nearest to the random
    textures, and `privacy.md`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "privacy.csv") as temporary, temporary.open("w", newline="") as f:
        writer = csv.DictWriter(f, list(finding.rows[0]))
        writer.writeheader()
        writer.writerows(finding.rows)
    with atomic_path(folder / "people.csv") as temporary, temporary.open("w", newline="") as f:
        table = csv.writer(f)
        table.writerow(["network", "person", "share", "uniform"])
        for network in finding.most_frequent:
            near = [
                r["nearest"] for r in finding.rows if r["condition"] == "random" and r["network"] == network
            ]
            table.writerows(
                [network, p, round(near.count(p) / len(near), 4), round(1 / finding.people[0], 4)]
                for p in sorted({r["texture_of"] for r in finding.rows if r["condition"] == "filmed"})
            )
    write_text(folder / "privacy.md", summary(finding))


# ---- the command -------------------------------------------------------------------------------------------


def open_people(dataset: Dataset, config: GeneratorConfig) -> list[Person]:
    """All people with windows in both halves of their clips, sorted by split and name."""
    people = [
        Person(name, [dataset.open(c, config.view_box) for c in clips], split == "train")
        for split in ("train", "validation")
        for name, clips in dataset.people(split).items()
    ]
    return [
        p
        for p in people
        if later_starts(p, config.window, 1) and any(True for _ in filmed(p, False, config.window, 1))
    ]


def examine_prior(dataset: Path, prior: Path, output: Path, draws: int, seed: int) -> Finding:
    """Carry out the experiment and write its files into `output`. Among them are pictures of people: keep
    those out of a repository.
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
    for face, picture in studio.faces():
        if face.network == "prior" and face.texture in (0, 1, 2) and face.condition != "own":
            pictures.append((face.frames_of, face.start, as_picture(picture)))
        faces.append(face)
    finding = examine(people, faces, loaded.config.window, seed)
    write_finding(finding, output)
    _sheet(pictures, output / "privacy.png")
    return finding


def _sheet(pictures: Sequence[tuple[str, Start, NDArray[np.uint8]]], path: Path) -> None:
    """Write a contact sheet with one row for the first frame of each speaker: random, flat, mixture,
    transplant.
    """
    rows: dict[str, list[NDArray[np.uint8]]] = {}
    for name, _, picture in pictures:
        rows.setdefault(name, []).append(picture)
    save_sheet(
        np.concatenate([np.concatenate(r[: min(map(len, rows.values()))], 1) for r in rows.values()]), path
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit status is 1 where the prior renders people it was trained on."""
    parser = argparse.ArgumentParser(description="Does the prior alone render anybody it was trained on?")
    parser.add_argument("--dataset", type=Path, required=True, help="packed dataset of the prior's training")
    parser.add_argument("--prior", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder")
    parser.add_argument("--draws", type=int, default=10, help="number of random textures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(args)
    torch.set_num_threads(given.threads)
    finding = examine_prior(given.dataset, given.prior, given.output, given.draws, given.seed)
    print(summary(finding))
    return int(finding.leaks)


if __name__ == "__main__":
    run_main(main)

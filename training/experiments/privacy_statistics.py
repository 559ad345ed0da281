"""Statistics of the privacy experiment: faces as vectors, retrieval of people, and significance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, rankdata

from training.experiments.privacy_faces import TEXELS
from visualdub.errors import BadInput

Array = NDArray[np.float64]

COVERED = 0.9  # share of the filmed faces that must show a texel for it to count
COMPONENTS = 100  # of the PCA
DISCRIMINANTS = 45  # of the LDA
SHRINKAGE = 0.1  # of the scatter within people, towards a sphere
FALSE_ALARMS = 0.1  # share of outsiders' filmed faces that are taken for a training person: the chance level
FOLDS = 6  # of the training people, to find the threshold
SHUFFLES = 4000  # permutations of a test
RESAMPLED = 1000  # resamples of a confidence interval

# ---- retrieval ---------------------------------------------------------------------------------------------


class Features:
    """Unwrapped faces as vectors of length 1, without smooth light, mean colour and contrast."""

    def __init__(self, sums: NDArray[np.float32]) -> None:
        """sums: (n, TEXELS ** 2, 4) of filmed faces; the texels that most of them show are compared.

        Raises `BadInput` where those are too few.
        """
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
        """Faces (n, TEXELS ** 2, 4) as vectors (n, D)."""
        covered = sums[:, self.region].astype(np.float64)
        colours = covered[..., :3] / np.maximum(covered[..., 3:], 1e-6)
        residual = colours - self.light @ (self.light.T @ colours)
        return unit(residual.reshape(len(residual), -1))


def unit(x: Array) -> Array:
    """Rows of x (n, D) scaled to length 1; rows of zeros stay."""
    scaled: Array = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return scaled


class Embedding:
    """PCA and LDA of labelled faces, and the mean of each person."""

    def __init__(self, faces: Array, who: NDArray[np.str_]) -> None:
        """faces: (n, D). who: (n,) the person in each."""
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
        embedded = self.embed(faces)
        self.people = unit(np.stack([embedded[who == n].mean(0) for n in self.names]))

    def embed(self, faces: Array) -> Array:
        """Vectors (n, D) to the embedding, (n, d) of length 1."""
        return unit((faces - self.mean) @ self.matrix)

    def similarity(self, faces: Array) -> Array:
        """(n, people) cosine of faces (n, D) to every person."""
        return self.embed(faces) @ self.people.T


def threshold(
    early: Array, who: NDArray[np.str_], later: Array, later_who: NDArray[np.str_], rng: np.random.Generator
) -> float:
    """The similarity that `FALSE_ALARMS` of the faces `later` (n, D) reach with other people.

    Each fold of people is compared with an embedding and a gallery of the `early` faces (m, D) of the others.
    """
    best: list[float] = []
    for fold in np.array_split(rng.permutation(np.unique(who)), FOLDS):
        others = ~np.isin(who, fold)
        embedding = Embedding(early[others], who[others])
        best += list(embedding.similarity(later[np.isin(later_who, fold)]).max(1))
    return float(np.quantile(best, 1 - FALSE_ALARMS))


# ---- significance ------------------------------------------------------------------------------------------


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
    hits: NDArray[np.bool_], people: NDArray[np.str_], textures: NDArray[np.str_], rng: np.random.Generator
) -> Rate:
    """The share of hits (n,). Its interval comes from resampling people (n,) and textures (n,) together, and
    is never narrower than that of so many independent trials as there are pairs of both.
    """
    p, d = (np.unique(x, return_inverse=True)[1] for x in (people, textures))
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
    """Whether training people are nearer to the faces than other people.

    similarity: (n, P) of the faces to all people. own: (n,) the person in the frame, who does not count.
    trained: (P,) whether a person is a training person. Returns `top1`, the share of faces whose nearest
    person is a training person, with its chance level `top1_chance`; `auc`, how often a training person is
    nearer than another, 0.5 = chance; and one-sided p-values `top1_p` and `auc_p` of permuting `trained`.
    """
    others = np.where(np.arange(len(trained)) == own[:, None], -np.inf, similarity)
    top = others.argmax(1)
    ranks = (rankdata(others, axis=1) - 2) / (
        len(trained) - 2
    )  # the frame's own person has the lowest rank and is not counted
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


def same_nearest(
    top: NDArray[np.int64], people: NDArray[np.str_], textures: NDArray[np.str_], rng: np.random.Generator
) -> dict[str, float]:
    """How often one texture gives the same nearest person `top` (n,) in the frames of two speakers.

    people, textures: (n,) of each face. Returns that `share`, and its `chance` level and p-value `p`, from
    exchanging the textures within each speaker.
    """
    alike, apart = top[:, None] == top, people[:, None] != people

    def agreement(d: NDArray[np.str_]) -> float:
        pairs = apart & (d[:, None] == d)
        return float(alike[pairs].mean()) if pairs.any() else 0.0

    null = []
    for _ in range(SHUFFLES // 10):
        exchanged = textures.copy()
        for person in np.unique(people):
            faces = np.flatnonzero(people == person)
            values = np.unique(textures[faces])
            exchanged[faces] = rng.permutation(values)[np.searchsorted(values, textures[faces])]
        null.append(agreement(exchanged))
    share = agreement(textures)
    return {
        "share": share,
        "chance": float(np.mean(null)),
        "p": (1 + sum(x >= share for x in null)) / (len(null) + 1),
    }

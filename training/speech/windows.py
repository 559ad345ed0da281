"""Batches for the speech network: random windows of clips, synthetic sentences, noise and music, heard a
little worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.speech.clips import SpeechClip, SyntheticSound, hear, unspoken_sounds
from visualdub.face.landmarks import INNER_LIP_PAIRS, LIPS
from visualdub.face.models import FaceModel
from visualdub.speech.features import FeatureKind

Array = NDArray[np.float32]


def lip_jacobian(model: FaceModel, clip: SpeechClip) -> NDArray[np.float64]:
    """(m, 3 L + 1) change of the lip vertices, and of the opening, by one unit of each parameter, over their
    own deviation.
    """
    count = len(clip.gain)
    points = np.repeat(clip.centre[None], count + 1, 0)
    points[1:] += np.diag(clip.gain) * 0.1
    expression = np.zeros((count + 1, model.n_expression))
    expression[:, : model.n_speech] = points[:, 1:]
    mesh = model.landmarks(model.vertices(clip.track.identity, points[:, 0], expression))
    lips = mesh[:, list(LIPS)].reshape(count + 1, -1)
    gap = mesh[:, [b for _, b in INNER_LIP_PAIRS], 1].mean(1) - mesh[
        :, [a for a, _ in INNER_LIP_PAIRS], 1
    ].mean(1)
    slopes = [(x[1:] - x[0]) / 0.1 for x in (lips, gap)]
    motion = clip.motion[clip.usable]
    lip_scale, gap_scale = np.sqrt((motion @ slopes[0]).var(0).sum()), (motion @ slopes[1]).std()
    return np.column_stack([slopes[0] / lip_scale, slopes[1] / gap_scale])


def lip_metric(jacobian: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m, m) R with |e R| = |change of the lip vertices| for an error e (m,): a smaller matrix than the
    vertices' own.
    """
    slopes = jacobian[:, :-1]
    return np.asarray(np.linalg.cholesky(slopes @ slopes.T + 1e-9 * np.eye(len(slopes))))


@dataclass(frozen=True)
class Mixture:
    """What a batch is made of."""

    clips: int  # windows of clips, noise and music
    synthetic: int  # of synthetic sentences in all languages
    english: int  # of synthetic English that teaches touching lips alone
    length: int  # steps of 20 ms of a window
    unspoken: float  # share of the first that is noise or music
    # share of the clips' windows heard otherwise than recorded: faster, in noise, in a room, through a narrow
    # line
    worse: float
    noise: float  # deviation of what is added to every feature of every step; half of it to a whole window
    masked: float  # share of the phones that a window does not hear


class Windows:
    """Random windows, augmented. All of one hearing lies on one 20 ms clock."""

    def __init__(
        self,
        clips: list[SpeechClip],
        model: FaceModel,
        kind: FeatureKind,
        mixture: Mixture,
        seed: int,
        synthetic: list[SyntheticSound],
    ) -> None:
        self.kind, self.mixture, self.random = kind, mixture, np.random.default_rng(seed)
        self.many, self.english = ([s for s in synthetic if s.taught is taught] for taught in (True, False))
        self.people = sorted({c.speaker for c in clips})
        self.person = [self.people.index(c.speaker) for c in clips]
        self.hearings = [[hear(c, sound) for sound in c.sounds] for c in clips]
        jacobians = [lip_jacobian(model, c) for c in clips]
        self.metric = [lip_metric(j).astype(np.float32) for j in jacobians]
        self.slope = [j[:, -1].astype(np.float32) for j in jacobians]
        self.generic_slope = np.mean(self.slope, 0)
        seconds = np.array([len(c.audio) for c in clips], float)
        self.chance = (
            seconds**0.7 / (seconds**0.7).sum()
        )  # long clips more often, but one speaker must not fill the batch
        self.unspoken = unspoken_sounds(seed, kind) if mixture.unspoken else ()

    def batch(self) -> dict[str, Tensor]:
        """One batch: features (N, T, width) of clips, then synthetic; of the clips' part motion (n, T, m),
        weight, voice, touch and heard (n, T), metric (n, m, m), slope (n, m), person (n,), which of `people`;
        of the synthetic part opening, contact, spoken and taught (N - n, T), 1 where contact and where
        opening is known; generic_slope (m,).
        """
        rows = [self._clip_row() for _ in range(self.mixture.clips)]
        found = {k: np.stack([r[k] for r in rows]) for k in rows[0]}
        said = [self._synthetic_row(self.many) for _ in range(self.mixture.synthetic if self.many else 0)]
        said += [
            self._synthetic_row(self.english) for _ in range(self.mixture.english if self.english else 0)
        ]
        if said:
            found["features"] = np.concatenate([found["features"], [r["features"] for r in said]])
            found |= {k: np.stack([r[k] for r in said]) for k in ("opening", "contact", "spoken", "taught")}
            found["generic_slope"] = self.generic_slope
        found["features"] = self._augment(found["features"])
        batch = {k: torch.from_numpy(np.asarray(v, np.float32)) for k, v in found.items()}
        return {**batch, "person": batch["person"].long()}

    def _clip_row(self) -> dict[str, Any]:
        i = int(self.random.choice(len(self.chance), p=self.chance))
        metric, slope = self.metric[i], self.slope[i]
        if self.random.random() < self.mixture.unspoken:
            sound = self.unspoken[int(self.random.integers(len(self.unspoken)))]
            still = np.zeros((len(sound.voice), len(slope)), np.float32)
            silent = {k: sound.voice for k in ("weight", "voice", "touch", "heard")}
            parts = {"features": sound.features, "motion": still, **silent}
        else:
            worse = self.random.random() < self.mixture.worse
            hearing = self.hearings[i][int(self.random.integers(len(self.hearings[i]))) if worse else 0]
            parts = {
                "features": hearing.features,
                "motion": hearing.motion,
                "weight": hearing.weight,
                "voice": hearing.voice,
                "touch": hearing.contact,
                "heard": np.full(len(hearing.voice), hearing.heard, np.float32),
            }
        return {**self._window(parts), "metric": metric, "slope": slope, "person": self.person[i]}

    def _synthetic_row(self, sounds: list[SyntheticSound]) -> dict[str, Any]:
        said = sounds[int(self.random.integers(len(sounds)))]
        spoken = np.ones(len(said.contact), np.float32)
        return self._window(
            {
                "features": said.features,
                "opening": said.opening,
                "contact": said.contact,
                "spoken": spoken,
                "taught": said.taught * spoken,
            }
        )

    def _window(self, parts: dict[str, Array]) -> dict[str, Array]:
        """The same random stretch of every part, silence and nothing outside."""
        length, total = self.mixture.length, len(parts["features"])
        first = int(self.random.integers(min(0, total - length), max(1, total - length + 1)))
        a, b = max(0, first), min(total, first + length)
        out = {}
        for name, values in parts.items():
            out[name] = np.full((length, *values.shape[1:]), -1.0 if name == "features" else 0.0, np.float32)
            out[name][a - first : b - first] = values[a:b]
        return out

    def _augment(self, heard: Array) -> Array:
        """Another microphone and a worse recogniser: features (N, T, width) with noise, each window with its
        own tint, and without some of the phones.
        """
        r, m = self.random, self.mixture
        tint = r.normal(0, m.noise / 2, (len(heard), 1, heard.shape[2]))
        found = heard + r.normal(0, m.noise, heard.shape) + tint
        if self.kind.phones:
            deaf = r.random((len(heard), 1, self.kind.phones)) < m.masked
            found[..., self.kind.bands : self.kind.bands + self.kind.phones] -= deaf * (
                found[..., self.kind.bands : self.kind.bands + self.kind.phones] + 0.5
            )
        return np.asarray(found, np.float32)

"""Batches for the speech network: random windows of clips, synthetic sentences, noise and music,
augmented.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.speech.clips import SpeechClip, SyntheticExample, encode_example, non_speech_variants
from visualdub.face.landmarks import INNER_LIP_PAIRS, LIPS
from visualdub.face.models import FaceModel
from visualdub.speech.features import FeatureKind

Array = NDArray[np.float32]


def lip_jacobian(model: FaceModel, clip: SpeechClip) -> NDArray[np.float64]:
    """(m, 3 L + 1) change of the lip vertices, and in the last column of the opening, with one unit of each
    parameter, relative to their standard deviation in the clip.
    """
    count = len(clip.scale)
    points = np.repeat(clip.mean[None], count + 1, 0)
    points[1:] += np.diag(clip.scale) * 0.1
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
    """(m, m) R with |e R| = |change of the lip vertices| for an error e (m,); a smaller matrix than that of
    the vertices.
    """
    slopes = jacobian[:, :-1]
    return np.asarray(np.linalg.cholesky(slopes @ slopes.T + 1e-9 * np.eye(len(slopes))))


@dataclass(frozen=True)
class Mixture:
    """The composition of a batch and the strength of its augmentation."""

    clips: int  # windows of clips, noise and music
    synthetic: int  # windows of synthetic sentences in all languages
    english: int  # windows of synthetic English, whose only target are touching lips
    length: int  # steps of 20 ms in a window
    non_speech: float  # share of the first that is noise or music
    # share of the clips' windows with a changed audio variant: faster, noisy, reverberant, band-limited
    degraded: float
    noise: float  # standard deviation of noise on every feature of every step; half of it on a whole window


class Windows:
    """Random windows, augmented. Everything in a training example lies on one clock of 20 ms."""

    def __init__(
        self,
        clips: list[SpeechClip],
        model: FaceModel,
        kind: FeatureKind,
        mixture: Mixture,
        seed: int,
        synthetic: list[SyntheticExample],
    ) -> None:
        """model: of the face. kind: of input features. synthetic: examples besides those of the clips."""
        self.mixture, self.random = mixture, np.random.default_rng(seed)
        self.languages, self.english = (
            [s for s in synthetic if s.opening_trained is trained] for trained in (True, False)
        )
        self.people = sorted({c.speaker for c in clips})
        self.person = [self.people.index(c.speaker) for c in clips]
        self.plain, self.changed = (
            [[encode_example(c, v) for v in c.variants if v.changed == side] for c in clips]
            for side in (False, True)
        )
        jacobians = [lip_jacobian(model, c) for c in clips]
        self.metric = [lip_metric(j).astype(np.float32) for j in jacobians]
        self.slope = [j[:, -1].astype(np.float32) for j in jacobians]
        self.generic_slope = np.mean(self.slope, 0)
        seconds = np.array([len(c.audio) for c in clips], float)
        # Long clips are chosen more often, but not so often that one speaker fills the batch.
        self.chance = seconds**0.7 / (seconds**0.7).sum()
        self.non_speech = non_speech_variants(seed, kind) if mixture.non_speech else ()

    def batch(self) -> dict[str, Tensor]:
        """One batch of N windows of T steps: n of clips, then the synthetic ones.

        features (N, T, width). Of the clips: motion (n, T, m), weight, voice, contact and contact_known (n,
        T), metric (n, m, m), slope (n, m), and person (n,), an index into `people`. Of the synthetic windows:
        synthetic_opening, synthetic_contact, opening_known and synthetic_known (N - n, T), the last two 1
        where opening and contact are targets; and generic_slope (m,).
        """
        rows = [self._clip_row() for _ in range(self.mixture.clips)]
        arrays = {k: np.stack([r[k] for r in rows]) for k in rows[0]}
        count = self.mixture.synthetic if self.languages else 0
        synthetic = [self._synthetic_row(self.languages) for _ in range(count)]
        count = self.mixture.english if self.english else 0
        synthetic += [self._synthetic_row(self.english) for _ in range(count)]
        if synthetic:
            inputs = [r.pop("features") for r in synthetic]
            arrays["features"] = np.concatenate([arrays["features"], inputs])
            arrays |= {k: np.stack([r[k] for r in synthetic]) for k in synthetic[0]}
            arrays["generic_slope"] = self.generic_slope
        arrays["features"] = self._augment(arrays["features"])
        batch = {k: torch.from_numpy(np.asarray(v, np.float32)) for k, v in arrays.items()}
        return {**batch, "person": batch["person"].long()}

    def _clip_row(self) -> dict[str, Any]:
        i = int(self.random.choice(len(self.chance), p=self.chance))
        metric, slope = self.metric[i], self.slope[i]
        if self.random.random() < self.mixture.non_speech:
            variant = self.non_speech[int(self.random.integers(len(self.non_speech)))]
            still = np.zeros((len(variant.voice), len(slope)), np.float32)
            silent = {k: variant.voice for k in ("weight", "voice", "contact", "contact_known")}
            parts = {"features": variant.features, "motion": still, **silent}
        else:
            degraded = self.random.random() < self.mixture.degraded and self.changed[i]
            choice = self.changed[i] if degraded else self.plain[i]
            example = choice[int(self.random.integers(len(choice)))]
            parts = {
                "features": example.features,
                "motion": example.motion,
                "weight": example.weight,
                "voice": example.voice,
                "contact": example.contact,
                "contact_known": np.full(len(example.voice), example.contact_known, np.float32),
            }
        return {**self._window(parts), "metric": metric, "slope": slope, "person": self.person[i]}

    def _synthetic_row(self, examples: list[SyntheticExample]) -> dict[str, Any]:
        example = examples[int(self.random.integers(len(examples)))]
        known = np.ones(len(example.contact), np.float32)
        return self._window(
            {
                "features": example.features,
                "synthetic_opening": example.opening,
                "synthetic_contact": example.contact,
                "synthetic_known": known,
                "opening_known": example.opening_trained * known,
            }
        )

    def _window(self, parts: dict[str, Array]) -> dict[str, Array]:
        """The same random stretch of every part; zeros outside."""
        length, total = self.mixture.length, len(parts["features"])
        first = int(self.random.integers(min(0, total - length), max(1, total - length + 1)))
        a, b = max(0, first), min(total, first + length)
        windows = {}
        for name, values in parts.items():
            windows[name] = np.zeros((length, *values.shape[1:]), np.float32)
            windows[name][a - first : b - first] = values[a:b]
        return windows

    def _augment(self, inputs: Array) -> Array:
        """Features (N, T, width) as of another microphone: with noise, and with a constant offset in each
        window.
        """
        r, m = self.random, self.mixture
        offset = r.normal(0, m.noise / 2, (len(inputs), 1, inputs.shape[2]))
        noise = r.standard_normal(inputs.shape, np.float32) * np.float32(m.noise)
        return np.asarray(inputs + noise + offset, np.float32)

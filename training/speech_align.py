"""How late each clip's picture is against its sound, found by networks that never saw its speaker; and how much they shrink."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from training.speech_data import SpeechClip, hear
from training.speech_model import SpeechNet
from visualdub.speech.voice import STEP_RATE

Array = NDArray[np.float64]
Train = Callable[[list[SpeechClip], int], SpeechNet]  # clips and seed -> network

FOLDS = 4
REACH = 0.28  # seconds an unknown offset may be
REACH_GIVEN = 0.08  # seconds a given offset may be wrong
LEAST = 0.25  # correlation of opening below which nothing was found


@dataclass(frozen=True)
class Aligned:
    """The clips with their offsets, those of unknown offset left out; and figures of the cross-fitted predictions."""

    clips: list[SpeechClip]
    skipped: list[str]  # files
    deviation: float  # of the predicted opening, units of the real one, of one network
    agreement: float  # correlation of the predictions of two networks

    def shrinkage(self, members: int) -> float:
        """Expected standard deviation of the mean of `members` networks' opening, over the real one's."""
        return float(self.deviation * np.sqrt(self.agreement + (1 - self.agreement) / members))


def predicted_opening(net: SpeechNet, clip: SpeechClip, slope: Array) -> Array:
    """(T,) opening at steps of 20 ms of the clip's own sound. slope: (m,) opening by one unit of each parameter."""
    with torch.no_grad():
        motion, _ = net(torch.from_numpy(hear(clip).features)[None])
    return np.asarray(motion[0].numpy().astype(np.float64) @ slope)


def at_times(opening: Array, times: Array) -> Array:
    """Values (T,) at steps of 20 ms, at `times` (n,) in seconds."""
    return np.interp(times * STEP_RATE, np.arange(len(opening)), opening)


def find_offset(clip: SpeechClip, opening: Array, slope: Array, reach: float) -> tuple[float, float]:
    """Offset in seconds, within `reach` of the clip's, where the track follows the predicted opening best; correlation there.

    A best fit at the end of the reach counts as none: correlation 0.
    """
    real = clip.motion @ slope
    candidates = clip.offset + np.arange(-reach, reach + 0.001, 0.01)
    scores = []
    for offset in candidates:
        times = clip.shifted(float(offset)).times()
        ok = clip.usable & (times >= 0) & (times * STEP_RATE <= len(opening) - 1)
        scores.append(np.corrcoef(real[ok], at_times(opening, times[ok]))[0, 1])
    smooth = np.convolve(np.pad(scores, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    best = int(np.argmax(smooth))
    inside = 0 < best < len(smooth) - 1  # a maximum at the end of the reach is none
    return float(candidates[best]), float(smooth[best]) if inside else 0.0


def folds_of(clips: list[SpeechClip]) -> list[list[SpeechClip]]:
    """The clips in FOLDS parts of about the same length, every speaker in one part."""
    speakers = {c.speaker: sum(len(k.audio) for k in clips if k.speaker == c.speaker) for c in clips}
    parts: list[list[str]] = [[] for _ in range(FOLDS)]
    for speaker in sorted(speakers, key=lambda s: (-speakers[s], s)):
        min(parts, key=lambda p: sum(speakers[s] for s in p)).append(speaker)
    return [[c for c in clips if c.speaker in part] for part in parts]


def align(clips: list[SpeechClip], slopes: dict[str, Array], train: Train, say: Callable[[str], None]) -> Aligned:
    """Two rounds over all folds: predict the clips of a fold by a network trained on the others, move their offsets.

    The first round trains on given offsets alone. Where the correlation is too low a given offset stands and a clip of
    unknown offset is left out. The mean of all offsets that were given, weighted by the clips' length, stays
    what it was: only differences between clips can be found, and long clips are estimated best.
    """
    known = {c.file for c in clips if c.offset_known}
    given = {c.file: c.offset for c in clips}
    current = {c.file: c for c in clips}
    predictions: dict[str, list[Array]] = {c.file: [] for c in clips}
    for turn in range(2):
        found = dict(current)
        accepted = set(known)
        for fold in folds_of(clips):
            held = {c.file for c in fold}
            net = train([current[f] for f in sorted(known - held)], turn)
            for file in sorted(held):
                predictions[file].append(predicted_opening(net, current[file], slopes[file]))
                start = current[file].shifted(given[file])
                reach = REACH_GIVEN if start.offset_known else REACH
                offset, score = find_offset(start, predictions[file][-1], slopes[file], reach)
                say(f"{file}: offset {1000 * given[file]:+.0f} ms {'given' if start.offset_known else 'unknown'}, "
                    f"found {1000 * offset:+.0f} ms at correlation {score:.2f}")
                if score >= LEAST:
                    found[file] = start.shifted(offset)
                    accepted.add(file)
        anchors = [f for f in given if current[f].offset_known]
        moved, seconds = [found[f].offset - given[f] for f in anchors], [len(found[f].audio) for f in anchors]
        drift = float(np.average(moved, weights=seconds))
        current = {f: (c.shifted(c.offset - drift) if f in accepted else c) for f, c in found.items()}
        known = accepted
    kept = [current[f] for f in sorted(known)]
    deviation, agreement = _shrinking(kept, predictions, slopes)
    return Aligned(kept, sorted(set(given) - known), deviation, agreement)


def _shrinking(clips: list[SpeechClip], predictions: dict[str, list[Array]], slopes: dict[str, Array]) -> tuple[float, float]:
    """Mean over clips of the predicted opening's deviation over the real one's, and of the correlation of the two rounds."""
    deviation, agreement = [], []
    for clip in clips:
        real = float((clip.motion @ slopes[clip.file])[clip.usable].std())
        shown = [at_times(p, clip.times())[clip.usable] for p in predictions[clip.file]]
        deviation += [float(s.std()) / real for s in shown]
        agreement.append(float(np.corrcoef(shown)[0, 1]))
    return float(np.mean(deviation)), float(np.mean(agreement))

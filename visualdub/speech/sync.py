"""The A/V offset of a clip: the lips that the speech model predicts from the audio, slid along the tracked.

Sign convention, everywhere in the project: an A/V offset is positive where audio leads video, that is where a
sound is played before the picture that belongs to it; it is negative where audio lags video.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from visualdub.arrays import padded_slice
from visualdub.errors import BadInput
from visualdub.face.landmarks import LIPS
from visualdub.face.models import FaceModel
from visualdub.face.track import Track
from visualdub.media.audio import read_audio
from visualdub.media.source import probe
from visualdub.speech.features import RATE, recording_level
from visualdub.speech.predict import predict_motion
from visualdub.speech.style import SpeechStyle, fit_style, speech_parameters

Array = NDArray[np.float64]

STEP_RATE = 100  # instants per second that are compared: offsets are tried in steps of 10 ms
REACH_SECONDS = 0.4  # offsets are tried this far either way
BAND_HZ = (1.0, 8.0)  # what lips do in speech; slower is expression, faster is noise of the tracker
MODES = 6  # directions of the lips' shape that are compared; they hold 94 to 98 % of its variance in the band
LEAST_SPEECH_SECONDS = 1.0  # of speech over a tracked mouth; with less nothing is estimated
FOUND_CONFIDENCE = 0.99  # from this confidence on an offset counts as found
TYPICAL_SPREAD = 0.5  # of the correlation of unrelated lips in one second of speech
# Gumbel distribution of the best score of unrelated recordings, by its median and its 99 %: 1458 pairs of 39
# clips had 1.42 and 3.94; their own audio had 4.00 or more. `benchmarks/sync.py` measures it on fewer pairs.
NULL_MODE, NULL_SCALE = 1.20, 0.595


@dataclass(frozen=True)
class Sync:
    """The A/V offset of a clip and what it rests on: k offsets tried at n instants, STEP_RATE a second."""

    av_offset_s: float  # seconds; positive: audio leads video. A guess unless `found`
    confidence: float  # 0..1: the share of unrelated recordings that would fit less well than this audio does
    correlation: float  # of predicted and tracked lips, at the offset
    speech_seconds: float  # of speech over a tracked mouth
    rate: Fraction  # frames per second of the clip
    offsets_s: Array  # (k,) the offsets that were tried, seconds
    correlations: Array  # (k,) the correlation at each of them
    times_s: Array  # (n,) the instants, seconds of the clip
    tracked_lips: Array  # (n,) the lips' main movement in the video, band-passed; 0 where no mouth is tracked
    predicted_lips: Array  # (n,) the same, predicted from the audio as it lies in the clip

    @property
    def found(self) -> bool:
        """Whether the offset can be relied on."""
        return self.confidence >= FOUND_CONFIDENCE

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a report, without the series."""
        return {
            "found": self.found,
            "offset_ms": round(1000 * self.av_offset_s),
            "offset_frames": round(self.av_offset_s * float(self.rate), 2),
            "rate": str(self.rate),
            "confidence": round(self.confidence, 4),
            "correlation": round(self.correlation, 3),
            "speech_seconds": round(self.speech_seconds, 2),
        }

    def summary(self) -> str:
        """One line: whether audio leads or lags video, by how much, and the confidence."""
        relation = "leads" if self.av_offset_s > 0 else "lags"
        frames = abs(self.av_offset_s) * float(self.rate)
        offset = f"audio {relation} video by {abs(1000 * self.av_offset_s):.0f} ms ({frames:.1f} frames)"
        if self.found:
            return f"{offset}, confidence {self.confidence:.3f}"
        return (
            f"A/V offset not found: confidence {self.confidence:.3f}, expected {FOUND_CONFIDENCE} or more "
            f"(best guess: {offset})"
        )


def clip_sync(clip: Path, track: Track) -> Sync:
    """The A/V offset of `clip` within the frames of `track`, which was made of it.

    Raises `AudioMissing` for a clip without audio, `BadInput` where the audio is silent or has too little
    speech.
    """
    times = probe(clip).frame_times()[track.start : track.frames.end_exclusive]
    return estimate_sync(track, times, read_audio(clip, RATE))


def trusted_offset(clip: Path, track: Track) -> tuple[float | None, str]:
    """The A/V offset in seconds, None where it cannot be found; and a line about it to show to the user.

    For those who pair the audio of a clip with its frames.
    """
    try:
        sync = clip_sync(clip, track)
    except BadInput as e:
        return None, f"{e}; audio and video are paired without an offset"
    if sync.found:
        return (
            sync.av_offset_s,
            f"{track.source}: {sync.summary()}; audio and video are paired with this offset",
        )
    return None, f"{track.source}: {sync.summary()}; audio and video are paired without an offset"


def estimate_sync(track: Track, times: Array, audio: NDArray[np.float32]) -> Sync:
    """The offset at which the lips that the speech model predicts from `audio` fit the tracked lips best.

    times: (n,) seconds of the audio at which the track's frames are shown, ascending. audio: (m,) mono at 16
    kHz, -1..1, played from time 0. The score of an offset is Fisher's z of the correlation over its standard
    deviation for unrelated series: the geometric mean of what these series have (`unrelated_spread`) and of
    what is typical of their length, because the first is a rough estimate in a few seconds, and too large for
    speech as regular as counting, which resembles itself in reverse.
    Raises `BadInput` where the audio is silent, no face is usable, or less than LEAST_SPEECH_SECONDS of
    speech lie over a tracked mouth.
    """
    if recording_level(audio) is None:
        raise BadInput(f"{track.source}: the audio is silent; expected speech")
    reach, count = round(REACH_SECONDS * STEP_RATE), int((times[-1] - times[0]) * STEP_RATE) + 1
    style, model = fit_style(track), track.model
    basis = lip_basis(track.identity, style, model)
    instants = times[0] + np.arange(count) / STEP_RATE
    tracked, is_tracked = _tracked_lips(track, times, instants, style, basis)
    start = instants[0] - REACH_SECONDS
    steps = count + 2 * reach
    piece = padded_slice(audio, round(start * RATE), steps * RATE // STEP_RATE)
    motion = predict_motion(piece, Fraction(STEP_RATE), steps)
    audio_times = start + np.arange(steps) / STEP_RATE
    has_audio = (audio_times >= 0) & (audio_times <= len(audio) / RATE)
    speech = is_tracked & (motion.speech_activity[reach : reach + count] == 1)
    speech_seconds = float(speech.sum() / STEP_RATE)
    if speech_seconds < LEAST_SPEECH_SECONDS:
        raise BadInput(
            f"{track.source}: {speech_seconds:.1f} s of speech over a tracked mouth; expected"
            f" {LEAST_SPEECH_SECONDS:g} s or more"
        )
    predicted = band_pass(np.column_stack([motion.jaw, motion.expression]) @ basis) * has_audio[:, None]
    curve = offset_correlations(tracked, predicted, is_tracked, has_audio)
    unshifted = predicted[reach : reach + count]
    typical = TYPICAL_SPREAD / np.sqrt(is_tracked.sum() / STEP_RATE)
    spread = float(np.sqrt(unrelated_spread(tracked, unshifted) * typical))
    score = np.arctanh(np.minimum(curve, 0.999)) / max(spread, 1e-9)
    best, top = peak(curve)
    inside = 0 < round(best) < 2 * reach  # the best fit at either end of the reach is no peak
    return Sync(
        av_offset_s=best / STEP_RATE - REACH_SECONDS,
        confidence=confidence_of(float(score.max())) if inside else 0.0,
        correlation=top,
        speech_seconds=speech_seconds,
        rate=track.rate,
        offsets_s=np.arange(-reach, reach + 1) / STEP_RATE,
        correlations=curve,
        times_s=instants,
        tracked_lips=tracked[:, 0],
        predicted_lips=unshifted[:, 0],
    )


def lip_basis(identity: Array, style: SpeechStyle, model: FaceModel) -> Array:
    """(m, MODES) how far one standard deviation of each speech parameter moves the lips, in model units.

    Each column is a direction of all lip vertices together. The directions are orthogonal, and the one that
    moves most comes first. identity: (V, 3) neutral mesh of the actor.
    """
    count, step = len(style.mean), 0.1
    points = np.repeat(np.array(style.mean)[None], count + 1, 0)
    points[1:] += np.diag(style.scale) * step
    expression = np.zeros((count + 1, model.n_expression))
    expression[:, : count - 1] = points[:, 1:]
    mesh = model.landmarks(model.vertices(identity, points[:, 0], expression))
    lips = mesh[:, list(LIPS)].reshape(count + 1, -1)
    change = (lips[1:] - lips[0]) / step
    directions = np.linalg.svd(change, full_matrices=False)[2][:MODES]
    return np.asarray(change @ directions.T)


def _tracked_lips(
    track: Track, times: Array, instants: Array, style: SpeechStyle, basis: Array
) -> tuple[Array, NDArray[np.bool_]]:
    """Tracked lips (n, MODES) at `instants`, band-passed, and where a mouth is tracked (n,); 0 elsewhere."""
    values = (speech_parameters(track, len(style.mean)) - np.array(style.mean)) / np.array(style.scale)
    usable = track.usable & np.isfinite(values).all(1)
    if not usable.any():
        raise BadInput(
            f"{track.source}: no usable face in frames {track.frames}; expected frames that show the mouth"
        )
    lips = values[usable] @ basis
    bridged = np.column_stack([np.interp(instants, times[usable], column) for column in lips.T])
    is_tracked = np.interp(instants, times, usable.astype(float)) > 0.99
    return band_pass(bridged) * is_tracked[:, None], is_tracked


def band_pass(values: Array) -> Array:
    """Columns of `values` (n, k), STEP_RATE rows a second, filtered to BAND_HZ without delay."""
    sections = butter(2, BAND_HZ, "bandpass", fs=STEP_RATE, output="sos")
    return np.asarray(sosfiltfilt(sections, values, axis=0, padlen=min(len(values) - 1, STEP_RATE)))


def offset_correlations(
    tracked: Array, predicted: Array, is_tracked: NDArray[np.bool_], has_audio: NDArray[np.bool_]
) -> Array:
    """(2 r + 1,) correlation of `tracked` (n, k) with `predicted` (n + 2 r, k) at offsets of -r .. r steps.

    Row i of `tracked` is the same instant as row i + r of `predicted`; at a positive offset it is compared
    with an earlier row. is_tracked (n,) and has_audio (n + 2 r,) say which rows count; the others must be 0.
    """
    count = len(tracked)
    tracked_energy, predicted_energy = (tracked**2).sum(1), (predicted**2).sum(1)
    curve = []
    for start in range(len(predicted) - count, -1, -1):
        part = slice(start, start + count)
        energy = (tracked_energy @ has_audio[part]) * (predicted_energy[part] @ is_tracked)
        product = np.einsum("ij,ij", tracked, predicted[part])
        curve.append(product / np.sqrt(energy) if energy > 0 else 0.0)
    return np.array(curve)


def unrelated_spread(tracked: Array, predicted: Array) -> float:
    """Standard deviation of the correlation of `tracked` (n, k) with an unrelated `predicted` (n, k).

    It is measured over all circular shifts of `predicted` in reverse order.
    """
    products = np.zeros(len(tracked) // 2 + 1, np.complex128)
    for a, b in zip(tracked.T, predicted[::-1].T, strict=True):
        products += np.fft.rfft(a) * np.conj(np.fft.rfft(b))
    energy = float((tracked**2).sum() * (predicted**2).sum())
    return float(np.fft.irfft(products, len(tracked)).std() / np.sqrt(energy)) if energy > 0 else 0.0


def peak(curve: Array) -> tuple[float, float]:
    """Position and height of the peak of `curve` (k,): of the parabola through its largest value and the
    neighbours of that.
    """
    i = int(np.argmax(curve))
    if not 0 < i < len(curve) - 1:
        return float(i), float(curve[i])
    left, top, right = curve[i - 1 : i + 2]
    bend = left - 2 * top + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return i + float(shift), float(top - 0.25 * (left - right) * shift)


def confidence_of(score: float) -> float:
    """Share of unrelated recordings whose best score within the reach is lower than `score`, 0..1."""
    return float(np.exp(-np.exp(-(score - NULL_MODE) / NULL_SCALE)))


def shifted_sound(audio: NDArray[np.float32], av_offset_s: float, rate: int) -> NDArray[np.float32]:
    """`audio` (m,) at `rate` samples/s with its A/V offset removed, so that sample 0 belongs to frame 0.

    Where audio leads video, silence is put in front of it; where audio lags video, its start is cut off.
    """
    shift = round(av_offset_s * rate)
    return np.concatenate([np.zeros(shift, np.float32), audio]) if shift > 0 else audio[-shift:]

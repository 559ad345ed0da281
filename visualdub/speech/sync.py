"""How late a clip's picture is against its sound: the lips that the speech model hears slid along the lips
that were tracked.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

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

CLOCK = 100  # comparisons per second: offsets are tried in steps of 10 ms
REACH = 0.4  # seconds either way that are tried
BAND_HZ = (1.0, 8.0)  # what lips do in speech; slower is mood, faster is noise of the tracker
MODES = 6  # directions of the lips' shape that are compared; they hold 94 to 98 % of its variance in the band
LEAST_SPEECH = 1.0  # seconds of speech over a tracked mouth without which nothing is estimated
FOUND = 0.99  # confidence from which an offset is taken for found
# Gumbel distribution of the best score of other people's sound: 1904 pairs of 40 clips had mean 1.76,
# deviation 0.65, 99 % below
# 3.65 (this: 3.77). `benchmarks/sync.py` measures it again on fewer.
NULL_MODE, NULL_SCALE = 1.47, 0.50


@dataclass(frozen=True)
class Sync:
    """Picture against sound. k offsets tried, n instants CLOCK times a second."""

    offset: float  # seconds the picture is late; negative: early. A guess unless `found`
    confidence: (
        float  # 0..1: the share of recordings of somebody else that would fit less well than this sound does
    )
    correlation: float  # of the lips seen and heard, at the offset
    speech_seconds: float  # of speech over a tracked mouth
    rate: Fraction  # frames per second of the clip
    tried: Array  # (k,) offsets in seconds
    curve: Array  # (k,) correlation at each
    times: Array  # (n,) seconds of the clip
    seen: Array  # (n,) the lips' chief movement in the picture, band-passed, 0 where no mouth is tracked
    heard: Array  # (n,) the same, of the sound as it lies in the clip

    @property
    def found(self) -> bool:
        """Whether the offset can be relied on."""
        return self.confidence >= FOUND

    def as_dict(self) -> dict[str, Any]:
        """Plain values, the curves left out."""
        return {
            "found": self.found,
            "offset_ms": round(1000 * self.offset),
            "frames": round(self.offset * float(self.rate), 2),
            "confidence": round(self.confidence, 4),
            "correlation": round(self.correlation, 3),
            "speech_seconds": round(self.speech_seconds, 2),
        }

    def summary(self) -> str:
        """One line: offset, which is late, confidence."""
        size = f"{abs(1000 * self.offset):.0f} ms ({abs(self.offset) * float(self.rate):.1f} frames)"
        late = (
            "the picture is late against the sound"
            if self.offset > 0
            else "the sound is late against the picture"
        )
        if self.found:
            return f"{late} by {size}, confidence {self.confidence:.3f}"
        return (
            f"offset not found: confidence {self.confidence:.3f}, expected {FOUND} or more "
            f"(best guess: {late} by {size})"
        )


def clip_sync(clip: Path, track: Track) -> Sync:
    """The offset of a clip within the frames of `track`, which was made of it.

    Raises `AudioMissing` without sound, `BadInput` where the sound is silent or holds too little speech.
    """
    times = probe(clip).frame_times()[track.start : track.frames.end_exclusive]
    return estimate_sync(track, times, read_audio(clip, RATE))


def trusted_offset(clip: Path, track: Track) -> tuple[float | None, str]:
    """Seconds the picture is late, None where that cannot be found; and a line about it, for who pairs sound
    with pictures.
    """
    try:
        sync = clip_sync(clip, track)
    except BadInput as e:
        return None, f"{e}; sound and picture are paired as they are"
    if sync.found:
        return sync.offset, f"{track.source}: {sync.summary()}; sound and picture are paired so"
    return None, f"{track.source}: {sync.summary()}; sound and picture are paired as they are"


def estimate_sync(track: Track, times: Array, audio: NDArray[np.float32]) -> Sync:
    """The offset at which the lips that `audio` makes the speech model draw follow the tracked lips best.

    times: (n,) seconds of the sound at which the track's frames are shown, ascending. audio: (m,) mono at 16
    kHz, -1..1, heard from time 0. The score of an offset is Fisher's z of the correlation over its standard
    deviation where nothing fits: that of the same sound backwards, at every shift. Raises `BadInput` where
    the sound is silent or under LEAST_SPEECH of speech lies over a tracked mouth.
    """
    if recording_level(audio) is None:
        raise BadInput(f"{track.source}: the sound is silent; expected speech")
    reach, count = round(REACH * CLOCK), int((times[-1] - times[0]) * CLOCK) + 1
    style, model = fit_style(track), track.model
    basis = lip_basis(track.identity, style, model)
    clock = times[0] + np.arange(count) / CLOCK
    seen, known = _seen(track, times, clock, style, basis)
    first = clock[0] - REACH
    motion = predict_motion(_piece(audio, first, count + 2 * reach), Fraction(CLOCK), count + 2 * reach)
    heard_at = first + np.arange(count + 2 * reach) / CLOCK
    audible = (heard_at >= 0) & (heard_at <= len(audio) / RATE)
    speech = float((known & (motion.voice[reach : reach + count] == 1)).sum() / CLOCK)
    if speech < LEAST_SPEECH:
        raise BadInput(
            f"{track.source}: {speech:.1f} s of speech over a tracked mouth; expected {LEAST_SPEECH:g} s or"
            " more"
        )
    heard = band_pass(np.column_stack([motion.jaw, motion.expression]) @ basis) * audible[:, None]
    curve = correlations(seen, heard, known, audible)
    middle = heard[reach : reach + count]
    score = np.arctanh(np.minimum(curve, 0.999)) / max(unrelated_spread(seen, middle), 1e-9)
    best, top = peak(curve)
    inside = 0 < round(best) < 2 * reach  # a best fit at the end of the reach is none
    tried = np.arange(-reach, reach + 1) / CLOCK
    return Sync(
        best / CLOCK - REACH,
        confidence_of(float(score.max())) if inside else 0.0,
        top,
        speech,
        track.rate,
        tried,
        curve,
        clock,
        seen[:, 0],
        middle[:, 0],
    )


def lip_basis(identity: Array, style: SpeechStyle, model: FaceModel) -> Array:
    """(m, MODES) what one deviation of each speech parameter does to the chief directions of this actor's
    lips, model units.

    identity: (V, 3) neutral mesh. The directions are orthogonal, the one that moves most first.
    """
    count, step = len(style.centre), 0.1
    points = np.repeat(np.array(style.centre)[None], count + 1, 0)
    points[1:] += np.diag(style.gain) * step
    expression = np.zeros((count + 1, model.n_expression))
    expression[:, : count - 1] = points[:, 1:]
    mesh = model.landmarks(model.vertices(identity, points[:, 0], expression))
    lips = mesh[:, list(LIPS)].reshape(count + 1, -1)
    change = (lips[1:] - lips[0]) / step
    directions = np.linalg.svd(change, full_matrices=False)[2][:MODES]
    return np.asarray(change @ directions.T)


def _seen(
    track: Track, times: Array, clock: Array, style: SpeechStyle, basis: Array
) -> tuple[Array, NDArray[np.bool_]]:
    """Tracked lips (n, MODES) at `clock`, band-passed, 0 where no mouth is tracked; and where one is (n,)."""
    values = (speech_parameters(track, len(style.centre)) - np.array(style.centre)) / np.array(style.gain)
    usable = track.usable & np.isfinite(values).all(1)
    if not usable.any():
        raise BadInput(
            f"{track.source}: no usable face in frames {track.frames}; expected frames that show the mouth"
        )
    lips = values[usable] @ basis
    bridged = np.column_stack([np.interp(clock, times[usable], column) for column in lips.T])
    known = np.interp(clock, times, usable.astype(float)) > 0.99
    return band_pass(bridged) * known[:, None], known


def _piece(audio: NDArray[np.float32], first: float, steps: int) -> NDArray[np.float32]:
    """`steps` / CLOCK seconds of `audio` from `first` seconds on, silence outside it."""
    start, length = round(first * RATE), steps * RATE // CLOCK
    piece = np.zeros(length, np.float32)
    a, b = max(start, 0), min(start + length, len(audio))
    if b > a:
        piece[a - start : b - start] = audio[a:b]
    return piece


def band_pass(values: Array) -> Array:
    """Columns of `values` (n, k), CLOCK rows a second, between BAND_HZ; nothing is delayed."""
    sections = butter(2, BAND_HZ, "bandpass", fs=CLOCK, output="sos")
    return np.asarray(sosfiltfilt(sections, values, axis=0, padlen=min(len(values) - 1, CLOCK)))


def correlations(seen: Array, heard: Array, known: NDArray[np.bool_], audible: NDArray[np.bool_]) -> Array:
    """(2 r + 1,) correlation of `seen` (n, k) with `heard` (n + 2 r, k) when the picture is -r .. r steps
    late.

    Step i of `seen` is the instant of step i + r of `heard`. known (n,) and audible (n + 2 r,) say which rows
    count; the others are 0 already.
    """
    count = len(seen)
    energy_seen, energy_heard = (seen**2).sum(1), (heard**2).sum(1)
    found = []
    for start in range(len(heard) - count, -1, -1):  # the later the picture, the earlier the sound it shows
        part = slice(start, start + count)
        energy = (energy_seen @ audible[part]) * (energy_heard[part] @ known)
        found.append(np.einsum("ij,ij", seen, heard[part]) / np.sqrt(energy) if energy > 0 else 0.0)
    return np.array(found)


def unrelated_spread(seen: Array, heard: Array) -> float:
    """Standard deviation of the correlation of `seen` with `heard` backwards, both (n, k), over all circular
    shifts.
    """
    products = np.zeros(len(seen) // 2 + 1, np.complex128)
    for a, b in zip(seen.T, heard[::-1].T, strict=True):
        products += np.fft.rfft(a) * np.conj(np.fft.rfft(b))
    energy = float((seen**2).sum() * (heard**2).sum())
    return float(np.fft.irfft(products, len(seen)).std() / np.sqrt(energy)) if energy > 0 else 0.0


def peak(curve: Array) -> tuple[float, float]:
    """Position and height of the largest value, by the parabola through it and its neighbours."""
    i = int(np.argmax(curve))
    if not 0 < i < len(curve) - 1:
        return float(i), float(curve[i])
    left, top, right = curve[i - 1 : i + 2]
    bend = left - 2 * top + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return i + float(shift), float(top - 0.25 * (left - right) * shift)


def confidence_of(score: float) -> float:
    """Share of unrelated recordings whose best score within the reach is lower, 0..1."""
    return float(np.exp(-np.exp(-(score - NULL_MODE) / NULL_SCALE)))


def shifted_sound(audio: NDArray[np.float32], offset: float, rate: int) -> NDArray[np.float32]:
    """The sound (m,) moved to where the pictures show it: led in by silence where they are late, cut where
    they are early.

    offset: seconds the picture is late.
    """
    shift = round(offset * rate)
    return np.concatenate([np.zeros(shift, np.float32), audio]) if shift > 0 else audio[-shift:]

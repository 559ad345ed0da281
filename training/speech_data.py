"""Clips for the speech model: the sound and the tracked mouth of one clip on one clock, and other ways it might have sounded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.face.model import FaceModel
from visualdub.face.track import Track
from visualdub.media.audio import read_audio
from visualdub.speech import features
from visualdub.speech.moving import mouth_moving
from visualdub.speech.style import rest_of, speech_parameters, spoken_statistics
from visualdub.speech.voice import STEP_RATE

SPEEDS = (0.88, 1.0, 1.12)  # a clip is also heard slower and deeper, faster and higher, its mouth moving as fast


@dataclass(frozen=True)
class SpeechClip:
    """One clip. n frames, m = 1 + n_speech parameters."""

    file: str
    speaker: str
    rate: Fraction
    offset: float  # seconds the picture is late against the sound
    offset_known: bool  # given with the clips, not found by us
    audio: NDArray[np.float32]  # 16 kHz
    track: Track
    values: NDArray[np.float64]  # (n, m) jaw and speech components
    usable: NDArray[np.bool_]  # (n,)
    centre: NDArray[np.float64]  # (m,) mean while the mouth moves
    gain: NDArray[np.float64]  # (m,) standard deviation while the mouth moves
    lift: NDArray[np.float64]  # (m,) centre minus rest

    @property
    def motion(self) -> NDArray[np.float64]:
        """(n, m) in units of the actor, as the model gives it."""
        return (self.values - self.centre) / self.gain

    def times(self) -> NDArray[np.float64]:
        """(n,) seconds of the sound that each frame shows."""
        return np.arange(len(self.values)) / float(self.rate) - self.offset

    def aligned_audio(self) -> NDArray[np.float32]:
        """The sound cut or led in by silence so that sample 0 is what frame 0 shows."""
        shift = round(self.offset * features.RATE)
        return np.concatenate([np.zeros(shift, np.float32), self.audio]) if shift > 0 else self.audio[-shift:]

    def shifted(self, offset: float) -> SpeechClip:
        """The same clip with another offset, in seconds."""
        return replace(self, offset=offset)


@dataclass(frozen=True)
class Hearing:
    """A clip as heard once, T steps of 20 ms."""

    features: NDArray[np.float32]  # (T, WIDTH)
    motion: NDArray[np.float32]  # (T, m) units of the actor
    weight: NDArray[np.float32]  # (T,) 1 where the mouth is known
    voice: NDArray[np.float32]  # (T,) 1 where somebody speaks


def hear(clip: SpeechClip, speed: float = 1.0, noise: NDArray[np.float32] | None = None) -> Hearing:
    """The clip played `speed` times as fast (pitch and formants with it), with `noise` (samples, at least as many) added."""
    audio = np.interp(np.arange(0, len(clip.audio) - 1, speed), np.arange(len(clip.audio)), clip.audio).astype(np.float32)
    heard = audio if noise is None else audio + noise[:len(audio)]
    level = features.recording_level(heard)
    if level is None:
        raise ValueError(f"{clip.file} is silent; expected speech")
    count = features.feature_count(len(audio))
    steps, times = np.arange(count) / STEP_RATE, clip.times() / speed
    seen = np.where(clip.usable[:, None], clip.motion, 0.0)
    motion = np.stack([np.interp(steps, times, column) for column in seen.T], 1)
    weight = np.interp(steps, times, clip.usable.astype(float), left=0.0, right=0.0) >= 0.999
    sound = features.speech_features(heard, level, 0, count)
    return Hearing(sound, motion.astype(np.float32), weight.astype(np.float32), spoken_steps(audio))


def spoken_steps(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """(steps,) 1 where a clean recording is loud enough to be speech: 30 dB below its loud parts, 8 dB above its quiet ones."""
    power = np.exp(features.log_mel(audio, 0, features.feature_count(len(audio)))).sum(1)
    smooth = np.convolve(power, np.ones(3) / 3, "same")
    decibel = 10 * np.log10(smooth + 1e-12)
    quiet, loud = np.percentile(decibel, [3, 95])
    return np.asarray(decibel > max(loud - 30, min(quiet + 8, loud - 12)), np.float32)


def load_clips(folder: Path, tracker: Callable[[Path], Track], model: FaceModel) -> list[SpeechClip]:
    """Every clip of `folder`/clips.json whose sound is its own."""
    listed = json.loads((folder / "clips.json").read_text())
    return [load_clip(folder, c, tracker(folder / c["file"]), model) for c in listed if c["speech"] == "original"]


def load_clip(folder: Path, entry: dict[str, Any], track: Track, model: FaceModel) -> SpeechClip:
    """One clip, `entry` being its row in clips.json."""
    values = speech_parameters(track, 1 + model.n_speech)
    usable = track.usable & np.isfinite(values).all(1)
    moving = usable & mouth_moving(track)
    centre, gain = spoken_statistics(values, moving if moving.sum() > 25 else usable)
    given = entry["av_offset_ms"]
    return SpeechClip(
        entry["file"], entry["speaker"], track.rate, 0.0 if given is None else float(given) / 1000, given is not None,
        read_audio(folder / entry["file"]), track, values, usable, centre, gain, centre - rest_of(values[usable]))

"""Clips for the speech model: the sound and the tracked mouth of one clip on one clock, and other ways it might have sounded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from visualdub.errors import BadInput
from visualdub.face.model import FaceModel
from visualdub.face.track import Track
from visualdub.media.audio import read_audio
from visualdub.speech import features
from visualdub.speech.features import FeatureKind
from visualdub.speech.moving import mouth_moving, tracked_opening
from visualdub.speech.style import rest_of, speech_parameters, spoken_statistics
from visualdub.speech.voice import STEP_RATE

SPEEDS = (0.88, 1.0, 1.12)  # a clip is also heard slower and deeper, faster and higher, its mouth moving as fast


@dataclass(frozen=True)
class Sound:
    """A recording as the model hears it, T steps of 20 ms."""

    speed: float  # times as fast as it was spoken
    features: NDArray[np.float32]  # (T, width)
    voice: NDArray[np.float32]  # (T,) 1 where somebody speaks


@dataclass(frozen=True)
class SpeechClip:
    """One clip. n frames, m = 1 + n_speech parameters."""

    file: str
    speaker: str
    rate: Fraction
    offset: float  # seconds the picture is late against the sound
    offset_known: bool  # given with the clips, not found by us
    audio: NDArray[np.float32]  # 16 kHz
    sounds: tuple[Sound, ...]  # the recording as it is, then other ways it might have sounded
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

    features: NDArray[np.float32]  # (T, width)
    motion: NDArray[np.float32]  # (T, m) units of the actor
    weight: NDArray[np.float32]  # (T,) 1 where the mouth is known
    voice: NDArray[np.float32]  # (T,) 1 where somebody speaks


def hear(clip: SpeechClip, sound: Sound | None = None) -> Hearing:
    """The clip with one of its sounds, by default the plain one, and the mouth moving as fast."""
    sound = sound or clip.sounds[0]
    steps, times = np.arange(len(sound.voice)) / STEP_RATE, clip.times() / sound.speed
    seen = np.where(clip.usable[:, None], clip.motion, 0.0)
    motion = np.stack([np.interp(steps, times, column) for column in seen.T], 1)
    weight = np.interp(steps, times, clip.usable.astype(float), left=0.0, right=0.0) >= 0.999
    return Hearing(sound.features, motion.astype(np.float32), weight.astype(np.float32), sound.voice)


def plain_sound(audio: NDArray[np.float32], kind: FeatureKind, speed: float = 1.0,
                noise: NDArray[np.float32] | None = None) -> Sound:
    """A recording played `speed` times as fast, pitch and formants with it, with `noise` (as many samples at least) added.

    Half a second of digital silence follows. Raises `BadInput` for a recording that is silent altogether.
    """
    fast = np.interp(np.arange(0, len(audio) - 1, speed), np.arange(len(audio)), audio).astype(np.float32)
    heard = fast if noise is None else fast + noise[:len(fast)]
    level = kind.level(heard)
    if level is None:
        raise BadInput("a recording to train on is silent; expected speech")
    count = features.feature_count(len(fast)) + STEP_RATE // 2
    voice = np.zeros(count, np.float32)
    voice[:-(STEP_RATE // 2)] = spoken_steps(fast)
    return Sound(speed, kind.features(heard, level, 0, count), voice)


def sounds_of(audio: NDArray[np.float32], kind: FeatureKind, random: np.random.Generator) -> tuple[Sound, ...]:
    """A recording as it is; and at every speed, clean and with noise of a random colour 5 to 30 dB below the speech."""
    sounds = [plain_sound(audio, kind)]
    for speed in SPEEDS:
        below = 10 ** (-random.uniform(5, 30) / 20)
        noise = (coloured_noise(round(len(audio) / speed) + 1, random) * below * audio.std()).astype(np.float32)
        sounds += [plain_sound(audio, kind, speed)] * (speed != 1.0) + [plain_sound(audio, kind, speed, noise)]
    return tuple(sounds)


def coloured_noise(count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """(count,) noise of unit deviation whose power falls with frequency by 0 to 9 dB an octave."""
    size = next_fast_len(count, real=True)
    spectrum = np.fft.rfft(random.normal(size=size))
    spectrum /= np.maximum(np.arange(len(spectrum)) * features.RATE / size, 50) ** random.uniform(0, 1.5)
    noise = np.fft.irfft(spectrum, size)[:count]
    return np.asarray(noise / noise.std())


@cache
def unspoken_sounds(seed: int, kind: FeatureKind) -> tuple[Sound, ...]:
    """Eight seconds each of what is not speech: noises, hums, and chords that come and go."""
    random = np.random.default_rng(seed)
    count, sounds = 8 * features.RATE, []
    time = np.arange(count) / features.RATE
    for i in range(24):
        audio = coloured_noise(count, random) * 0.05
        if i % 2:
            base = random.uniform(50, 400)
            partials = sum(random.uniform(0, 1) * np.sin(2 * np.pi * base * k * time) for k in range(1, 12))
            swell = 1.0 if i % 4 == 1 else np.abs(np.sin(2 * np.pi * random.uniform(0.3, 2.5) * time))
            audio = audio * 0.1 + 0.1 * partials * swell
        sound = plain_sound(audio.astype(np.float32), kind)
        sounds.append(Sound(1.0, sound.features, np.zeros_like(sound.voice)))
    return tuple(sounds)


def spoken_steps(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """(steps,) 1 where a clean recording is loud enough to be speech: 30 dB below its loud parts, 8 dB above its quiet ones."""
    power = np.exp(features.log_mel(audio, 0, features.feature_count(len(audio)))).sum(1)
    smooth = np.convolve(power, np.ones(3) / 3, "same")
    decibel = 10 * np.log10(smooth + 1e-12)
    quiet, loud = np.percentile(decibel, [3, 95])
    return np.asarray(decibel > max(loud - 30, min(quiet + 8, loud - 12)), np.float32)


def load_clips(folder: Path, tracker: Callable[[Path], Track], model: FaceModel, kind: FeatureKind) -> list[SpeechClip]:
    """Every clip of `folder`/clips.json whose sound is its own."""
    listed = json.loads((folder / "clips.json").read_text())
    return [load_clip(folder, c, tracker(folder / c["file"]), model, kind) for c in listed if c["speech"] == "original"]


def load_clip(folder: Path, entry: dict[str, Any], track: Track, model: FaceModel, kind: FeatureKind) -> SpeechClip:
    """One clip, `entry` being its row in clips.json."""
    values = speech_parameters(track, 1 + model.n_speech)
    usable = track.usable & np.isfinite(values).all(1)
    moving = usable & mouth_moving(track)
    centre, gain = spoken_statistics(values, moving if moving.sum() > 25 else usable)
    given, audio = entry["av_offset_ms"], read_audio(folder / entry["file"])
    return SpeechClip(
        entry["file"], entry["speaker"], track.rate, 0.0 if given is None else float(given) / 1000, given is not None, audio,
        sounds_of(audio, kind, np.random.default_rng(len(audio))), track, values, usable, centre, gain,
        centre - rest_of(values[usable], tracked_opening(track)[usable]))

"""Clips for the speech model: sound, tracked mouth and phones of one clip on one clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.face.model import FaceModel
from visualdub.face.track import Track
from visualdub.media.audio import read_audio
from visualdub.speech import features
from visualdub.speech.moving import mouth_moving
from visualdub.speech.style import rest_of, speech_parameters, spoken_statistics
from visualdub.speech.voice import STEP_RATE

SILENCE = "SIL"


@dataclass(frozen=True)
class SpeechClip:
    """One clip. n frames, m = 1 + n_speech parameters, k features at 100 Hz (k even), k / 2 steps at 50 Hz."""

    file: str
    speaker: str
    rate: Fraction
    offset: float  # seconds the picture is late against the sound
    offset_known: bool  # given with the clips, not found by us
    audio: NDArray[np.float32]  # 16 kHz
    mel: NDArray[np.float32]  # (k, BANDS) normalised log-mel
    voice: NDArray[np.float32]  # (k / 2,) 1 where somebody speaks
    phones: NDArray[np.int64]  # (k / 2,) number of the phone, -1 unknown
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

    def motion_at_steps(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The motion on the model's clock: (k / 2, m), and (k / 2,) 1 where frames on both sides are usable."""
        steps = np.arange(len(self.voice)) / STEP_RATE
        times = self.times()
        seen = np.where(self.usable[:, None], self.motion, 0.0)
        at = np.stack([np.interp(steps, times, column) for column in seen.T], 1)
        weight = np.interp(steps, times, self.usable.astype(float), left=0.0, right=0.0) >= 0.999
        return at.astype(np.float32), weight.astype(np.float32)

    def shifted(self, offset: float) -> SpeechClip:
        """The same clip with another offset, in seconds."""
        return replace(self, offset=offset)


def spoken_steps(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """(steps,) 1 where a clean recording is loud enough to be speech: 30 dB below its loud parts, 8 dB above its quiet ones."""
    count = features.feature_count(len(audio)) // 2
    power = np.exp(features.log_mel(audio, 0, 2 * count)).sum(1).reshape(count, 2).mean(1)
    smooth = np.convolve(power, np.ones(3) / 3, "same")
    decibel = 10 * np.log10(smooth + 1e-12)
    quiet, loud = np.percentile(decibel, [3, 95])
    return (decibel > max(loud - 30, min(quiet + 8, loud - 12))).astype(np.float32)


def phone_segments(audio: NDArray[np.float32]) -> list[tuple[str, float, float]]:
    """Phone, start and end in seconds, as PocketSphinx's all-phone search hears them."""
    import pocketsphinx

    folder = Path(pocketsphinx.get_model_path()) / "en-us"
    decoder = pocketsphinx.Decoder(pocketsphinx.Config(
        allphone=str(folder / "en-us-phone.lm.bin"), hmm=str(folder / "en-us"), lw=2.0, pip=0.3, beam=1e-10, pbeam=1e-10, loglevel="FATAL"))
    decoder.start_utt()
    decoder.process_raw((np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    return [(s.word.strip("+"), s.start_frame / 100, (s.end_frame + 1) / 100) for s in decoder.seg() or ()]


def phones_at_steps(segments: list[tuple[str, float, float]], steps: int, names: list[str]) -> NDArray[np.int64]:
    """(steps,) number in `names` of the phone at each step, -1 where none was heard."""
    found = np.full(steps, -1, np.int64)
    for name, start, end in segments:
        if name in names:
            found[round(start * STEP_RATE):round(end * STEP_RATE)] = names.index(name)
    return found


def load_clips(folder: Path, names: list[str], tracker: Callable[[Path], Track], model: FaceModel,
               wanted: Callable[[str], bool] = lambda speaker: True) -> list[SpeechClip]:
    """Every clip of `folder`/clips.json whose sound is its own and whose speaker is `wanted`."""
    listed = json.loads((folder / "clips.json").read_text())
    return [_load(folder, c, names, tracker, model) for c in listed if c["speech"] == "original" and wanted(c["speaker"])]


def _load(folder: Path, entry: dict[str, str], names: list[str], tracker: Callable[[Path], Track], model: FaceModel) -> SpeechClip:
    path = folder / entry["file"]
    audio, track = read_audio(path), tracker(path)
    level = features.recording_level(audio)
    if level is None:
        raise ValueError(f"{path} is silent; expected speech")
    steps = features.feature_count(len(audio)) // 2
    values = speech_parameters(track, 1 + model.n_speech)
    usable = track.usable & np.isfinite(values).all(1)
    moving = usable & mouth_moving(track)
    centre, gain = spoken_statistics(values, moving if moving.sum() > 25 else usable)
    given = entry["av_offset_ms"]
    return SpeechClip(
        entry["file"], entry["speaker"], track.rate, 0.0 if given is None else float(given) / 1000, given is not None, audio,
        features.normalise(features.log_mel(audio, 0, 2 * steps), level), spoken_steps(audio),
        phones_at_steps(phone_segments(audio), steps, names), track, values, usable, centre, gain, centre - rest_of(values[usable]))

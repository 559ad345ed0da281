"""Clips for the speech model: the sound and the tracked mouth of one clip on one clock, and other ways it
might have sounded.
"""

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
from scipy.signal import butter, fftconvolve, sosfilt

from training.speech import flite
from training.speech.articulation import PhoneSpan, contact_curve, opening_curve
from training.speech.synthetic import random_voice, sentences, speak
from training.speech.words import BILABIALS, grid_words, spoken_phones
from visualdub.errors import BadInput, VisualDubError
from visualdub.face.fit import fit_shot
from visualdub.face.models import FaceModel
from visualdub.face.track import Track
from visualdub.media.audio import read_audio
from visualdub.speech import features
from visualdub.speech.activity import STEP_RATE, mouth_activity, tracked_opening
from visualdub.speech.features import FeatureKind
from visualdub.speech.style import rest_of, speech_parameters, speech_statistics
from visualdub.speech.sync import clip_sync

LANGUAGES = (
    "fr",
    "de",
    "es",
    "it",
    "ja",
    "ru",
    "ko",
    "en-us",
)  # of the synthetic sentences, by espeak-ng's voices
# of the lips seen and heard, from which a clip that is not listed so counts as its speaker's own sound
OWN_CORRELATION = 0.3
SPEEDS = (
    0.88,
    1.0,
    1.12,
)  # a clip is also heard slower and deeper, faster and higher, its mouth moving as fast


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
    listed: bool  # in the list of clips as its speaker's own sound; others were found to be
    audio: NDArray[np.float32]  # 16 kHz
    sounds: tuple[Sound, ...]  # the recording as it is, then other ways it might have sounded
    track: Track
    values: NDArray[np.float64]  # (n, m) jaw and speech components
    usable: NDArray[np.bool_]  # (n,)
    centre: NDArray[np.float64]  # (m,) mean while the mouth moves
    gain: NDArray[np.float64]  # (m,) standard deviation while the mouth moves
    lift: NDArray[np.float64]  # (m,) centre minus rest
    phones: tuple[
        PhoneSpan, ...
    ] = ()  # as heard in `audio`, in IPA, bilabials alone; () where no words are understood

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
    contact: NDArray[np.float32]  # (T,) 1 while the lips touch in p, b and m
    heard: bool  # whether the words were understood: otherwise `contact` says nothing


def hear(clip: SpeechClip, sound: Sound | None = None) -> Hearing:
    """The clip with one of its sounds, by default the plain one, and the mouth moving as fast."""
    sound = sound or clip.sounds[0]
    steps, times = np.arange(len(sound.voice)) / STEP_RATE, clip.times() / sound.speed
    seen = np.where(clip.usable[:, None], clip.motion, 0.0)
    motion = np.stack([np.interp(steps, times, column) for column in seen.T], 1)
    weight = np.interp(steps, times, clip.usable.astype(float), left=0.0, right=0.0) >= 0.999
    phones = [
        PhoneSpan(p.ipa, p.start / sound.speed, p.end / sound.speed, _faster(p.release, sound.speed))
        for p in clip.phones
    ]
    contact = contact_curve(phones, STEP_RATE, len(steps)).astype(np.float32)
    return Hearing(
        sound.features,
        motion.astype(np.float32),
        weight.astype(np.float32),
        sound.voice,
        contact,
        bool(clip.phones),
    )


def _faster(seconds: float | None, speed: float) -> float | None:
    return None if seconds is None else seconds / speed


def bilabials(audio: NDArray[np.float32], words: str | None) -> tuple[PhoneSpan, ...]:
    """The p, b and m that PocketSphinx hears in a recording, by `words` where they are known. Plosives open
    in their last third.
    """
    found = []
    for phone in spoken_phones(audio, words):
        if phone.phone in BILABIALS:
            release = phone.end if phone.phone == "M" else phone.end - (phone.end - phone.start) / 3
            found.append(PhoneSpan(phone.phone.lower(), phone.start, phone.end, release))
    return tuple(found)


def plain_sound(
    audio: NDArray[np.float32],
    kind: FeatureKind,
    speed: float = 1.0,
    noise: NDArray[np.float32] | None = None,
) -> Sound:
    """A recording played `speed` times as fast, pitch and formants with it, with `noise` (as many samples at
    least) added.

    Half a second of digital silence follows. Raises `BadInput` for a recording that is silent altogether.
    """
    fast = np.interp(np.arange(0, len(audio) - 1, speed), np.arange(len(audio)), audio).astype(np.float32)
    heard = fast if noise is None else fast + noise[: len(fast)]
    level = kind.level(heard)
    if level is None:
        raise BadInput("a recording to train on is silent; expected speech")
    count = features.feature_count(len(fast)) + STEP_RATE // 2
    voice = np.zeros(count, np.float32)
    voice[: -(STEP_RATE // 2)] = spoken_steps(fast)
    return Sound(speed, kind.features(heard, level, 0, count), voice)


def sounds_of(
    audio: NDArray[np.float32], kind: FeatureKind, random: np.random.Generator
) -> tuple[Sound, ...]:
    """A recording as it is; at every speed, clean and in noise; then in a room, through a narrow band, and
    through both.
    """
    sounds = [plain_sound(audio, kind)]
    for speed in SPEEDS:
        sounds += [plain_sound(audio, kind, speed)] * (speed != 1.0) + [
            _noisy(audio, kind, speed, (5, 30), random)
        ]
    for room, band in ((True, False), (False, True), (True, True)):
        worse = in_a_room(audio, random) if room else audio
        worse = through_a_band(worse, random) if band else worse
        sounds.append(_noisy(worse, kind, float(random.uniform(0.85, 1.15)), (10, 35), random))
    return tuple(sounds)


def _noisy(
    audio: NDArray[np.float32],
    kind: FeatureKind,
    speed: float,
    below: tuple[float, float],
    random: np.random.Generator,
) -> Sound:
    """`plain_sound` with noise of a random colour, so many dB below the speech."""
    return plain_sound(audio, kind, speed, noise_below(audio, round(len(audio) / speed) + 1, below, random))


def noise_below(
    audio: NDArray[np.float32], count: int, below: tuple[float, float], random: np.random.Generator
) -> NDArray[np.float32]:
    """(count,) noise of a random colour, a random number of dB within `below` fainter than the recording."""
    strength = 10 ** (-random.uniform(*below) / 20) * audio.std()
    return np.asarray(coloured_noise(count, random) * strength, np.float32)


def in_a_room(audio: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The sound with the reverberation of a random room: 0.15 to 0.6 s to fall by 60 dB, 7 to 20 dB below the
    direct sound.
    """
    count = int(random.uniform(0.15, 0.6) * features.RATE)
    response = random.normal(size=count) * np.exp(-6.9 * np.arange(count) / count)
    response *= random.uniform(0.1, 0.45) / np.sqrt((response**2).sum())
    response[0] = 1
    return np.asarray(fftconvolve(audio, response)[: len(audio)], np.float32)


def through_a_band(audio: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The sound of a narrow line: nothing below 80 to 300 Hz, nothing above 2.8 to 5 kHz."""
    edges = (random.uniform(80, 300), random.uniform(2800, 5000))
    return np.asarray(
        sosfilt(butter(4, edges, "bandpass", fs=features.RATE, output="sos"), audio), np.float32
    )


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
    """(steps,) 1 where a clean recording is loud enough to be speech: 30 dB below its loud parts, 8 dB above
    its quiet ones.
    """
    power = np.exp(features.log_mel(audio, 0, features.feature_count(len(audio)))).sum(1)
    smooth = np.convolve(power, np.ones(3) / 3, "same")
    decibel = 10 * np.log10(smooth + 1e-12)
    quiet, loud = np.percentile(decibel, [3, 95])
    return np.asarray(decibel > max(loud - 30, min(quiet + 8, loud - 12)), np.float32)


@dataclass(frozen=True)
class SyntheticSound:
    """A synthetic sentence as heard once, T steps of 20 ms, and what the lips should do in it."""

    features: NDArray[np.float32]  # (T, width)
    opening: NDArray[np.float32]  # (T,) by the phones, mean 0 and deviation 1 over the whole set
    contact: NDArray[np.float32]  # (T,) 1 while the lips touch
    taught: bool = True  # whether `opening` is: flite's is not


def synthetic_sounds(kind: FeatureKind, seed: int, voices: int = 3, rows: int = 200) -> list[SyntheticSound]:
    """Every sentence to train on in every language, by `voices` of espeak-ng's speakers each; and for
    touching lips alone every English one and `rows` rows of English words by flite's. One in four clean, the
    others worse.

    Opening by its phones cost 0.01 of the correlation on real English: it is taught for the sake of the other
    languages. Raises `BadInput` where espeak-ng or flite is not installed.
    """
    random, made = np.random.default_rng(seed), []
    for language in LANGUAGES:
        for turn in range(voices):
            for i, text in enumerate(sentences("train", language.split("-")[0])):
                voice = random_voice(language, 1000 * turn + i)
                made.append(speak(text, voice.language, voice.pitch, voice.rate, voice.variant))
    many = len(made)
    english = flite.texts(rows, seed)
    made += [
        flite.speak(text, name, float(random.uniform(0.75, 1.15)))
        for name in flite.VOICES
        for text in english
    ]
    found = []
    for i, spoken in enumerate(made):
        audio = _worse(spoken.audio, random)
        level, count = kind.level(audio), features.feature_count(len(audio))
        if level is not None:
            opening, contact = (
                f(spoken.phones, STEP_RATE, count).astype(np.float32) for f in (opening_curve, contact_curve)
            )
            found.append(
                SyntheticSound(kind.features(audio, level, 0, count), opening, contact, taught=i < many)
            )
    every = np.concatenate([f.opening for f in found if f.taught])
    return [replace(f, opening=((f.opening - every.mean()) / every.std()).astype(np.float32)) for f in found]


def _worse(audio: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The recording as it is, in noise, or in noise and a room or a narrow band, one as likely as the
    other.
    """
    kind = int(random.integers(4))
    if kind == 0:
        return audio
    worse = {1: in_a_room, 2: through_a_band}.get(kind, lambda a, r: a)(audio, random)
    return worse + noise_below(audio, len(audio), (8, 35), random)


def load_clips(
    folder: Path,
    tracker: Callable[[Path], Track],
    model: FaceModel,
    kind: FeatureKind,
    say: Callable[[str], None],
) -> list[SpeechClip]:
    """Every clip of `folder`/clips.json whose sound is its own: listed so, or found so by `sync` however it
    is listed.
    """
    clips = []
    for entry in json.loads((folder / "clips.json").read_text()):
        track = tracker(folder / entry["file"])
        offset, line = own_sound(folder / entry["file"], track, entry["speech"] == "original")
        say(line)
        if offset is not None:
            clips.append(load_clip(folder, entry, track, model, kind, offset))
    return clips


def own_sound(path: Path, track: Track, listed: bool) -> tuple[float | None, str]:
    """Seconds the picture is late, None where the sound is not the speaker's; and a line. A clip listed so is
    believed.
    """
    try:
        sync = clip_sync(path, track)
    except VisualDubError as e:
        return None, f"{path.name}: not used: {e}"
    if listed or (sync.found and sync.correlation >= OWN_CORRELATION):
        return sync.av_offset_s, f"{path.name}: {sync.summary()}"
    return None, f"{path.name}: not used, its sound is not its speaker's: {sync.summary()}"


def load_clip(
    folder: Path, entry: dict[str, Any], track: Track, model: FaceModel, kind: FeatureKind, offset: float
) -> SpeechClip:
    """One clip, `entry` being its row in clips.json; offset: seconds its picture is late."""
    audio = read_audio(folder / entry["file"])
    return SpeechClip(
        entry["file"],
        entry["speaker"],
        track.rate,
        offset,
        entry["speech"] == "original",
        audio,
        sounds_of(audio, kind, np.random.default_rng(len(audio))),
        track,
        *_mouth(track, model),
        bilabials(audio, grid_words(entry["file"])),
    )


def _mouth(
    track: Track, model: FaceModel
) -> tuple[
    NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]
]:
    """Values, usable, centre, gain and lift of a `SpeechClip`."""
    values = speech_parameters(track, 1 + model.n_speech)
    usable = track.usable & np.isfinite(values).all(1)
    moving = usable & mouth_activity(track)
    centre, gain = speech_statistics(values, moving if moving.sum() > 25 else usable)
    return values, usable, centre, gain, centre - rest_of(values[usable], tracked_opening(track)[usable])


def fitted_again(clip: SpeechClip, model: FaceModel) -> SpeechClip:
    """The same clip with its mouth in the parameters of another face model, by the landmarks that were
    tracked.
    """
    fit = fit_shot(model, clip.track.landmarks)
    track = replace(
        clip.track, identity=fit.identity, jaw=fit.jaw, expression=fit.expression, face_model=model.name
    )
    values, usable, centre, gain, lift = _mouth(track, model)
    return replace(clip, track=track, values=values, usable=usable, centre=centre, gain=gain, lift=lift)

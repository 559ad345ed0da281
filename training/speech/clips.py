"""Clips for the speech model: audio and tracked mouth of a clip on one clock, and variants of its audio."""

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
from training.speech.articulation import contact_curve, opening_curve
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
from visualdub.speech.phones import PhoneSpan
from visualdub.speech.style import rest_of, speech_parameters, speech_statistics
from visualdub.speech.sync import clip_sync

# Languages of the synthetic sentences, as espeak-ng names their voices.
LANGUAGES = ("fr", "de", "es", "it", "ja", "ru", "ko", "en-us")
# Correlation of lips and audio from which on a clip's audio counts as its speaker's, where no list says so.
OWN_CORRELATION = 0.3
MEASURED = "for measuring only"  # the rights of clips that nothing is trained on
# A clip is also used slower and deeper, and faster and higher, with the mouth at the same speed.
SPEEDS = (0.88, 1.12)
# Steps of 20 ms that a recording begins after the start of a window of Whisper's encoder, whose features
# depend on where they lie in it: three places in place of one gained 0.004 of the held-out correlation.
PLACES = (0, 83, 250)


@dataclass(frozen=True)
class AudioVariant:
    """A recording as input features, T steps of 20 ms: as it is, or changed."""

    speed: float  # factor on the speed at which it was spoken
    features: NDArray[np.float32]  # (T, width)
    voice: NDArray[np.float32]  # (T,) 1 where somebody speaks
    changed: bool = False  # whether it is another recording than the clip's: faster, noisy, reverberant


@dataclass(frozen=True)
class SpeechClip:
    """One clip of n frames with m = 1 + n_speech mouth parameters."""

    file: str
    speaker: str
    rate: Fraction  # frames per second
    offset: float  # seconds by which the audio leads the video
    # whether the list of clips says that the audio is the speaker's; otherwise that was measured
    listed: bool
    audio: NDArray[np.float32]  # 16 kHz
    variants: tuple[AudioVariant, ...]  # the recording as it is at each of PLACES, then changed ones
    track: Track
    values: NDArray[np.float64]  # (n, m) jaw and speech components
    usable: NDArray[np.bool_]  # (n,)
    mean: NDArray[np.float64]  # (m,) mean while the mouth moves
    scale: NDArray[np.float64]  # (m,) standard deviation while the mouth moves
    offset_from_rest: NDArray[np.float64]  # (m,) mean minus rest
    # the bilabials in `audio`, in IPA; none where no words were recognised
    phones: tuple[PhoneSpan, ...] = ()

    @property
    def motion(self) -> NDArray[np.float64]:
        """(n, m) relative to the actor's mean and standard deviation, as the model gives it."""
        return (self.values - self.mean) / self.scale

    def times(self) -> NDArray[np.float64]:
        """(n,) the time in the audio, in seconds, of each frame."""
        return np.arange(len(self.values)) / float(self.rate) - self.offset

    def aligned_audio(self) -> NDArray[np.float32]:
        """The audio, cut or padded with silence at its start, so that sample 0 belongs to frame 0."""
        shift = round(self.offset * features.RATE)
        return np.concatenate([np.zeros(shift, np.float32), self.audio]) if shift > 0 else self.audio[-shift:]

    def shifted(self, offset: float) -> SpeechClip:
        """The same clip with another offset, in seconds."""
        return replace(self, offset=offset)


@dataclass(frozen=True)
class TrainingExample:
    """A clip with one of its audio variants, T steps of 20 ms."""

    features: NDArray[np.float32]  # (T, width)
    motion: NDArray[np.float32]  # (T, m) relative to the actor's mean and standard deviation
    weight: NDArray[np.float32]  # (T,) 1 where the mouth was tracked
    voice: NDArray[np.float32]  # (T,) 1 where somebody speaks
    contact: NDArray[np.float32]  # (T,) 1 while the lips touch in p, b and m
    contact_known: bool  # whether words were recognised; otherwise `contact` means nothing


def encode_example(clip: SpeechClip, variant: AudioVariant | None = None) -> TrainingExample:
    """The clip with one of its audio variants, by default the unchanged one, and the mouth at the same
    speed.
    """
    variant = variant or clip.variants[0]
    speed = variant.speed
    steps, times = np.arange(len(variant.voice)) / STEP_RATE, clip.times() / speed
    tracked = np.where(clip.usable[:, None], clip.motion, 0.0)
    motion = np.stack([np.interp(steps, times, column) for column in tracked.T], 1)
    weight = np.interp(steps, times, clip.usable.astype(float), left=0.0, right=0.0) >= 0.999
    phones = [
        PhoneSpan(p.phone, p.start / speed, p.end / speed, None if p.release is None else p.release / speed)
        for p in clip.phones
    ]
    contact = contact_curve(phones, STEP_RATE, len(steps)).astype(np.float32)
    return TrainingExample(
        variant.features,
        motion.astype(np.float32),
        weight.astype(np.float32),
        variant.voice,
        contact,
        bool(clip.phones),
    )


def bilabials(audio: NDArray[np.float32], words: str | None) -> tuple[PhoneSpan, ...]:
    """The p, b and m that PocketSphinx recognises in a recording, in IPA. Plosives are taken to open in their
    last third.

    words: what is spoken; None: not known.
    """
    spans = []
    for phone in spoken_phones(audio, words):
        if phone.phone in BILABIALS:
            release = phone.end if phone.phone == "M" else phone.end - (phone.end - phone.start) / 3
            spans.append(PhoneSpan(phone.phone.lower(), phone.start, phone.end, release))
    return tuple(spans)


def audio_variant(
    audio: NDArray[np.float32],
    kind: FeatureKind,
    speed: float = 1.0,
    noise: NDArray[np.float32] | None = None,
    place: int = 0,
) -> AudioVariant:
    """Features of a recording that is played `speed` times as fast, pitch and formants included, with `noise`
    added and half a second of digital silence at its end.

    noise: at least as many samples as the changed recording. place: steps by which it begins after a window's
    start. Raises `BadInput` for a silent recording.
    """
    played = np.interp(np.arange(0, len(audio) - 1, speed), np.arange(len(audio)), audio).astype(np.float32)
    noisy = played if noise is None else played + noise[: len(played)]
    level = kind.level(noisy)
    if level is None:
        raise BadInput("a recording to train on is silent; expected speech")
    steps = speech_steps(played)
    voice = np.concatenate([steps, np.zeros(STEP_RATE // 2, np.float32)])
    followed = np.concatenate([noisy, np.zeros(len(voice) * features.HOP - len(noisy), np.float32)])
    changed = speed != 1.0 or noise is not None
    return AudioVariant(speed, features_at(place, followed, level, len(voice), kind), voice, changed)


def features_at(
    place: int, audio: NDArray[np.float32], level: features.Level, count: int, kind: FeatureKind
) -> NDArray[np.float32]:
    """(count, width) the features of a recording that begins `place` steps after the start of a window."""
    later = np.concatenate([np.zeros(place * features.HOP, np.float32), audio])
    return kind.features(later, level, place, count)


def audio_variants(
    audio: NDArray[np.float32], kind: FeatureKind, random: np.random.Generator
) -> tuple[AudioVariant, ...]:
    """A recording as it is, at each of PLACES; slower and faster in noise; with reverberation in noise."""
    variants = [audio_variant(audio, kind, place=place) for place in PLACES]
    variants += [_noisy(audio, kind, speed, (5, 30), random) for speed in SPEEDS]
    speed = float(random.uniform(0.85, 1.15))
    variants.append(_noisy(with_reverberation(audio, random), kind, speed, (10, 35), random))
    return tuple(variants)


def _noisy(
    audio: NDArray[np.float32],
    kind: FeatureKind,
    speed: float,
    snr: tuple[float, float],
    random: np.random.Generator,
) -> AudioVariant:
    """`audio_variant` with noise of a random colour at a random ratio to the speech within `snr`, dB."""
    return audio_variant(audio, kind, speed, noise_at_snr(audio, round(len(audio) / speed) + 1, snr, random))


def noise_at_snr(
    audio: NDArray[np.float32], count: int, snr: tuple[float, float], random: np.random.Generator
) -> NDArray[np.float32]:
    """(count,) noise of a random colour, fainter than the recording by a random number of dB within `snr`."""
    strength = 10 ** (-random.uniform(*snr) / 20) * audio.std()
    return np.asarray(coloured_noise(count, random) * strength, np.float32)


def with_reverberation(audio: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The recording with random reverberation, which takes 0.15 to 0.6 s to fall by 60 dB and is 7 to 20 dB
    below the direct sound.
    """
    count = int(random.uniform(0.15, 0.6) * features.RATE)
    response = random.normal(size=count) * np.exp(-6.9 * np.arange(count) / count)
    response *= random.uniform(0.1, 0.45) / np.sqrt((response**2).sum())
    response[0] = 1
    return np.asarray(fftconvolve(audio, response)[: len(audio)], np.float32)


def band_limited(audio: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The recording through a random band-pass filter, from 80 to 300 Hz up to 2.8 to 5 kHz."""
    edges = (random.uniform(80, 300), random.uniform(2800, 5000))
    return np.asarray(
        sosfilt(butter(4, edges, "bandpass", fs=features.RATE, output="sos"), audio), np.float32
    )


def coloured_noise(count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """(count,) noise of unit deviation whose power falls with frequency by a random 0 to 9 dB an octave."""
    size = next_fast_len(count, real=True)
    spectrum = np.fft.rfft(random.normal(size=size))
    spectrum /= np.maximum(np.arange(len(spectrum)) * features.RATE / size, 50) ** random.uniform(0, 1.5)
    noise = np.fft.irfft(spectrum, size)[:count]
    return np.asarray(noise / noise.std())


@cache
def non_speech_variants(seed: int, kind: FeatureKind) -> tuple[AudioVariant, ...]:
    """Recordings without speech, eight seconds each: noises, hums, and chords that swell and fade."""
    random = np.random.default_rng(seed)
    count, variants = 8 * features.RATE, []
    time = np.arange(count) / features.RATE
    for i in range(24):
        audio = coloured_noise(count, random) * 0.05
        if i % 2:
            base = random.uniform(50, 400)
            partials = sum(random.uniform(0, 1) * np.sin(2 * np.pi * base * k * time) for k in range(1, 12))
            swell = 1.0 if i % 4 == 1 else np.abs(np.sin(2 * np.pi * random.uniform(0.3, 2.5) * time))
            audio = audio * 0.1 + 0.1 * partials * swell
        variant = audio_variant(audio.astype(np.float32), kind)
        variants.append(AudioVariant(1.0, variant.features, np.zeros_like(variant.voice)))
    return tuple(variants)


def speech_steps(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """(steps,) 1 where a clean recording is loud enough to be speech: at most 30 dB below its loud parts, at
    least 8 dB above its quiet ones.
    """
    power = np.exp(features.log_mel(audio, 0, features.feature_count(len(audio)))).sum(1)
    smooth = np.convolve(power, np.ones(3) / 3, "same")
    decibel = 10 * np.log10(smooth + 1e-12)
    quiet, loud = np.percentile(decibel, [3, 95])
    return np.asarray(decibel > max(loud - 30, min(quiet + 8, loud - 12)), np.float32)


@dataclass(frozen=True)
class SyntheticExample:
    """A synthetic sentence as input features, T steps of 20 ms, and the lips that belong to it."""

    features: NDArray[np.float32]  # (T, width)
    opening: NDArray[np.float32]  # (T,) from the phones, mean 0 and deviation 1 over the whole set
    contact: NDArray[np.float32]  # (T,) 1 while the lips touch
    opening_trained: bool = True  # whether `opening` is a target; flite's is not


def synthetic_examples(
    kind: FeatureKind, seed: int, voices: int = 1, rows: int = 60
) -> list[SyntheticExample]:
    """Synthetic training examples, one in four clean, the others degraded.

    They are every sentence to train on in every language, by `voices` of espeak-ng's speakers each; and, as
    targets for touching lips alone, every English sentence and `rows` rows of English words by flite's
    voices. To train the opening from phones cost 0.01 of the correlation on real English; it is done for the
    other languages. Raises `BadInput` where espeak-ng or flite is not installed.
    """
    random, spoken = np.random.default_rng(seed), []
    for language in LANGUAGES:
        for turn in range(voices):
            for i, text in enumerate(sentences("train", language.split("-")[0])):
                voice = random_voice(language, 1000 * turn + i)
                spoken.append(speak(text, voice.language, voice.pitch, voice.rate, voice.variant))
    by_espeak = len(spoken)
    english = flite.texts(rows, seed)
    spoken += [
        flite.speak(text, name, float(random.uniform(0.75, 1.15)))
        for name in flite.VOICES
        for text in english
    ]
    examples = []
    for i, sentence in enumerate(spoken):
        audio = degraded(sentence.audio, random)
        level, count = kind.level(audio), features.feature_count(len(audio))
        if level is not None:
            opening, contact = (
                f(sentence.phones, STEP_RATE, count).astype(np.float32)
                for f in (opening_curve, contact_curve)
            )
            inputs = features_at(int(random.integers(max(PLACES))), audio, level, count, kind)
            examples.append(SyntheticExample(inputs, opening, contact, opening_trained=i < by_espeak))
    every = np.concatenate([e.opening for e in examples if e.opening_trained])
    mean, deviation = every.mean(), every.std()
    return [replace(e, opening=((e.opening - mean) / deviation).astype(np.float32)) for e in examples]


def degraded(audio: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The recording as it is, in noise, or in noise with reverberation or band-limited, each as likely as the
    others.
    """
    kind = int(random.integers(4))
    if kind == 0:
        return audio
    degraded = {1: with_reverberation, 2: band_limited}.get(kind, lambda a, r: a)(audio, random)
    return degraded + noise_at_snr(audio, len(audio), (8, 35), random)


def trained_clips(folder: Path) -> list[dict[str, Any]]:
    """The entries of `folder`/clips.json that models may be trained on: those whose rights are not MEASURED.

    Raises `BadInput` where there is no such list.
    """
    path = folder / "clips.json"
    if not path.is_file():
        raise BadInput(f"{folder} holds no clips.json; expected a folder of clips with their list")
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return [e for e in entries if e.get("rights") != MEASURED]
    except (OSError, ValueError, AttributeError) as e:
        raise BadInput(f"{path} cannot be read ({e!r}); expected a list of clips with their rights") from e


def load_clips(
    folder: Path,
    tracker: Callable[[Path], Track],
    model: FaceModel,
    kind: FeatureKind,
    say: Callable[[str], None],
) -> list[SpeechClip]:
    """The clips of `folder`/clips.json, but for those to be measured only, whose audio is their speaker's:
    the list says so, or the sync of lips and audio shows it.

    tracker: gives the track of a clip. model: of the face. kind: of input features. say: gets one line for
    each clip.
    """
    clips = []
    for entry in trained_clips(folder):
        track = tracker(folder / entry["file"])
        offset, line = speaker_offset(folder / entry["file"], track, entry["speech"] == "original")
        say(line)
        if offset is not None:
            clips.append(load_clip(folder, entry, track, model, kind, offset))
    return clips


def speaker_offset(path: Path, track: Track, listed: bool) -> tuple[float | None, str]:
    """Seconds by which the audio leads the video, None where the audio is not the speaker's; and a line that
    says so.

    listed: whether a list says that the audio is the speaker's.
    """
    try:
        sync = clip_sync(path, track)
    except VisualDubError as e:
        return None, f"{path.name}: not used: {e}"
    if listed or (sync.found and sync.correlation >= OWN_CORRELATION):
        return sync.av_offset_s, f"{path.name}: {sync.summary()}"
    return None, f"{path.name}: not used, its audio is not its speaker's: {sync.summary()}"


def load_clip(
    folder: Path, entry: dict[str, Any], track: Track, model: FaceModel, kind: FeatureKind, offset: float
) -> SpeechClip:
    """One clip. entry: its entry in clips.json. offset: seconds by which the audio leads the video."""
    clip = measured_clip(folder, entry, track, model, offset)
    variants = audio_variants(clip.audio, kind, np.random.default_rng(len(clip.audio)))
    return replace(clip, variants=variants, phones=bilabials(clip.audio, grid_words(clip.file)))


def measured_clip(
    folder: Path, entry: dict[str, Any], track: Track, model: FaceModel, offset: float
) -> SpeechClip:
    """One clip to be measured, not trained on: without variants of its audio, and without phones."""
    audio = read_audio(folder / entry["file"])
    listed = entry["speech"] == "original"
    mouth = mouth_statistics(track, model)
    return SpeechClip(entry["file"], entry["speaker"], track.rate, offset, listed, audio, (), track, *mouth)


def mouth_statistics(
    track: Track, model: FaceModel
) -> tuple[
    NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]
]:
    """Values, usable, mean, scale and offset from rest of a `SpeechClip`."""
    values = speech_parameters(track, 1 + model.n_speech)
    usable = track.usable & np.isfinite(values).all(1)
    moving = usable & mouth_activity(track)
    mean, scale = speech_statistics(values, moving if moving.sum() > 25 else usable)
    return values, usable, mean, scale, mean - rest_of(values[usable], tracked_opening(track)[usable])


def fitted_again(clip: SpeechClip, model: FaceModel) -> SpeechClip:
    """The same clip with its mouth in the parameters of another face model, fitted to the tracked
    landmarks.
    """
    fit = fit_shot(model, clip.track.landmarks)
    track = replace(
        clip.track, identity=fit.identity, jaw=fit.jaw, expression=fit.expression, face_model=model.name
    )
    values, usable, mean, scale, offset = mouth_statistics(track, model)
    return replace(
        clip, track=track, values=values, usable=usable, mean=mean, scale=scale, offset_from_rest=offset
    )

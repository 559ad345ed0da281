"""Synthetic speech with known phones and times, by espeak-ng."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, resample_poly, sosfilt

from training.speech import espeak_speaker
from training.speech.articulation import PAUSE, articulations
from visualdub.errors import BadInput, VisualDubError
from visualdub.speech.features import RATE
from visualdub.speech.phones import PhoneSpan
from visualdub.storage import atomic_path

MISSING = (
    f"espeak-ng is not installed ({espeak_speaker.LIBRARY} was not found); expected it, as by: apt-get"
    " install espeak-ng"
)
SECONDS = 60  # longest time that one sentence may take to synthesise
SILENT = 0.003  # amplitude, of 1, below which a sample is silence; espeak's pauses are digital silence
CLOSURE_SECONDS = 0.1  # longest silence before a plosive or nasal that is taken as its closure
# Length of the stretches on either side of a moment that are compared to find where a closure opens; they
# hold at
# least one pulse of the voice.
EDGE_SECONDS = 0.012
LATE_SECONDS = 0.05  # most by which espeak's marker of a vowel after a nasal or liquid is late
RELEASE_NEPERS = 1.0  # least rise of the power above 500 Hz where a closure opens

PLOSIVES = set("pbtdʈɖcɟkɡgqɢʔɓɗɠ")
VOICED_PLOSIVES = set("bdɖɟɡgɢɓɗɠ")
NASALS, LIQUIDS = set("mɱnɳɲŋɴ"), set("lɫɭʎɬɮɺrɾɽɹɻʀʁ")

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Synthetic:
    """A spoken sentence."""

    text: str
    voice: str  # the language, as espeak names it
    variant: str  # the speaker, as espeak names it, or ""
    audio: Samples  # (n,) at 16 kHz, -1..1
    phones: tuple[PhoneSpan, ...]  # in IPA, from 0 to the end without a gap


@dataclass(frozen=True)
class Voice:
    """A speaker."""

    language: str  # the name of espeak's voice, such as "fr"
    variant: str = ""  # m1..m7, f1..f5 and others; "" is the plain voice
    pitch: int = 50  # 0..100
    rate: int = 175  # words per minute, 80..450


# ---- speaking ----------------------------------------------------------------------------------------------


@cache
def missing() -> str | None:
    """A line that says why espeak-ng cannot be used on this machine; None where it can."""
    try:
        _run({"text": "a", "voice": "en", "variant": "", "pitch": 50, "rate": 175})
    except VisualDubError as e:
        return str(e)
    return None


def _run(request: dict[str, object]) -> tuple[list[tuple[str, int]], Samples, int]:
    """Markers, samples and sample rate of one sentence, synthesised in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(Path(espeak_speaker.__file__))],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        raise VisualDubError(f"espeak-ng did not finish {request['text']!r} within {SECONDS} s") from e
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise VisualDubError(
            f"espeak-ng ended with status {done.returncode} at {request['text']!r}:"
            f" {words[-1] if words else ''}"
        )
    line, _, samples = done.stdout.partition(b"\n")
    header = json.loads(line)
    if "error" in header:
        raise BadInput(MISSING if header["error"] == espeak_speaker.NO_LIBRARY else header["error"])
    audio = np.frombuffer(samples, "<i2").astype(np.float32) / 32768
    return [(str(name), int(at)) for name, at in header["markers"]], audio, int(header["rate"])


def speak(text: str, voice: str, pitch: int = 50, rate: int = 175, variant: str = "") -> Synthetic:
    """Speak `text` with espeak-ng's `voice` (a language: "fr", "en-us"), with the phones' times.

    pitch: 0..100. rate: 80..450 words per minute. variant: a speaker, "m1".."m7", "f1".."f5" and others.
    Raises `BadInput` where espeak-ng is not installed, has no such voice, a number is out of range, or
    nothing is spoken; `VisualDubError` where it fails.
    """
    if not text.strip() or "\0" in text:
        raise BadInput(f"the text to speak is {text!r}; expected words")
    if voice.startswith("mb") or "/mb" in voice:
        raise BadInput(f"voice {voice!r} is one of MBROLA's; expected one of espeak-ng's own")
    if not 0 <= pitch <= 100 or not 80 <= rate <= 450:
        raise BadInput(
            f"pitch {pitch} and rate {rate} were asked for; expected 0..100 and 80..450 words per minute"
        )
    markers, audio, per_second = _run(
        {"text": text, "voice": voice, "variant": variant, "pitch": pitch, "rate": rate}
    )
    if not len(audio) or not any(name for name, _ in markers):
        raise BadInput(
            f"espeak-ng's voice {voice!r} speaks nothing for {text!r}; expected words of that language"
        )
    divisor = int(np.gcd(RATE, per_second))
    resampled = resample_poly(audio, RATE // divisor, per_second // divisor).astype(np.float32)
    return Synthetic(text, voice, variant, resampled, phone_spans(markers, audio, per_second))


# ---- times -------------------------------------------------------------------------------------------------


def phone_spans(markers: Sequence[tuple[str, int]], audio: Samples, rate: int) -> tuple[PhoneSpan, ...]:
    """Phones and when they sound, from espeak's markers (name, sample), which differ from that in three ways.

    A plosive's marker is at its burst, after the silence of its closure (30 to 50 ms); that silence is given
    to the plosive. The marker of a vowel after a nasal or liquid is inside the vowel (15 to 35 ms), and is
    moved back to where the closure opens. And a nameless marker is a pause only where there is silence.
    audio: (n,) at `rate` per second, -1..1.
    """
    names, starts = _named(markers, audio)
    power = _bright_power(audio, rate)
    closures = [_closure_start(audio, rate, names, starts, i) for i in range(len(names))]
    ends = [*starts[1:], len(audio)]
    for i in range(1, len(names)):
        if _last(names[i - 1]) in NASALS | LIQUIDS and _is_vowel(names[i]):
            floor = max(starts[i - 1] + rate // 100, starts[i] - round(LATE_SECONDS * rate))
            closures[i] = _opens(power, rate, floor, starts[i]) or starts[i]
    releases = [_release(power, rate, names[i], closures[i], starts[i], ends[i]) for i in range(len(names))]
    ends = [*closures[1:], len(audio)]
    return tuple(
        PhoneSpan(name, a / rate, b / rate, None if release is None else min(max(release, a), b) / rate)
        for name, a, b, release in zip(names, closures, ends, releases, strict=True)
        if b > a
    )


def _named(markers: Sequence[tuple[str, int]], audio: Samples) -> tuple[list[str], list[int]]:
    """Names and first samples of the phones, from sample 0 on, without empty ones; nameless sound is joined
    to the phone that follows.

    Markers such as "(en)", a change of language within a sentence, are not phones.
    """
    spans = [
        (_cleaned(name), max(0, at)) for name, at in markers if at < len(audio) and not name.startswith("(")
    ]
    if not spans or spans[0][1] > 0:
        spans.insert(0, (PAUSE, 0))
    names: list[str] = []
    starts: list[int] = []
    for i, (name, at) in enumerate(spans):
        end = spans[i + 1][1] if i + 1 < len(spans) else len(audio)
        if end <= at:
            continue
        if not name and i + 1 < len(spans) and spans[i + 1][0] and np.abs(audio[at:end]).mean() > SILENT:
            spans[i + 1] = (spans[i + 1][0], at)
        elif not (names and name == PAUSE == names[-1]):
            names.append(name)
            starts.append(at)
    return names, starts


def _cleaned(name: str) -> str:
    """espeak's name as IPA: without stress, and with the modifier for aspirates (its Korean ph)."""
    bare = name.strip("ˈˌ ˑ").replace("?", "ʔ")
    return f"{bare[0]}ʰ" if len(bare) == 2 and bare[0] in PLOSIVES and bare[1] == "h" else bare


def _closure_start(audio: Samples, rate: int, names: Sequence[str], starts: Sequence[int], i: int) -> int:
    """The sample where the silence before marker `i` of a plosive or nasal begins; the marker's where there
    is no silence.
    """
    if not names[i] or names[i][0] not in PLOSIVES | NASALS or i == 0:
        return starts[i]
    floor = max(starts[i - 1], starts[i] - round(CLOSURE_SECONDS * rate))
    loud = np.flatnonzero(np.abs(audio[floor : starts[i]]) > SILENT)
    return floor + int(loud[-1]) + 1 if len(loud) else floor


def _bright_power(audio: Samples, rate: int) -> NDArray[np.float64]:
    """(n,) power above 500 Hz, which is weak behind closed lips and strong in an open mouth; the filter is
    causal, so that no rise is announced early.
    """
    high = sosfilt(butter(4, 500, "high", fs=rate, output="sos"), audio.astype(np.float64))
    return np.asarray(high**2 + 1e-9)


def _opens(power: NDArray[np.float64], rate: int, first: int, last: int) -> int | None:
    """The sample in first..last where power rises most from the EDGE_SECONDS before to those after; None
    where it rises by less than RELEASE_NEPERS.
    """
    width = round(EDGE_SECONDS * rate)
    a, b = max(first - width, 0), min(last + width, len(power))
    if b - a <= 2 * width:
        return None
    level = np.log(uniform_filter1d(power[a:b], width, mode="nearest"))  # centred
    rise = level[width:] - level[:-width]  # level[k] is centred on k: the edge lies width / 2 after it
    edges = np.arange(len(rise)) + a + width // 2
    inside = (edges >= first) & (edges <= last)
    if not inside.any():
        return None
    best = int(np.argmax(np.where(inside, rise, -np.inf)))
    return int(edges[best]) if rise[best] > RELEASE_NEPERS else None


def _release(
    power: NDArray[np.float64], rate: int, name: str, closed: int, marker: int, end: int
) -> int | None:
    """The sample where a plosive opens: at the rise after its murmur if it is voiced, else at the marker;
    None for other sounds.
    """
    if not name or name[0] not in PLOSIVES or len(articulations(name)) > 1:
        return None
    if name[0] in VOICED_PLOSIVES or marker == closed:
        return _opens(power, rate, marker + rate // 200, end) or (marker if marker > closed else None)
    return marker


def _is_vowel(name: str) -> bool:
    return bool(name) and articulations(name)[0].vowel


def _last(name: str) -> str:
    return name.rstrip("ːˑʲ-ʰʷ")[-1:]


# ---- sets --------------------------------------------------------------------------------------------------


VARIANTS = (*(f"m{i}" for i in range(1, 8)), *(f"f{i}" for i in range(1, 6)))
# {"test" or "train": {language: sentences}}; no sentence is in both
SENTENCES = Path(__file__).parent / "sentences.json"


def sentences(use: str, language: str) -> list[str]:
    """Everyday sentences with many p, b, m and a, written for this purpose. use: "test" or "train".

    Raises `BadInput` for a language without sentences.
    """
    texts: dict[str, dict[str, list[str]]] = json.loads(SENTENCES.read_text(encoding="utf-8"))
    if language not in texts.get(use, {}):
        raise BadInput(
            f"there are no {use} sentences in {language!r}; expected one of"
            f" {', '.join(texts.get(use, texts))}"
        )
    return texts[use][language]


def random_voice(language: str, seed: int) -> Voice:
    """A random speaker, chosen by `seed`: one of twelve variants, pitch 25..75, 130..210 words per minute."""
    draw = np.random.default_rng([seed, zlib.crc32(language.encode())])
    return Voice(
        language,
        VARIANTS[int(draw.integers(len(VARIANTS)))],
        int(draw.integers(25, 76)),
        int(draw.integers(130, 211)),
    )


def synthetic_set(
    voices: Sequence[Voice], sentences: Sequence[str], folder: Path | None = None
) -> list[Synthetic]:
    """Every sentence by every voice, in the order of the voices.

    folder: stores what is spoken, one file each; it is read from there the next time. Raises what `speak`
    raises.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return [_spoken(voice, text, folder) for voice in voices for text in sentences]


def _spoken(voice: Voice, text: str, folder: Path | None) -> Synthetic:
    """One sentence by one voice, from `folder` where it is stored there."""
    manner = f"{voice.language}-{voice.variant or 'plain'}-{voice.pitch}-{voice.rate}"
    name = f"{manner}-{zlib.crc32(text.encode()):08x}.npz"
    file = None if folder is None else folder / name
    if file is not None and file.is_file():
        return _read(file, voice, text)
    spoken = speak(text, voice.language, voice.pitch, voice.rate, voice.variant)
    if file is not None:
        times = np.array(
            [(p.start, p.end, np.nan if p.release is None else p.release) for p in spoken.phones]
        )
        names = np.array([p.phone for p in spoken.phones])
        with atomic_path(file) as temporary, temporary.open("wb") as f:
            np.savez(f, audio=spoken.audio, names=names, times=times)
    return spoken


def _read(file: Path, voice: Voice, text: str) -> Synthetic:
    with np.load(file, allow_pickle=False) as z:
        phones = tuple(
            PhoneSpan(str(n), float(a), float(b), None if np.isnan(r) else float(r))
            for n, (a, b, r) in zip(z["names"], z["times"], strict=True)
        )
        return Synthetic(text, voice.language, voice.variant, z["audio"], phones)

"""Synthetic English with known phones and times, by flite. Its voices are made from recordings of people and
resemble them more than espeak-ng's; with them a network learns to tell p, b, m from n, ng, g.
"""

from __future__ import annotations

import shutil
import subprocess
import wave
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pocketsphinx
from scipy.signal import resample_poly

from training.speech.articulation import PAUSE
from training.speech.synthetic import Synthetic, sentences
from visualdub.errors import BadInput, VisualDubError
from visualdub.speech.features import RATE
from visualdub.speech.phones import PhoneSpan

PROGRAM = "flite"
# CMU's voices of a woman, a man and a Scottish man, and one made of diphones.
VOICES = ("slt", "rms", "awb", "kal16")
MISSING = f"{PROGRAM} is not installed; expected it, as by: apt-get install flite"
SECONDS = 60  # longest time that one sentence may take to synthesise
WORDS = 9  # words in a row of words
RELEASE = 2 / 3  # share of a plosive's time that its closure lasts
PHONES = {
    "aa": "ɑ",
    "ae": "æ",
    "ah": "ɐ",
    "ao": "ɔ",
    "aw": "aʊ",
    "ax": "ə",
    "ay": "aɪ",
    "b": "b",
    "ch": "tʃ",
    "d": "d",
    "dh": "ð",
    "eh": "ɛ",
    "el": "l",
    "em": "m",
    "en": "n",
    "er": "ɝ",
    "ey": "eɪ",
    "f": "f",
    "g": "ɡ",
    "hh": "h",
    "ih": "ɪ",
    "iy": "i",
    "jh": "dʒ",
    "k": "k",
    "l": "l",
    "m": "m",
    "n": "n",
    "ng": "ŋ",
    "ow": "oʊ",
    "oy": "ɔɪ",
    "p": "p",
    "pau": PAUSE,
    "r": "ɹ",
    "s": "s",
    "sh": "ʃ",
    "t": "t",
    "th": "θ",
    "uh": "ʊ",
    "uw": "u",
    "v": "v",
    "w": "w",
    "y": "j",
    "z": "z",
    "zh": "ʒ",
}


@cache
def missing() -> str | None:
    """A line that says why flite cannot be used on this machine; None where it can."""
    return None if shutil.which(PROGRAM) else MISSING


def speak(text: str, voice: str, stretch: float = 1.0) -> Synthetic:
    """Speak English `text` with one of `VOICES`, `stretch` times as slowly as usual, with the phones' times.

    Raises `BadInput` where flite is not installed, has no such voice, or speaks nothing; `VisualDubError`
    where it fails.
    """
    if missing():
        raise BadInput(MISSING)
    if voice not in VOICES:
        raise BadInput(f"flite has no voice {voice!r} here; expected one of {', '.join(VOICES)}")
    if not any(c.isalpha() for c in text):
        raise BadInput(f"the text to speak is {text!r}; expected words")
    with TemporaryDirectory() as folder:
        sound = Path(folder) / "speech.wav"
        command = [
            PROGRAM,
            "-voice",
            voice,
            "--setf",
            f"duration_stretch={stretch}",
            "-psdur",
            "-t",
            text,
            "-o",
            str(sound),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired as e:
            raise VisualDubError(f"flite did not finish {text!r} within {SECONDS} s") from e
        if done.returncode != 0 or not sound.is_file():
            raise VisualDubError(
                f"flite ended with status {done.returncode} at {text!r}: {done.stderr.strip()}"
            )
        with wave.open(str(sound)) as f:
            rate, samples = f.getframerate(), f.readframes(f.getnframes())
    audio = np.frombuffer(samples, "<i2").astype(np.float32) / 32768
    divisor = int(np.gcd(RATE, rate))
    return Synthetic(
        text,
        "en-us",
        voice,
        resample_poly(audio, RATE // divisor, rate // divisor).astype(np.float32),
        phones_of(done.stdout),
    )


def phones_of(segments: str) -> tuple[PhoneSpan, ...]:
    """Phones from flite's segments, "pau:0.184 dh:0.246 ...", where each number is the second at which the
    phone ends. Raises `VisualDubError` for a phone that flite's English does not have.
    """
    spans, start = [], 0.0
    for segment in segments.split():
        name, _, until = segment.rpartition(":")
        if name not in PHONES:
            raise VisualDubError(f"flite spoke the phone {name!r}; expected one of its English ones")
        end = float(until)
        spans.append(
            PhoneSpan(
                PHONES[name], start, end, start + RELEASE * (end - start) if name in ("p", "b") else None
            )
        )
        start = end
    return tuple(spans)


def texts(rows: int, seed: int) -> list[str]:
    """The English sentences to train on, and `rows` rows of words out of PocketSphinx's dictionary."""
    dictionary = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict")).read_text(encoding="utf-8")
    words = [line.split()[0] for line in dictionary.splitlines() if line.strip()]
    spoken, random = [w for w in words if w.isalpha()], np.random.default_rng(seed)
    return [*sentences("train", "en"), *(" ".join(random.choice(spoken, WORDS)) for _ in range(rows))]

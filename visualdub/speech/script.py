"""A script of the dialogue: read from text or subtitles, and turned into phones by the program espeak-ng."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from visualdub.errors import BadInput
from visualdub.speech.ipa import VOWELS, classes_of

PROGRAM = "espeak-ng"
MISSING = f"a script needs the program {PROGRAM}, which was not found; install {PROGRAM}, or give no --script"
SECONDS = 60  # longest time that one sentence may take
MOST_WORDS = 40  # of a sentence that is read as a whole
MOST_BYTES = 4 << 20  # of a script; a longer file is no script


@dataclass(frozen=True)
class ScriptCue:
    """A sentence, or what is said within one subtitle."""

    text: str
    line: int  # of the file, from 1
    start_s: float | None = None  # seconds from the recording's first sample; None: anywhere
    end_s: float | None = None


@dataclass(frozen=True)
class ScriptWord:
    """A word of the script with its phones."""

    text: str
    classes: tuple[str, ...]  # of `ipa.CLASSES`; none for a word that is not heard beside its neighbours
    line: int
    start_s: float | None = None  # of its cue
    end_s: float | None = None


@dataclass(frozen=True)
class Script:
    """What is said, in its order."""

    path: Path
    language: str  # as it was asked for
    words: tuple[ScriptWord, ...]


# ---- reading -----------------------------------------------------------------------------------------------

_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{2})[,.](\d{1,3})"
_TIMES = re.compile(rf"^\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?$")
_MARKUP = re.compile(r"<[^>]*>|\{\\[^}]*\}|&(?:lrm|rlm);")
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&nbsp;": " "}
_SENTENCE = re.compile(r"(?<=[.!?…。！？])\s+")


def read_cues(path: Path) -> list[ScriptCue]:
    """The cues of a script: text (each sentence is one), SubRip or WebVTT, UTF-8.

    A file that has a line of times, "00:01.000 --> 00:02.500", holds subtitles. Raises `BadInput` for a file
    that cannot be read, is not UTF-8, says nothing, or whose times are not in order.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(f"{path} has {path.stat().st_size} bytes; expected a script, at most {MOST_BYTES}")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as e:
        raise BadInput(f"{path} is not UTF-8 at byte {e.start}; expected a script in UTF-8") from e
    except OSError as e:
        raise BadInput(f"{path} cannot be read as a script: {e.strerror}") from e
    timed = lines[:1] == ["WEBVTT"] or any(_TIMES.match(line) for line in lines)
    cues = _subtitles(lines, path) if timed else _sentences(lines)
    if not any(c.isalnum() for cue in cues for c in cue.text):
        raise BadInput(f"{path} says nothing; expected a script with words")
    return cues


def _sentences(lines: Sequence[str]) -> list[ScriptCue]:
    return [
        ScriptCue(text, number)
        for number, line in enumerate(lines, 1)
        for sentence in _SENTENCE.split(line.strip())
        for text in _pieces(sentence)
    ]


def _pieces(sentence: str) -> list[str]:
    """The sentence, cut where it has too many words to be divided among them quickly."""
    words = sentence.split()
    return [" ".join(words[i : i + MOST_WORDS]) for i in range(0, len(words), MOST_WORDS)]


def _subtitles(lines: Sequence[str], path: Path) -> list[ScriptCue]:
    """The cues of SubRip or WebVTT: a block ends with an empty line; no text stands above its times."""
    cues: list[ScriptCue] = []
    current: ScriptCue | None = None
    for number, line in enumerate([*lines, ""], 1):
        match = _TIMES.match(line)
        if match or (not line.strip() and current):
            if current is not None and current.text:
                cues.append(current)
            current = None
        if match:
            start, end = (_seconds(match.groups()[i : i + 4]) for i in (0, 4))
            if end <= start or (cues and start < (cues[-1].start_s or 0.0)):
                raise BadInput(f"{path}: line {number} has the times {line.strip()}; expected them in order")
            current = ScriptCue("", number, start, end)
        elif current is not None and line.strip():
            text = _MARKUP.sub("", line)
            for entity, letter in _ENTITIES.items():
                text = text.replace(entity, letter)
            current = replace(current, text=f"{current.text} {text.strip()}".strip())
    return cues


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = (p or "0" for p in parts)
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")


# ---- phones ------------------------------------------------------------------------------------------------


def read_script(path: Path, language: str) -> Script:
    """The script in a file, its words with their phones as they are spoken in their sentences.

    language: a code such as "fr", "en-US" or "pt-BR". Raises `BadInput` where the file is no script and
    where espeak-ng is not installed or does not read that language or what is written.
    """
    cues = read_cues(path)
    voice = find_voice(language)
    words = [word for cue in cues for word in _words_of(cue, voice, path)]
    if not any(w.classes for w in words):
        raise BadInput(f"{path} says nothing in {language!r}; expected a script with words of that language")
    return Script(path, language, tuple(words))


def find_voice(language: str) -> str:
    """espeak-ng's name of a language. Raises `BadInput` where it is not installed or has no such one."""
    code = language.strip().lower().replace("_", "-")
    for voice in dict.fromkeys((code, code.split("-")[0])):
        if re.fullmatch(r"[a-z]{2,3}(-[a-z0-9]+)*", voice) and _run("a", voice) is not None:
            return voice
    raise BadInput(f"--language {language} is none of {PROGRAM}'s; expected a code such as en-US, fr or de")


def _run(text: str, voice: str) -> str | None:
    """What espeak-ng writes for `text`: phones with "_" between them, words with spaces; None where it has no
    such voice. Raises `BadInput` where it is not installed or does not end.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise BadInput(MISSING)
    command = [program, "-q", "--ipa", "--sep=_", "-b", "1", "-v", voice, "--stdin"]
    try:
        done = subprocess.run(
            command, input=text.encode() + b"\n", capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as e:
        raise BadInput(f"{PROGRAM} did not read {text[:40]!r} within {SECONDS} s") from e
    except OSError as e:
        raise BadInput(f"{program} does not run: {e.strerror}; install it, or give no --script") from e
    if done.returncode != 0 or b"voice does not exist" in done.stderr:
        return None
    return done.stdout.decode("utf-8", errors="replace")


def _classes(ipa: str) -> tuple[str, ...]:
    """The classes in what espeak-ng writes, without its marks of another language, "(en)"."""
    tokens = re.split(r"[_\s]+", re.sub(r"\([a-z-]+\)", "", ipa))
    return tuple(c for token in tokens for c in classes_of(token))


def _words_of(cue: ScriptCue, voice: str, path: Path) -> list[ScriptWord]:
    """The words of a cue. The sentence is read as a whole, in which words sound other than alone, and then
    divided among its words by how each sounds alone.
    """
    texts = [w for w in cue.text.split() if any(c.isalnum() for c in w)]
    if not texts:
        return []
    spoken = _run(cue.text, voice) or ""
    foreign = "(en)" in spoken and not voice.startswith("en")
    if foreign and not re.search("[a-zA-Z]", cue.text):  # it spells what it has no words for, in English
        raise BadInput(
            f"{path}: line {cue.line}: {PROGRAM} does not read {cue.text[:40]!r} in {voice!r}; expected"
            " letters of that language, for Japanese kana"
        )
    together = _classes(spoken)
    shared = divide(together, [_alone(_bare(w), voice) for w in texts])
    return [ScriptWord(w, c, cue.line, cue.start_s, cue.end_s) for w, c in zip(texts, shared, strict=True)]


@cache
def _alone(word: str, voice: str) -> tuple[str, ...]:
    """The classes of a word by itself."""
    return _classes(_run(word, voice) or "")


def _bare(word: str) -> str:
    return word.strip(".,;:!?…\"'«»()[]-–—").lower() or word


DIFFERENT, ALIKE, LEFT_OUT = 1.0, 0.5, 0.7  # costs: another kind of sound, of one kind, one that is missing


def divide(together: Sequence[str], alone: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The classes of a sentence, divided among its words: those that fit best to what each word is `alone`.

    Every class of `together` comes to one word, in their order; a word may get none.
    """
    owner = [i for i, word in enumerate(alone) for _ in word]
    single = [c for word in alone for c in word]
    n, m = len(together), len(single)
    cost = np.full((n + 1, m + 1), np.inf)
    cost[0], cost[:, 0] = np.arange(m + 1) * LEFT_OUT, np.arange(n + 1) * LEFT_OUT
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            cost[i, j] = min(
                cost[i - 1, j - 1] + _difference(together[i - 1], single[j - 1]),
                cost[i - 1, j] + LEFT_OUT,
                cost[i, j - 1] + LEFT_OUT,
            )
    shares: list[list[str]] = [[] for _ in alone]
    i, j = n, m
    while i > 0:
        if j > 0 and cost[i, j] == cost[i - 1, j - 1] + _difference(together[i - 1], single[j - 1]):
            shares[owner[j - 1]].insert(0, together[i - 1])
            i, j = i - 1, j - 1
        elif j > 0 and cost[i, j] == cost[i, j - 1] + LEFT_OUT:
            j -= 1
        else:
            shares[owner[max(j - 1, 0)] if owner else 0].insert(0, together[i - 1])
            i -= 1
    return [tuple(s) for s in shares]


def _difference(a: str, b: str) -> float:
    if a == b:
        return 0.0
    return ALIKE if (a in VOWELS) == (b in VOWELS) else DIFFERENT


def readable(words: Iterable[ScriptWord]) -> str:
    """The words as a line of text, cut to some sixty letters."""
    text = " ".join(w.text for w in words)
    return text if len(text) <= 60 else f"{text[:57]}..."

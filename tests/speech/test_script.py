"""Scripts: text and subtitles that are read, what is refused, and phones by espeak-ng."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from visualdub.errors import BadInput
from visualdub.speech import script
from visualdub.speech.script import ScriptCue, divide, find_voice, read_cues, read_script

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs the program espeak-ng")
SRT = """1
00:00:01,500 --> 00:00:03,000
<i>Bonjour</i> Paul,
ça va ?

2
00:01:02,250 --> 00:01:04,000
- Oui &amp; non.
"""
VTT = """WEBVTT

NOTE nothing to read

first
00:01.500 --> 00:03.000 align:start
<v Anna>Bonjour</v>

01:00:00.000 --> 01:00:01.000
Paul.
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "script.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_text_is_read_by_sentences(tmp_path: Path) -> None:
    cues = read_cues(written(tmp_path, "\ufeffOne two. Three!\n\nFour\n"))
    assert cues == [ScriptCue("One two.", 1), ScriptCue("Three!", 1), ScriptCue("Four", 3)]


def test_subrip(tmp_path: Path) -> None:
    assert read_cues(written(tmp_path, SRT)) == [
        ScriptCue("Bonjour Paul, ça va ?", 2, 1.5, 3.0),
        ScriptCue("- Oui & non.", 7, 62.25, 64.0),
    ]


def test_webvtt(tmp_path: Path) -> None:
    assert read_cues(written(tmp_path, VTT)) == [
        ScriptCue("Bonjour", 6, 1.5, 3.0),
        ScriptCue("Paul.", 9, 3600.0, 3601.0),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"caf\xe9", "is not UTF-8 at byte 3"),
        (b"  \n", "says nothing"),
        (b"1\n00:00:03,000 --> 00:00:02,000\nNo\n", "line 2 has the times"),
    ],
)
def test_what_is_no_script(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "script.srt"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=rf"script\.srt.*{reason}"):
        read_cues(path)
    with pytest.raises(BadInput, match="cannot be read"):
        read_cues(tmp_path / "missing.txt")


def test_without_espeak_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="install espeak-ng, or give no --script"):
        read_script(written(tmp_path, "Hello"), "en")


def test_a_sentence_is_divided_among_its_words() -> None:
    """Words that are one in speech, a sound of liaison, and a word that is swallowed."""
    assert divide("ʌvðə", ["ʌv", "ði"]) == [("ʌ", "v"), ("ð", "ə")]
    assert divide("lezami", ["le", "ami"]) == [("l", "e", "z"), ("a", "m", "i")]
    assert divide("ab", ["a", "", "b"]) == [("a",), (), ("b",)]
    assert divide("", ["a"]) == [()]


@needs_espeak
def test_words_have_the_phones_of_their_sentence(tmp_path: Path) -> None:
    words = read_script(written(tmp_path, "Les amis ont un bateau."), "fr-FR").words
    assert [(w.text, "".join(w.classes)) for w in words] == [
        ("Les", "lez"),
        ("amis", "ami"),
        ("ont", "ɔt"),
        ("un", "ø"),
        ("bateau.", "bato"),
    ]


@needs_espeak
def test_languages() -> None:
    assert [find_voice(c) for c in ("fr_FR", "pt-BR", "zh")] == ["fr-fr", "pt-br", "zh"]
    for code in ("xx", "", "en;ls", "-v"):
        with pytest.raises(BadInput, match="--language"):
            find_voice(code)


@needs_espeak
def test_letters_that_are_not_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"script\.txt: line 2: espeak-ng does not read '世界'"):
        read_script(written(tmp_path, "こんにちは\n世界"), "ja")


@needs_espeak
def test_a_long_sentence_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "MOST_WORDS", 2)
    words = read_script(written(tmp_path, "one two three four five"), "en").words
    assert [w.text for w in words] == ["one", "two", "three", "four", "five"] and all(
        w.classes for w in words
    )

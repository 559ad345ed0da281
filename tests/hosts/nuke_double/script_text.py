"""The text of a Nuke script, `.nk`: commands of Tcl words, read and written. Python 3.7."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CLOSING = {"{": "}", '"': '"'}
SPECIAL = set(' \t\n{}[]"$\\;')
ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def commands(text: str) -> Iterator[list[str]]:
    """Every command of a script, as its words; braces and quotes are taken off the outermost level.

    Raises `ValueError` for a brace or quote that is not closed.
    """
    at = 0
    while at < len(text):
        words, at = _command(text, at)
        if words:
            yield words


def _command(text: str, at: int) -> tuple[list[str], int]:
    words: list[str] = []
    while at < len(text):
        c = text[at]
        if c in "\n;":
            return words, at + 1
        if c in " \t\r":
            at += 1
        elif c == "#" and not words:
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        else:
            word, at = _word(text, at)
            words.append(word)
    return words, at


def _word(text: str, at: int) -> tuple[str, int]:
    if text[at] == "{":
        return _braced(text, at)
    if text[at] == "[":
        end = text.find("]", at)
        return text[at : end + 1], end + 1
    quoted = text[at] == '"'
    at += quoted
    out: list[str] = []
    while at < len(text):
        c = text[at]
        if c == "\\" and at + 1 < len(text):
            out.append(ESCAPES.get(text[at + 1], text[at + 1]))
            at += 2
            continue
        if quoted and c == '"':
            return "".join(out), at + 1
        if not quoted and c in " \t\r\n;":
            break
        out.append(c)
        at += 1
    if quoted:
        raise ValueError("a quote is not closed")
    return "".join(out), at


def _braced(text: str, at: int) -> tuple[str, int]:
    depth, start = 0, at
    while at < len(text):
        c = text[at]
        if c == "\\":
            at += 2
            continue
        depth += (c == "{") - (c == "}")
        at += 1
        if depth == 0:
            return text[start + 1 : at - 1], at
    raise ValueError("a brace is not closed")


def quote(word: str) -> str:
    """A word as it stands in a script."""
    if word and not SPECIAL & set(word) and not word.startswith("#"):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + escaped.replace("[", "\\[").replace("$", "\\$").replace("{", "\\{").replace("}", "\\}") + '"'

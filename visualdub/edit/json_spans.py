"""Where the values of a JSON text stand, so that some can be changed and every other byte stays."""

from __future__ import annotations

import json
import re
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from visualdub.errors import BadInput

_SPACE = re.compile(rb"[ \t\r\n]*")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\]}]+")
_PLAIN, _QUOTED = rb'[^"\[\]{}]*+', rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_NEXT_BRACKET = re.compile(_PLAIN + rb"(?:" + _QUOTED + _PLAIN + rb")*+([\[\]{}])", re.DOTALL)
_INDENT = "    "


@dataclass(frozen=True)
class Member:
    """One `"key": value` of an object, as byte offsets, half open."""

    key: str
    key_start: int
    key_end: int
    start: int  # of the value
    end: int


@dataclass(frozen=True)
class Change:
    """Bytes `start` to `end` become `text`."""

    start: int
    end: int
    text: bytes


@dataclass
class JsonText:
    """A JSON text whose objects and arrays are looked into one by one."""

    text: bytes
    _members: dict[int, list[Member]] = field(default_factory=dict)
    _elements: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    _opens: array[int] = field(default_factory=lambda: array("q"))  # of every bracket, in order
    _ends: array[int] = field(default_factory=lambda: array("q"))  # where what each opens ends; 0: nowhere

    @property
    def root(self) -> int:
        """Where the outermost value starts."""
        return self._space(3 if self.text.startswith(b"\xef\xbb\xbf") else 0)

    @property
    def newline(self) -> str:
        """How its lines end."""
        first = self.text.find(b"\n")
        return "\r\n" if first > 0 and self.text[first - 1 : first] == b"\r" else "\n"

    def members(self, at: int) -> dict[str, Member]:
        """The members of the object at `at`, the last of a key that is there twice; none for other values."""
        if at not in self._members:
            self._members[at] = self._read_members(at) if self.text[at : at + 1] == b"{" else []
        return {m.key: m for m in self._members[at]}

    def elements(self, at: int) -> list[tuple[int, int]]:
        """The values of the array at `at`, each its bytes. Empty for other values."""
        if at not in self._elements:
            self._elements[at] = self._read_elements(at) if self.text[at : at + 1] == b"[" else []
        return self._elements[at]

    def find(self, path: Sequence[str | int]) -> int:
        """Where the value at a path of keys and indices starts. Raises `BadInput` where there is none."""
        at = self.root
        for step in path:
            try:
                at = self.members(at)[step].start if isinstance(step, str) else self.elements(at)[step][0]
            except (KeyError, IndexError):
                raise BadInput(f"the edit's text has no value at {'/'.join(map(str, path))}") from None
        return at

    def value(self, start: int, end: int) -> Any:
        """The value in some bytes."""
        return json.loads(self.text[start:end])

    def end_of(self, at: int) -> int:
        """Where the value that starts at `at` ends. Raises `BadInput` for a text that is cut off."""
        first = self.text[at : at + 1]
        if first in (b"{", b"["):
            if not self._opens:
                self._find_brackets()
            i = bisect_left(self._opens, at)
            if i < len(self._opens) and self._opens[i] == at and self._ends[i]:
                return self._ends[i]
            raise BadInput("the edit's text ends inside a bracket")
        found = (_STRING if first == b'"' else _SCALAR).match(self.text, at)
        if found is None:
            raise BadInput(f"the edit's text holds no value at byte {at}")
        return found.end()

    def _find_brackets(self) -> None:
        """Find where every bracket of the text ends, in one pass over it."""
        inside: list[int] = []
        for found in _NEXT_BRACKET.finditer(self.text):
            if found.group(1) in (b"{", b"["):
                inside.append(len(self._opens))
                self._opens.append(found.start(1))
                self._ends.append(0)
            elif inside:
                self._ends[inside.pop()] = found.end(1)

    def indent_at(self, at: int) -> str | None:
        """The white space that the line of `at` begins with; None for a text on one line."""
        line = self.text.rfind(b"\n", 0, at)
        if line < 0:
            return None
        found = re.compile(rb"[ \t]*").match(self.text, line + 1)
        return found.group().decode() if found else ""

    def rendered(self, value: Any, at: int) -> bytes:
        """`value` as JSON, its lines as far in as that of `at`."""
        indent = self.indent_at(at)
        if indent is None:
            return json.dumps(value, ensure_ascii=False).encode()
        lines = json.dumps(value, indent=_INDENT, ensure_ascii=False).splitlines()
        return (self.newline + indent).join(lines).encode()

    def _space(self, at: int) -> int:
        found = _SPACE.match(self.text, at)
        return found.end() if found else at

    def _read_members(self, at: int) -> list[Member]:
        found = []
        at = self._space(at + 1)
        while self.text[at : at + 1] == b'"':
            key_end = self.end_of(at)
            start = self._space(self._space(key_end) + 1)  # past the colon
            end = self.end_of(start)
            found.append(Member(json.loads(self.text[at:key_end]), at, key_end, start, end))
            at = self._space(end)
            if self.text[at : at + 1] == b",":
                at = self._space(at + 1)
        return found

    def _read_elements(self, at: int) -> list[tuple[int, int]]:
        found = []
        at = self._space(at + 1)
        while self.text[at : at + 1] not in (b"]", b""):
            end = self.end_of(at)
            found.append((at, end))
            at = self._space(end)
            if self.text[at : at + 1] == b",":
                at = self._space(at + 1)
        return found


def changed(text: bytes, changes: Sequence[Change]) -> bytes:
    """`text` with all changes made, no two of which may overlap."""
    parts, at = [], 0
    for change in sorted(changes, key=lambda c: (c.start, c.end)):
        if change.start < at:
            raise ValueError(f"two changes meet at byte {change.start}")
        parts += [text[at : change.start], change.text]
        at = change.end
    return b"".join([*parts, text[at:]])

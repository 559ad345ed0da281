"""Dubbed frames on disk: a folder for each version, whole under its name or not there.

A version holds numbered pictures, by the number of the frame in its clip, and a record. It is never changed:
a dub that comes out differently is another version.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from plugin_nuke.errors import NoFrames
from plugin_nuke.png import Generated, png_of

RECORD, SCHEMA = "dub.json", 1
PATTERN = "dub.%06d.png"
_NAME = re.compile(r"v(\d{3,})")
_PARTIAL = ".partial-"
STALE_S = 86400.0  # age of an unfinished version whose host was killed
TRIES = 100  # names that may be taken by others at the same moment


@dataclass(frozen=True)
class Version:
    """One version of a dub, as its record has it."""

    number: int
    folder: str
    first: int  # frame of the clip
    last: int  # inclusive
    width: int
    height: int
    bits: int  # of a sample
    drawn: int  # frames that the dub changes
    keys: tuple[str, ...]  # of each frame; equal keys are equal pixels
    asked: dict[str, Any]  # what the service was asked for
    notes: tuple[str, ...] = ()  # of the service, and why frames passed through

    @property
    def pattern(self) -> str:
        """The pictures' path with a place for the number, as a Read takes it."""
        return f"{self.folder.replace(os.sep, '/')}/{PATTERN}"

    def path(self, number: int) -> str:
        """Where the picture of frame `number` of the clip lies."""
        return os.path.join(self.folder, PATTERN % number)

    def missing(self) -> list[int]:
        """The frames whose picture is gone."""
        return [n for n in range(self.first, self.last + 1) if not os.path.isfile(self.path(n))]


def version_numbers(cache: str) -> list[int]:
    """The versions in the folder `cache`, ascending; none where it is missing."""
    try:
        names = os.listdir(cache)
    except OSError:
        return []
    found = (_NAME.fullmatch(n) for n in names)
    return sorted(
        int(m.group(1)) for m in found if m and os.path.isfile(os.path.join(cache, m.group(), RECORD))
    )


def version_folder(cache: str, number: int) -> str:
    """Where a version lies or would lie."""
    return os.path.join(cache, f"v{number:03d}")


def read_version(cache: str, number: int) -> Version:
    """A version of `cache`. Raises `NoFrames` where there is none, or one whose record cannot be read."""
    folder = version_folder(cache, number)
    path = os.path.join(folder, RECORD)
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
        if values.pop("schema") != SCHEMA:
            raise NoFrames(f"{path} was written by another version of Visual Dub; dub again")
        lists = {name: tuple(values[name]) for name in ("keys", "notes")}
        return Version(**dict(values, number=number, folder=folder, **lists))
    except OSError as e:
        have = ", ".join(map(str, version_numbers(cache))) or "none"
        raise NoFrames(f"there is no version {number} in {cache}, there are: {have}; press Dub") from e
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise NoFrames(f"{path} is no record of a dub ({e}); dub again") from e


class NewVersion:
    """A version that is being written; a context manager. Without `finish` nothing is left of it."""

    def __init__(self, cache: str) -> None:
        self.cache = cache
        os.makedirs(cache, exist_ok=True)
        _remove_stale(cache)
        self.folder = os.path.join(cache, _PARTIAL + secrets.token_hex(8))
        os.mkdir(self.folder)  # not by tempfile: others of the show read it, too
        self._keys: dict[int, str] = {}
        self._drawn, self._shape = 0, (0, 0, 8)

    def __enter__(self) -> NewVersion:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, number: int, key: str, picture: Generated, drawn: bool) -> None:
        """Write frame `number` of the clip."""
        with open(os.path.join(self.folder, PATTERN % number), "wb") as file:
            file.write(png_of(picture))
        self._keys[number] = key
        self._drawn += drawn
        self._shape = (picture.width, picture.height, picture.bits)

    def finish(self, asked: dict[str, Any], notes: tuple[str, ...]) -> Version:
        """Give what was added its name, the next free one; an older version with the same pixels is given in
        its place.
        """
        numbers = sorted(self._keys)
        keys = tuple(self._keys[n] for n in numbers)
        for number in reversed(version_numbers(self.cache)):
            same = read_version(self.cache, number)
            if (same.first, same.keys) == (numbers[0], keys) and not same.missing():
                return same
        width, height, bits = self._shape
        number, folder = self._free()
        made = Version(
            number, folder, numbers[0], numbers[-1], width, height, bits, self._drawn, keys, asked, notes
        )
        values = {k: v for k, v in asdict(made).items() if k not in ("number", "folder")}
        with open(os.path.join(self.folder, RECORD), "w", encoding="utf-8") as file:
            json.dump(dict(values, schema=SCHEMA), file, indent=1)
        for _ in range(TRIES):
            try:
                os.rename(self.folder, made.folder)
                return made
            except OSError:
                if not os.path.exists(made.folder):
                    raise
                number, folder = self._free()
                made = Version(**dict(asdict(made), number=number, folder=folder))
        raise NoFrames(f"{self.cache} takes no new version; look at who else writes there")

    def _free(self) -> tuple[int, str]:
        number = max(version_numbers(self.cache), default=0) + 1
        while os.path.exists(version_folder(self.cache, number)):
            number += 1
        return number, version_folder(self.cache, number)


def _remove_stale(cache: str) -> None:
    """Remove what hosts left that were killed a day ago or more."""
    for name in os.listdir(cache):
        path = os.path.join(cache, name)
        if name.startswith(_PARTIAL) and time.time() - os.path.getmtime(path) > STALE_S:
            shutil.rmtree(path, ignore_errors=True)

"""What is written into a user's folders for a host, written and taken away again.

Only files of ours are ever replaced or removed: a record beside them says which these are, by hash. A line
added to a file of the user's is taken out again and no other byte of it changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visualdub.errors import BadInput, OutputError
from visualdub.install.system import System
from visualdub.storage import atomic_path, write_json

RECORD_VERSION = 1
MARK = "# added by vdub install"  # at the end of a line of ours in a file of the user's


@dataclass(frozen=True)
class AddedLine:
    """One line of Python in a file of the user's, which is made where it is missing."""

    path: Path
    text: str  # without the mark and without a line end

    @property
    def marked(self) -> str:
        """The line as it stands in the file, without a line end."""
        return f"{self.text}  {MARK}"


@dataclass(frozen=True)
class Installation:
    """What one host gets."""

    host: str  # resolve, nuke, ...
    title: str  # as its maker writes it
    files: Mapping[Path, bytes]
    lines: Sequence[AddedLine] = ()
    hints: Sequence[str] = ()  # what the user does next, a sentence each


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. ok: False: it will not work; None: only for information."""

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True)
class Step:
    """One thing done, or to be done. what: write, keep, remove, add a line to, take our line out of."""

    what: str
    path: Path

    def __str__(self) -> str:
        return f"{self.what} {self.path}"


# ---- the record --------------------------------------------------------------------------------------------


def record_path(system: System, host: str) -> Path:
    """Where it is kept what was installed into `host`."""
    return system.ours / f"{host}.json"


def read_record(system: System, host: str) -> dict[str, Any] | None:
    """What was installed: `files` (path -> SHA-256) and `lines` ([path, line, whether the file was made]).

    None where nothing is installed. Raises `BadInput` for a file that is no such record.
    """
    path = record_path(system, host)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as e:
        raise OutputError(f"{path} cannot be read: {e.strerror or e}") from e
    with contextlib.suppress(ValueError, TypeError, KeyError):
        values = json.loads(text)
        if values["version"] == RECORD_VERSION and all(
            isinstance(k, str) and isinstance(v, str) for k, v in values["files"].items()
        ):
            for _, _, _ in values["lines"]:
                pass
            return dict(values)
    raise BadInput(f"{path} is no record of vdub install; move it away and install again")


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _content(path: Path) -> bytes | None:
    """The bytes of a file; None where it is missing. Raises `OutputError` where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as e:
        raise OutputError(f"{path} cannot be read: {e.strerror or e}") from e


# ---- install -----------------------------------------------------------------------------------------------


def install(system: System, wanted: Installation, dry_run: bool = False) -> list[Step]:
    """Write what `wanted` lists and remove what an earlier version of ours left; the steps that were taken.

    Raises `BadInput` where a file of that name is not ours, or ours and edited since. dry_run: only say it.
    """
    before = read_record(system, wanted.host) or {"files": {}, "lines": []}
    known: dict[str, str] = before["files"]
    for path, content in wanted.files.items():
        there = _content(path)
        if there is not None and there != content and _hash(there) != known.get(str(path)):
            raise BadInput(f"{path} is there and is not what vdub install wrote; move it away first")
    gone = [Path(p) for p in known if Path(p) not in wanted.files]
    steps = [Step("keep" if _content(p) == c else "write", p) for p, c in wanted.files.items()]
    old = [AddedLine(Path(p), line) for p, line, _ in before["lines"]]
    kept_lines = {(line.path, line.marked) for line in wanted.lines}
    dropped = [a for a in old if (a.path, a.text) not in kept_lines]
    steps += [Step("take our line out of", a.path) for a in dropped]
    steps += [Step("keep our line in" if _has_line(a) else "add a line to", a.path) for a in wanted.lines]
    ours_gone = [p for p in gone if (there := _content(p)) is not None and _hash(there) == known[str(p)]]
    steps += [Step("remove", p) for p in ours_gone]
    if dry_run:
        return steps
    made = {p: was_made for p, _, was_made in before["lines"]}
    for line in dropped:
        _take_out(line.path, line.text, bool(made.get(str(line.path))))
    lines = [
        [str(a.path), a.marked, bool(made.get(str(a.path))) or not a.path.exists()] for a in wanted.lines
    ]
    # the record first: whatever is written after it can be taken away again
    hashes = {str(p): _hash(c) for p, c in wanted.files.items()}
    record = {"version": RECORD_VERSION, "host": wanted.host, "files": {**known, **hashes}, "lines": lines}
    _write_record(system, wanted.host, record)
    for path, content in wanted.files.items():
        if _content(path) != content:
            _write(path, content)
    for added in wanted.lines:
        _add(added)
    for path in ours_gone:
        path.unlink(missing_ok=True)
    _write_record(system, wanted.host, {**record, "files": hashes})
    return steps


def _write_record(system: System, host: str, record: dict[str, Any]) -> None:
    path = record_path(system, host)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)


def _write(path: Path, content: bytes) -> None:
    path = Path(os.path.realpath(path))  # a link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


# ---- uninstall ---------------------------------------------------------------------------------------------


def uninstall(system: System, host: str, dry_run: bool = False) -> list[Step]:
    """Take away what was installed; the steps that were taken. A file that was edited since stays, and its
    step says so. Raises `BadInput` where nothing is installed.
    """
    record = read_record(system, host)
    if record is None:
        raise BadInput(f"Visual Dub is not installed in {host}: there is no {record_path(system, host)}")
    steps, removed = [], []
    for name, digest in record["files"].items():
        content = _content(Path(name))
        if content is None:
            continue
        if _hash(content) == digest:
            removed.append(Path(name))
            steps.append(Step("remove", Path(name)))
        else:
            steps.append(Step("leave, it was edited since:", Path(name)))
    steps += [
        Step("take our line out of", Path(p)) for p, line, _ in record["lines"] if _lines(Path(p), line)
    ]
    if dry_run:
        return steps
    for path, line, was_made in record["lines"]:
        _take_out(Path(path), line, was_made)
    for file in removed:
        file.unlink(missing_ok=True)
        _remove_empty(system, file.parent)
    record_path(system, host).unlink()
    _remove_empty(system, record_path(system, host).parent)
    return steps


def _remove_empty(system: System, folder: Path) -> None:
    """Remove the empty folders of ours from `folder` upwards; what Python compiled in them goes with them."""
    own = system.ours
    while folder == own or own in folder.parents:
        try:
            if all(f.name == "__pycache__" for f in folder.iterdir()):
                shutil.rmtree(folder / "__pycache__", ignore_errors=True)
            folder.rmdir()
        except OSError:  # something else lies in it
            return
        folder = folder.parent


# ---- lines in files of the user's --------------------------------------------------------------------------


def _lines(path: Path, line: str) -> int:
    """How often `line` stands in the file at `path`."""
    content = _content(path) or b""
    return sum(found == line.encode() for found in content.splitlines())


def _has_line(added: AddedLine) -> bool:
    return _lines(added.path, added.marked) > 0


def _add(added: AddedLine) -> None:
    """Add our line at the end of the file, once."""
    if _has_line(added):
        return
    content = _content(added.path) or b""
    end = b"\r\n" if b"\r\n" in content else b"\n"
    # a last line without an end gets one that is part of what we add, and is taken away with it
    gap = end if content and not content.endswith(b"\n") else b""
    _write(added.path, content + gap + added.marked.encode() + (b"" if gap else end))


def _take_out(path: Path, line: str, was_made: bool) -> None:
    """Take our line out of the file; where we made the file and nothing else is in it, remove the file."""
    content = _content(path)
    if content is None:
        return
    pieces = content.splitlines(keepends=True)
    left: list[bytes] = []
    for piece in pieces:
        if piece.rstrip(b"\r\n") != line.encode():
            left.append(piece)
        elif not piece.endswith(b"\n") and left:  # it was put behind a last line without an end
            left[-1] = left[-1].rstrip(b"\r\n")
    rest = b"".join(left)
    if was_made and not rest.strip():
        path.unlink()
    elif rest != content:
        _write(path, rest)


# ---- doctor ------------------------------------------------------------------------------------------------


def examine_files(system: System, wanted: Installation) -> list[Check]:
    """Whether what is installed is there and is of this version."""
    record = read_record(system, wanted.host)
    name, again = f"Visual Dub in {wanted.title}", f"vdub install {wanted.host}"
    if record is None:
        return [Check(name, False, f"not installed; {again}")]
    missing = [p for p in record["files"] if _content(Path(p)) is None]
    missing += [p for p, line, _ in record["lines"] if not _lines(Path(p), line)]
    if missing:
        return [Check(name, False, f"{missing[0]} is gone or has lost our line; {again}")]
    if record["files"] != {str(p): _hash(c) for p, c in wanted.files.items()}:
        return [Check(name, False, f"installed by another version of Visual Dub; {again}")]
    return [Check(name, True, f"{len(record['files'])} files")]

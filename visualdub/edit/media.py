"""The media of an edit: what a reference names, where the file lies now, and how many frames it has."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import unquote, urlsplit

from visualdub.errors import BadInput
from visualdub.media.frame import ClipInfo
from visualdub.media.source import probe
from visualdub.stages import Progress
from visualdub.storage import atomic_path

STILLS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".psd", ".tga", ".webp")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_TIMECODE = re.compile(r"(\d\d):(\d\d):(\d\d)[:;.](\d\d+)")
Permit = Callable[[Path], Path]


def anything(path: Path) -> Path:
    """Permits every path."""
    return path


@dataclass(frozen=True)
class Media:
    """What a reference stands for: a clip that can be read, or why there is none."""

    path: Path | None = None
    info: ClipInfo | None = None
    problem: str | None = None
    note: str | None = None


@dataclass
class MediaFinder:
    """Finds and probes the media of an edit, each file once."""

    edit: Path
    folders: tuple[Path, ...] = ()  # searched, with all below them, for files that moved
    bundle: Path | None = None  # where the media of an .otioz lie unpacked
    progress: Progress | None = None
    permit: Permit = anything  # raises `BadInput` for a path that may not be read
    _found: dict[tuple[str, float | None], Media] = field(default_factory=dict)
    _index: dict[str, list[Path]] | None = None

    def find(self, reference: Mapping[str, Any] | None) -> Media:
        """The media of a reference as `otio_file` prints it."""
        if reference is None:
            return Media(problem="its active media reference is missing")
        kind = reference["kind"]
        if kind == "missing":
            return Media(problem="it has no media")
        if kind == "generator":
            return Media(problem=f"it is a {reference['generator'] or 'generator'}, not footage")
        url = reference["url"] if kind == "external" else sequence_url(reference)
        if Path(url).suffix.lower() in STILLS and kind == "external":
            return Media(problem=f"{name_of(url)} is a still picture")
        avail = reference.get("avail")
        first_s = avail[0] / avail[2] if avail and None not in avail and avail[2] > 0 else None
        key = url, first_s
        if key not in self._found:
            self._found[key] = self._probe(url, first_s)
        return self._found[key]

    def _probe(self, url: str, first_s: float | None) -> Media:
        try:
            path = path_of(url, self.bundle or self.edit.parent)
        except BadInput as e:
            return Media(problem=str(e))
        note = None
        if not path.exists() and "%" not in path.name:
            moved = self._moved(name_of(url), first_s)
            if isinstance(moved, str):
                return Media(problem=moved)
            path, note = moved, f"{name_of(url)} was found as {moved}"
        try:
            self.permit(path.parent if "%" in path.name else path)
            return Media(path, probe(path, self.progress), note=note)
        except BadInput as e:
            return Media(problem=str(e))

    def _moved(self, name: str, first_s: float | None) -> Path | str:
        """Where a file lies now, or why it is not found."""
        if self._index is None:
            self._index = {}
            for folder in self.folders:
                for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                    self._index.setdefault(path.name.lower(), []).append(path)
        candidates = self._index.get(name.lower(), [])
        if len(candidates) > 1 and first_s is not None:
            fitting = [p for p in candidates if _starts_at(p, first_s)]
            candidates = fitting or candidates
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            return (
                f"its media {name} are there {len(candidates)} times, with no timecode that tells them apart"
            )
        return f"its media {name} are missing"


def _starts_at(path: Path, first_s: float) -> bool:
    try:
        begins = timecode_s(probe(path))
    except BadInput:
        return False
    return begins is not None and abs(begins - first_s) < 0.5


def timecode_s(info: ClipInfo) -> float | None:
    """A clip's start timecode in seconds of its frames: frame number / rate. None where it has none."""
    found = _TIMECODE.fullmatch(info.timecode or "")
    if found is None:
        return None
    hours, minutes, seconds, frame = map(int, found.groups())
    fps = round(info.rate)
    number = ((hours * 60 + minutes) * 60 + seconds) * fps + frame
    if ";" in (info.timecode or "") and fps % 30 == 0:
        whole = hours * 60 + minutes
        number -= fps // 15 * (whole - whole // 10)
    return float(Fraction(number) / info.rate)


def sequence_url(reference: Mapping[str, Any]) -> str:
    """An image sequence as FFmpeg and others write it: its folder and `name.%04d.exr`."""
    base = reference["target_url_base"]
    slash = "" if not base or base.endswith("/") else "/"
    digits = f"%0{reference['pad']}d" if reference["pad"] else "%d"
    return f"{base}{slash}{reference['name_prefix']}{digits}{reference['name_suffix']}"


def is_relative(url: str) -> bool:
    """Whether a reference names a file by a path that depends on where its edit lies."""
    if _SCHEME.match(url) is not None:
        return False
    return not (PurePosixPath(url).is_absolute() or PureWindowsPath(url).is_absolute())


def path_of(url: str, folder: Path) -> Path:
    """The file that a reference names; a relative one lies in `folder`.

    A string without `scheme://` is a path, taken as it is, whatever `#` or `%` it holds. Raises `BadInput`
    for a scheme that names no file.
    """
    if _SCHEME.match(url) is None:
        return folder / url
    if not url.lower().startswith("file://"):
        raise BadInput(f"its media {url} are no file; expected a path or a file:// address")
    parts = urlsplit(url.replace("#", "%23").replace("?", "%3F"))
    path = unquote(parts.path)
    if re.match(r"/[A-Za-z]:[/\\]", path):
        path = path[1:]
    if parts.netloc and parts.netloc.lower() != "localhost":
        path = f"//{parts.netloc}{path}"
    return folder / path


def unpack(bundle: Path, folder: Path) -> None:
    """Write the media inside an .otioz below `folder`, where its edit names them. A file that is there with
    its size stays. Raises `BadInput` for a name that leads out of the folder, or a bundle that is cut off.
    """
    try:
        with zipfile.ZipFile(bundle) as packed:
            for entry in packed.infolist():
                place = PurePosixPath(entry.filename)
                if entry.is_dir() or place.parts[:1] != ("media",):
                    continue
                if ".." in place.parts or "\\" in entry.filename or ":" in entry.filename:
                    raise BadInput(f"{bundle} holds {entry.filename!r}, which leads out of its folder")
                target = folder.joinpath(*place.parts)
                if target.is_file() and target.stat().st_size == entry.file_size:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with (
                    atomic_path(target) as temporary,
                    packed.open(entry) as read,
                    temporary.open("wb") as out,
                ):
                    shutil.copyfileobj(read, out, 1 << 20)
    except zipfile.BadZipFile as e:
        raise BadInput(f"{bundle} is no whole bundle: {e}") from None


def name_of(url: str) -> str:
    """The file's name in a reference, whichever system's slashes it has."""
    text = unquote(url) if _SCHEME.match(url) else url
    return PureWindowsPath(text).name

"""Clips that somebody wants in a dataset: folders of clips, with or without a list, and who speaks in them.

In a folder of clips the speaker is, in this order: what the `clips.json` beside the clip says; the first
sub-folder the clip lies in; the clip's file name up to its last underscore and number (`anna_2.mp4` is
anna's, `anna.mp4` too).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from visualdub.errors import BadInput

LIST = "clips.json"
VIDEO = frozenset(
    (
        ".avi",
        ".flv",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".ogv",
        ".ts",
        ".webm",
        ".wmv",
    )
)


@dataclass(frozen=True)
class FaceArea:
    """The rectangle of a picture in which the centre of the wanted face lies."""

    x: int  # pixels of a picture `lines` high: left edge, top edge, extent
    y: int
    width: int
    height: int
    lines: (
        int | None
    )  # height of the picture it was measured in; None where that is not known: the clip's own

    def in_picture(self, height: int) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in pixels of a picture `height` pixels high."""
        scale = height / self.lines if self.lines else 1.0
        return self.x * scale, self.y * scale, (self.x + self.width) * scale, (self.y + self.height) * scale


@dataclass(frozen=True)
class Source:
    """One clip, or one passage of one."""

    path: Path
    label: str  # what reports call it
    name: str  # of its shard, without suffix; unique in a dataset
    speaker: str  # "" where nobody knows, and it is refused
    own_sound: bool = True  # False where the sound is not the person's
    seconds: tuple[int, int] | None = None  # passage of the clip, the end not included; None: all of it
    area: FaceArea | None = None  # where the face is; None: the face that is largest for longest
    refused: str = ""  # why it cannot be used, known before it is opened
    av_offset_ms: float | None = None  # how late a list says the picture is against the sound


def split_clip(text: str) -> tuple[Path, str | None]:
    """The clip and the frames in `CLIP@A:B`; None where `CLIP` names no frames."""
    head, at, tail = text.rpartition("@")
    if at and ":" in tail and not Path(text).exists():
        return Path(head), tail
    return Path(text), None


def find_sources(folders: Sequence[Path]) -> list[Source]:
    """The clips of all folders, sorted, each once, every `name` unique.

    A folder with HDTF's lists is read as HDTF. Raises `BadInput` for a folder that is missing or holds no
    clip, and for a list that cannot be read.
    """
    from training.data.hdtf import hdtf_lists, hdtf_sources

    found: dict[tuple[Path, tuple[int, int] | None], Source] = {}
    for folder in folders:
        if not folder.is_dir():
            raise BadInput(f"{folder} is not a folder; expected a folder of clips")
        lists = hdtf_lists(folder)
        sources = list(hdtf_sources(folder, lists) if lists else folder_sources(folder))
        if not sources:
            raise BadInput(f"{folder} holds no clips; expected files such as .mp4, .mov or .mkv")
        for source in sources:
            found.setdefault((source.path.resolve(), source.seconds), source)
    return _with_unique_names(sorted(found.values(), key=lambda s: (s.name, str(s.path))))


def folder_sources(folder: Path) -> Iterator[Source]:
    """The clips below `folder`. Raises `BadInput` for a list of clips that cannot be read."""
    listed: dict[Path, tuple[str, bool, float | None]] = {}
    for path in sorted(folder.rglob(LIST)):
        listed |= _read_list(path)
    for path in videos(folder):
        relative = path.relative_to(folder)
        speaker, own_sound, offset = listed.pop(path, (_speaker(relative), True, None))
        yield Source(path, relative.as_posix(), shard_name(relative), speaker, own_sound, av_offset_ms=offset)
    for path, (speaker, own_sound, _) in listed.items():
        relative = path.relative_to(folder)
        reason = (
            "is named in clips.json, but the file is missing"
            if not path.is_file()
            else "is no video by its suffix"
        )
        yield Source(path, relative.as_posix(), shard_name(relative), speaker, own_sound, refused=reason)


def videos(folder: Path) -> list[Path]:
    """Every file below `folder` that is a video by its suffix, sorted; hidden files are none."""
    return sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in VIDEO and not p.name.startswith(".") and p.is_file()
    )


def files_read(folders: Sequence[Path]) -> list[Path]:
    """The clips in `folders` and their lists: what a command that is given the folders reads."""
    return [p for folder in folders for p in (*videos(folder), *sorted(folder.rglob(LIST)))]


def shard_name(relative: Path) -> str:
    """A file name without suffix for the clip at `relative`: a/b.mp4 becomes a-b."""
    return re.sub(r"[^\w.-]+", "_", "-".join(relative.with_suffix("").parts))


def _speaker(relative: Path) -> str:
    return relative.parts[0] if len(relative.parts) > 1 else re.sub(r"(?<=.)_\d+$", "", relative.stem)


def _read_list(path: Path) -> dict[Path, tuple[str, bool, float | None]]:
    """Speaker, whether the sound is the speaker's own, and how many ms the picture is late against it, by
    clip.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
            raise TypeError("it is not a list of objects")
        return {
            path.parent / str(e["file"]): (
                str(e["speaker"]),
                e.get("speech", "original") == "original",
                None if e.get("av_offset_ms") is None else float(e["av_offset_ms"]),
            )
            for e in entries
        }
    except (OSError, ValueError, TypeError, KeyError) as e:  # ValueError: no UTF-8, no JSON, no number
        raise BadInput(
            f"{path} is not a list of clips, [{{file, speaker, speech, av_offset_ms}}, ...]: {e!r}"
        ) from e


def _with_unique_names(sources: list[Source]) -> list[Source]:
    """The same sources; those whose names are taken (two suffixes, two folders) get a number."""
    taken: set[str] = set()
    named = []
    for source in sources:
        name, number = source.name, 2
        while name.lower() in taken:  # some file systems know no capitals
            name, number = f"{source.name}-{number}", number + 1
        taken.add(name.lower())
        named.append(replace(source, name=name))
    return named

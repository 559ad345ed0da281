"""Clips to pack into a dataset, and who speaks in them: folders of clips, with or without a list.

In a folder of clips the speaker is the first of these that there is: the entry in the `clips.json` beside the
clip; the first sub-folder on the way to the clip; the clip's file name up to its last underscore and number
(`anna_2.mp4` is anna's, `anna.mp4` too).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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

    x: int  # left edge, pixels of a picture `lines` high
    y: int  # top edge
    width: int
    height: int
    lines: int | None  # height of the picture that was measured in; None: unknown, taken as the clip's height

    def in_picture(self, height: int) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in pixels of a picture `height` pixels high."""
        scale = height / self.lines if self.lines else 1.0
        return self.x * scale, self.y * scale, (self.x + self.width) * scale, (self.y + self.height) * scale


@dataclass(frozen=True)
class Source:
    """One clip, or an excerpt of one."""

    path: Path
    label: str  # its name in reports
    name: str  # of its shard, without suffix; unique in a dataset
    speaker: str  # "" where the speaker is not known; such a clip is refused
    speaker_audible: bool = True  # False where the sound is not the speaker's, as in a dubbed clip
    seconds: tuple[int, int] | None = None  # the excerpt, the end not included; None: the whole clip
    area: FaceArea | None = None  # where the face is; None: the face that is largest for longest
    refused: str = ""  # why the clip cannot be used, where that is known before it is opened
    av_offset_ms: float | None = None  # ms by which the audio leads the video, according to a list


def folder_sources(folder: Path) -> Iterator[Source]:
    """The clips below `folder`. Raises `BadInput` for a list of clips that cannot be read."""
    listed: dict[Path, tuple[str, bool, float | None]] = {}
    for path in sorted(folder.rglob(LIST)):
        listed |= _read_list(path)
    for path in videos(folder):
        relative = path.relative_to(folder)
        speaker, audible, offset = listed.pop(path, (_speaker(relative), True, None))
        yield Source(path, relative.as_posix(), shard_name(relative), speaker, audible, av_offset_ms=offset)
    for path, (speaker, audible, _) in listed.items():
        relative = path.relative_to(folder)
        reason = (
            "is named in clips.json, but the file is missing"
            if not path.is_file()
            else "is not a video by its suffix"
        )
        yield Source(path, relative.as_posix(), shard_name(relative), speaker, audible, refused=reason)


def videos(folder: Path) -> list[Path]:
    """Every file below `folder` that is a video by its suffix, sorted, without hidden files."""
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
    """The listed clips: speaker, whether the sound is the speaker's, and ms by which the audio leads the
    video.

    Raises `BadInput` where the list cannot be read.
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

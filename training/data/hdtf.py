"""HDTF as published (MRzzm/HDTF): a folder of videos and, in it or below it, text lists of the excerpts to
use.

Each part PART of HDTF (RD, WDA, WRA) comes with four lists. They have one line for each video or excerpt, its
words parted by spaces:

    PART_annotion_time.txt    Radio11.mp4 00:30-01:00 01:30-02:30    excerpts, minutes:seconds
    PART_crop_wh.txt          Radio11_1.mp4 557 478 0 478            the face in excerpt 1: left edge, width,
                                                                     top edge, height
    PART_resolution.txt       Radio11.mp4 720                        height in lines of the picture that was
                                                                     measured
    PART_video_url.txt        Radio11 https://www.youtube.com/watch?v=XtySvTwIOfw

The last two may be missing. Videos are found by name, with or without PART_ in front, under any suffix of a
video. WDA and WRA number the videos of a person (AmyKlobuchar0, AmyKlobuchar1): the speaker is the name
without that number. The names in RD are only numbers, so there every video is a speaker of its own. Names
that share a YouTube video are one speaker, under the first of the names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.data.sources import FaceArea, Source, shard_name, videos
from visualdub.errors import BadInput

TIMES, CROPS, LINES, ADDRESSES = "_annotion_time.txt", "_crop_wh.txt", "_resolution.txt", "_video_url.txt"
NUMBERED_ONLY = "RD"  # the part whose videos have numbers instead of people's names
EXCERPT = re.compile(r"(\d+):([0-5]\d)-(\d+):([0-5]\d)")


@dataclass(frozen=True)
class Video:
    """One video as the lists describe it."""

    part: str
    name: str
    excerpts: tuple[tuple[int, int], ...]  # start and end in seconds, the end not included
    crops: dict[
        int, tuple[int, int, int, int]
    ]  # by number of the excerpt: left, width, top, height in pixels
    lines: int | None  # height of the picture in which the crops were measured
    address: str  # YouTube's id; "" where it is not listed


def hdtf_lists(folder: Path) -> list[Path]:
    """The lists of times below `folder`; none where it is not HDTF."""
    return sorted(folder.rglob(f"*{TIMES}"))


def hdtf_sources(folder: Path, lists: list[Path]) -> Iterator[Source]:
    """Every annotated excerpt as a source; without video, times or crop it is refused, and so are videos that
    no list names.

    Raises `BadInput` for a list that is missing, unreadable or of another form.
    """
    listed = [video for path in lists for video in read_part(path)]
    speakers = _speakers(listed)
    present = videos(folder)
    files = {p.stem: p for p in reversed(present)}
    used: set[Path] = set()
    for video in listed:
        path = files.get(f"{video.part}_{video.name}") or files.get(video.name)
        used |= {path} if path else set()
        yield from _excerpt_sources(video, path, folder, speakers[video.part, video.name])
    for path in present:
        if path not in used:
            relative = path.relative_to(folder)
            yield Source(
                path,
                relative.as_posix(),
                shard_name(relative),
                "",
                refused="no list of times names this file",
            )


def read_part(times: Path) -> list[Video]:
    """The videos of one part, from its list of times and the lists beside it.

    Raises `BadInput` where a list cannot be read or a line is of another form.
    """
    part = times.name.removesuffix(TIMES)
    excerpts = {
        k: tuple(_excerpt(times, v) for v in values) for k, values in _rows(times, required=True).items()
    }
    crops = {
        k: _numbers(times.with_name(part + CROPS), v, 4)
        for k, v in _rows(times.with_name(part + CROPS), True).items()
    }
    lines = {
        k: _numbers(times.with_name(part + LINES), v, 1)[0]
        for k, v in _rows(times.with_name(part + LINES), False).items()
    }
    addresses = {k: _address(v) for k, v in _rows(times.with_name(part + ADDRESSES), False).items()}
    videos_of_part = []
    for name in sorted({*excerpts, *addresses}):
        spans = excerpts.get(name, ())
        faces = {i: (c[0], c[1], c[2], c[3]) for i in range(len(spans)) if (c := crops.get(f"{name}_{i}"))}
        videos_of_part.append(
            Video(part, name, spans, faces, lines.get(name) or None, addresses.get(name, ""))
        )
    return videos_of_part


def _excerpt_sources(video: Video, path: Path | None, folder: Path, speaker: str) -> Iterator[Source]:
    where = path or folder / f"{video.name}.mp4"
    if not video.excerpts:
        yield Source(
            where, video.name, video.name, speaker, refused="the list of times names no excerpt of this video"
        )
    for i, (start, end) in enumerate(video.excerpts):
        label = f"{video.name}_{i} ({start // 60:02d}:{start % 60:02d}-{end // 60:02d}:{end % 60:02d})"
        crop = video.crops.get(i)
        reason, area = "", None
        if path is None:
            reason = f"no video {video.name} is in the folder"
        elif start >= end:
            reason = "the excerpt ends before it begins"
        elif crop is None:
            reason = "the list of crops has no face for this excerpt"
        else:
            area = FaceArea(crop[0], crop[2], crop[1], crop[3], video.lines)
        yield Source(where, label, f"{video.name}_{i}", speaker, True, (start, end), area, reason)


def _speakers(listed: list[Video]) -> dict[tuple[str, str], str]:
    """The speaker of each part and name; people who share a YouTube video are one."""
    people = {
        (v.part, v.name): v.name if v.part == NUMBERED_ONLY else v.name.rstrip("0123456789") or v.name
        for v in listed
    }
    groups: dict[str, set[str]] = {person: {person} for person in people.values()}
    owner: dict[str, str] = {}
    for video in listed:
        person = people[video.part, video.name]
        other = owner.setdefault(video.address, person) if video.address else person
        together = groups[person] | groups[other]
        groups |= dict.fromkeys(together, together)
    return {key: min(groups[person]) for key, person in people.items()}


# ---- lines -------------------------------------------------------------------------------------------------


def _rows(path: Path, required: bool) -> dict[str, list[str]]:
    """The words after the first of each line, by that first word without `.mp4`."""
    if not required and not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise BadInput(f"{path} cannot be read: {e}; expected a list of HDTF") from e
    return {words[0].removesuffix(".mp4"): words[1:] for line in lines if (words := line.split())}


def _excerpt(path: Path, text: str) -> tuple[int, int]:
    match = EXCERPT.fullmatch(text)
    if match is None:
        raise BadInput(
            f"{path}: {text!r} is not an excerpt; expected minutes and seconds such as 00:30-01:00"
        )
    a, b, c, d = (int(g) for g in match.groups())
    return 60 * a + b, 60 * c + d


def _numbers(path: Path, values: list[str], count: int) -> tuple[int, ...]:
    if len(values) != count or not all(v.isdigit() for v in values):
        raise BadInput(
            f"{path}: {' '.join(values)!r} follows a name; expected {count} whole"
            f" number{'s' if count > 1 else ''}"
        )
    return tuple(int(v) for v in values)


def _address(values: list[str]) -> str:
    match = re.search(r"[?&]v=([\w-]+)", " ".join(values))
    return match.group(1) if match else ""

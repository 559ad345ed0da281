"""One report of a dubbed edit: JSON, a page with a picture of every shot, and a contact sheet of them."""

from __future__ import annotations

import html
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from visualdub.edit.plan import BAKE, KEEP, EditPlan, PlannedShot
from visualdub.edit.sheet import dubbed_picture, kept_picture, save_picture, save_sheet
from visualdub.errors import BadInput
from visualdub.storage import write_json, write_text

REPORT_SUFFIX, PAGE_SUFFIX, SHEET_SUFFIX = ".report.json", ".report.html", ".sheet.jpg"
PICTURES = "pictures"  # the folder of one picture a shot, beside the dubbed edit
_TEMPLATE = Path(__file__).with_name("report.html")


@dataclass(frozen=True)
class ShotMade:
    """What became of a shot, for the report."""

    shot: PlannedShot
    picture: Path  # where its picture lies or is to lie
    movie: Path | None = None
    reason: str = ""  # of a shot that is not dubbed
    drawn: int = 0
    notes: tuple[str, ...] = ()
    ready: Path | None = None  # a picture that was made where its media lie, of a shot that is kept


def report_files(edit: Path) -> list[Path]:
    """The files of the report of a dubbed edit, its pictures of shots apart."""
    return [edit.with_name(edit.name + suffix) for suffix in (REPORT_SUFFIX, PAGE_SUFFIX, SHEET_SUFFIX)]


def write_edit_report(
    plan: EditPlan,
    shots: Sequence[ShotMade],
    edit: Path,
    shown: Callable[[Path], PurePath] = lambda path: path,
) -> None:
    """Write the report of a dubbed edit beside it. A shot whose frames cannot be read has no picture. shown:
    gives a path as the report names it. Raises `OutputError` where a file cannot be written.
    """
    as_json, page, sheet = report_files(edit)
    report, pictures = plan.as_dict(), list[Path | None]()
    for entry, made in zip(report["shots"], shots, strict=True):
        entry["output"] = None if made.movie is None else str(shown(made.movie))
        entry["drawn"] = made.drawn
        entry["notes"] += made.notes
        if made.movie is None:
            entry["action"], entry["reason"] = KEEP, made.reason
        picture = write_picture(made, picture_line(plan, made.shot, entry["action"]))
        entry["picture"] = None if picture is None else str(shown(picture))
        pictures.append(picture)
    if any(pictures):
        save_sheet([p for p in pictures if p is not None], sheet)
    write_json(as_json, {"output": str(shown(edit)), **report})
    write_page(plan, report, [p and p.relative_to(edit.parent) for p in pictures], page)


def picture_line(plan: EditPlan, shot: PlannedShot, action: str) -> str:
    """Where a shot begins and what becomes of it, as its picture says."""
    return f"{plan.timecode(shot.timeline[0])}  {action}"


def write_picture(made: ShotMade, place: str) -> Path | None:
    """The picture of a shot, which is kept where it is newer than the shot's movie; None where its frames
    cannot be read.
    """
    shot, source = made.shot, made.shot.media.path
    text = f"{shot.number:04d} {shot.clip.name}  {place}"
    if made.movie is not None and is_newer(made.picture, made.movie):
        return made.picture
    if made.ready is not None:
        shutil.copyfile(made.ready, made.picture)
        return made.picture
    try:
        if made.movie is not None and source is not None:
            picture = dubbed_picture(source, made.movie, source_numbers(shot), text)
        else:
            middle = 0 if shot.frames is None else shot.frames.start + len(shot.frames) // 2
            seen = source if shot.media.info is not None and shot.frames is not None else None
            picture = kept_picture(seen, middle, f"{text}: {made.reason}")
    except BadInput:
        return None
    save_picture(picture, made.picture)
    return made.picture


def is_newer(made: Path, source: Path) -> bool:
    """Whether a file is there and was written after another."""
    return made.is_file() and made.stat().st_mtime_ns > source.stat().st_mtime_ns


def source_numbers(shot: PlannedShot) -> Sequence[int]:
    """The source frame behind each frame of a shot's dubbed movie."""
    assert shot.frames is not None and shot.map is not None
    if shot.action != BAKE:
        return range(shot.frames.start, shot.frames.end_exclusive)
    low, high = shot.timeline
    return shot.map.frames(low - shot.clip.start, high - shot.clip.start)


# ---- the page ----------------------------------------------------------------------------------------------


def write_page(plan: EditPlan, report: dict[str, Any], pictures: Sequence[Path | None], page: Path) -> None:
    """Write the report as a page. pictures: of each shot, from the folder of the page; None without one."""
    dubbed = sum(entry["output"] is not None for entry in report["shots"])
    drawn = sum(entry["drawn"] for entry in report["shots"])
    language = f" in {plan.language}" if plan.language else ""
    values = {
        "title": html.escape(f"{plan.edit.name}{language}"),
        "summary": (
            f"{plan.edit.frame_count} frames at {float(plan.edit.rate):.6g} frames/s; {len(plan.shots)}"
            f" clips, {dubbed} of them dubbed, {drawn} frames redrawn."
        ),
        "sheet": quote(page.name.removesuffix(PAGE_SUFFIX) + SHEET_SUFFIX),
        "notes": _listed(report["notes"]),
        "rows": "\n".join(
            _row(plan, shot, entry, picture)
            for shot, entry, picture in zip(plan.shots, report["shots"], pictures, strict=True)
        ),
    }
    text = _TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    write_text(page, text)


def _row(plan: EditPlan, shot: PlannedShot, entry: dict[str, Any], picture: Path | None) -> str:
    """One shot as a row of the page's table."""
    said = [
        f"{name_of_speaker(who['actor'])}: {Path(cue['recording']).name} from {cue['in_point_s']:.2f} s"
        for who in entry["speaking"]
        for cue in who["cues"]
    ]
    speed = f" x{entry['speed']:g}" if entry["speed"] not in (None, 1.0) else ""
    what = html.escape(": ".join(filter(None, (entry["action"], entry["reason"]))))
    cells = [
        str(entry["number"]),
        plan.timecode(shot.timeline[0]),
        html.escape(f"{entry['track']} {entry['clip']}"),
        html.escape(f"{entry['frames'] or ''}{speed}"),
        what + _listed(entry["notes"]),
        _listed(said),
    ]
    shown = ""
    if picture is not None:
        shown = f'<img src="{quote(picture.as_posix())}" alt="{html.escape(entry["clip"])}" loading="lazy">'
    row = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr class="{entry["action"]}">{row}<td class="picture">{shown}</td></tr>'


def name_of_speaker(actor: str | None) -> str:
    """What a plan and a report call whoever speaks; somebody without an actor is drafted."""
    return "a draft" if actor is None else Path(actor).stem


def _listed(texts: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""

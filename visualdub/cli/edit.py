"""Edits: the plan that `vdub dub EDIT` shows and carries out, and `vdub edit`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from visualdub.console import Json, draft_consent, err, out, print_json, shown_progress

if TYPE_CHECKING:
    from visualdub.edit.plan import EditPlan, PlannedShot
    from visualdub.edit.request import EditRequest

# ---- what they ask for -------------------------------------------------------------------------------------

command = typer.Typer(no_args_is_help=True, help="Dubbed edits: take a dub back, write other formats.")


@command.command()
def undo(
    edit: Annotated[Path, typer.Argument(help="A dubbed edit, as vdub dub wrote it.", show_default=False)],
    json: Json = False,
) -> None:
    """Bring the edit back that a dub was made from, byte for byte; the dubbed movies stay."""
    from visualdub.edit.state import undo_edit

    original = undo_edit(edit)
    if json:
        print_json({"edit": str(edit), "original": str(original)})
    else:
        out.print(f"{edit}: as {original} was")


@command.command()
def convert(
    edit: Annotated[Path, typer.Argument(help="An .otio edit.", show_default=False)],
    target: Annotated[
        Path,
        typer.Argument(help="Where to write it: .edl, .xml, .aaf, .fcpxml or .otioz.", show_default=False),
    ],
    json: Json = False,
) -> None:
    """Write an edit in another program's format, and say what that loses."""
    from visualdub.edit.formats import convert_edit

    files, lost = convert_edit(edit, target)
    if json:
        print_json({"files": [str(f) for f in files], "lost": lost})
    else:
        out.print(f"{', '.join(map(str, files))}: loses {lost or 'nothing'}", soft_wrap=True, markup=False)


def dub_edit(request: EditRequest, only_plan: bool, as_json: bool) -> None:
    """Plan an edit, and unless only the plan is wanted, dub every shot of it."""
    from visualdub.edit.request import dub_plans, plan_request, unpacked

    if only_plan:
        with unpacked(request) as asked, shown_progress() as progress:
            plans = plan_request(asked, progress)
        if as_json:
            print_json({"plans": [p.as_dict() for p in plans]})
            return
        for plan in plans:
            show_plan(plan)
        return
    with shown_progress() as progress:
        plans = plan_request(request, progress)
    if request.consent is None and any(plan.drafted for plan in plans):
        request = replace(request, consent=draft_consent(request.edit, None))
    with shown_progress() as progress:
        dubbed = dub_plans(request, plans, progress=progress, say=err.print)
    if as_json:
        print_json({"outputs": [d.as_dict() for d in dubbed]})
        return
    for edit in dubbed:
        show_dubbed(edit.path, edit.shots_as_dict())


# ---- what is shown -----------------------------------------------------------------------------------------


def show_plan(plan: EditPlan) -> None:
    """The plan as a table, its notes below, and what it comes to."""
    edit = plan.edit
    table = Table("#", "timecode", "track", "clip", "frames", "what", "who", "dialogue", box=None)
    for shot in plan.shots:
        table.add_row(*plan_row(plan, shot))
    out.print(table)
    for note in (*edit.notes, *plan.notes):
        out.print(f"note: {note}")
    for shot in plan.shots:
        for note in shot.notes:
            out.print(f"note: {shot.number} {shot.clip.name}: {note}")
    dubbed, kept = len(plan.dubbed), len(plan.shots) - len(plan.dubbed)
    language = f" {plan.language}" if plan.language else ""
    out.print(
        f"{edit.path}{language}: {edit.frame_count} frames at {float(edit.rate):.6g} frames/s,"
        f" {len(plan.shots)} clips: {dubbed} dubbed, {kept} left alone; about {plan.seconds / 60:.1f} minutes"
    )


def plan_row(plan: EditPlan, shot: PlannedShot) -> list[str]:
    """One line of the table."""
    from visualdub.edit.report import name_of_speaker

    speaking = shot.speaking
    who = ", ".join(name_of_speaker(s.role.actor) for s in speaking)
    words = ", ".join(
        f"{c.recording.name}{channels_text(c.channels)} {float(c.in_point_s):.2f}"
        f"+{float(c.duration_s or 0):.2f} s at {float(c.place_s):.2f}"
        for s in speaking
        for c in s.cues
    )
    what = shot.action if not shot.reason else f"{shot.action}: {shot.reason}"
    speed = f" x{float(shot.map.speed):g}" if shot.map is not None and shot.map.kind != "plain" else ""
    frames = f"{shot.frames}{speed}" if shot.frames else ""
    return [
        str(shot.number),
        plan.timecode(shot.timeline[0]),
        shot.clip.track,
        shot.clip.name,
        frames,
        what,
        who,
        words,
    ]


def channels_text(channels: tuple[int, ...]) -> str:
    """The channels of a cue, counted from 1 as recorders do; empty for all."""
    return f"[{','.join(str(c + 1) for c in channels)}]" if channels else ""


def show_dubbed(edit: Path, shots: list[dict[str, Any]]) -> None:
    """What became of an edit's shots, as `DubbedEdit.shots_as_dict` has them."""
    kept = [s for s in shots if s["movie"] is None]
    for shot in kept:
        out.print(f"left alone: {shot['number']} {shot['clip']}: {shot['reason']}")
    out.print(f"{edit}: {len(shots)} clips, {len(shots) - len(kept)} dubbed, {len(kept)} left alone")


def say_note(text: str) -> None:
    """One line on stderr."""
    err.print(f"note: {text}", markup=False)

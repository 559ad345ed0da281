"""Edits: the plan that `vdub dub EDIT` shows and carries out, and `vdub edit`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from visualdub.console import Json, err, out, print_json, shown_progress
from visualdub.errors import BadInput

if TYPE_CHECKING:
    from visualdub.edit.plan import EditPlan, PlannedShot

# ---- options of `vdub dub` that are for edits alone --------------------------------------------------------

DialogueTrack = Annotated[
    str | None,
    typer.Option(
        "--dialogue-track",
        metavar="NAME",
        help="Of an edit: the sound track with the new words, by its name, number or role; {lang} in it"
        " stands for the language.",
        rich_help_panel="Edits",
    ),
]
DialogueFolder = Annotated[
    Path | None,
    typer.Option(
        "--dialogue-folder",
        metavar="DIR",
        help="Of an edit: recordings named as its clips, or with BWF timecode.",
        rich_help_panel="Edits",
    ),
]
CastIn = Annotated[
    Path | None,
    typer.Option(
        "--cast",
        metavar="TOML",
        help="Of an edit: who speaks in which of its clips.",
        rich_help_panel="Edits",
    ),
]
EditLanguages = Annotated[
    str | None,
    typer.Option(
        "--lang",
        metavar="fr,de",
        help="Of an edit: the languages, each an edit of its own.",
        rich_help_panel="Edits",
    ),
]
Policy = Annotated[
    str,
    typer.Option(
        "--longer",
        metavar="next-shot|cut|hold",
        help="Of an edit: what becomes of dialogue that is longer than its shot. The next shot speaks on, or"
        " it is cut there, or is heard on with no mouth moving.",
        rich_help_panel="Edits",
    ),
]
Relink = Annotated[
    list[Path] | None,
    typer.Option(
        "--relink",
        metavar="DIR",
        help="Of an edit: where media lie that moved, found by name and timecode.",
        rich_help_panel="Edits",
    ),
]
Host = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="resolve|premiere|avid|nuke",
        help="Of an edit: write what this program insists on.",
        rich_help_panel="Edits",
    ),
]
AsDefault = Annotated[
    bool,
    typer.Option(
        "--as-default",
        help="Of an edit: put the dub under DEFAULT_MEDIA, for programs that know no other.",
        rich_help_panel="Edits",
    ),
]
PlanOnly = Annotated[
    bool,
    typer.Option(
        "--plan",
        help="Of an edit: print what would become of each clip, and dub nothing.",
        rich_help_panel="Edits",
    ),
]

# ---- what they ask for -------------------------------------------------------------------------------------

command = typer.Typer(no_args_is_help=True, help="Dubbed edits: take a dub back.")


@dataclass(frozen=True)
class EditWords:
    """What is said in an edit and by whom, as the options have it."""

    track: str | None = None
    folder: Path | None = None
    cast: Path | None = None
    languages: str | None = None  # "fr,de"
    longer: str = "next-shot"


@dataclass(frozen=True)
class EditWritten:
    """How a dubbed edit is written, as the options have it."""

    folder: Path | None = None  # None: only the plan is wanted
    host: str | None = None
    as_default: bool = False
    codec: str | None = None
    crf: int = 16
    watermark: bool = True


@dataclass(frozen=True)
class EditRequest:
    """What `vdub dub EDIT` is asked for."""

    edit: Path
    actor: str | None
    words: EditWords
    written: EditWritten
    relink: tuple[Path, ...] = ()
    plan: bool = False
    json: bool = False

    @property
    def languages(self) -> list[str | None]:
        """The languages, or None alone where none is named."""
        named: list[str | None] = [lang.strip() for lang in (self.words.languages or "").split(",")]
        return [lang for lang in named if lang] or [None]


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


def for_edits_only(clip: Path, words: EditWords, written: EditWritten, more: dict[str, Any]) -> Path:
    """The output for a clip. Raises `BadInput` for options that only edits take, and where there is none."""
    given: dict[str, Any] = {
        "--dialogue-track": words.track,
        "--dialogue-folder": words.folder,
        "--cast": words.cast,
    }
    given |= {"--lang": words.languages, "--for": written.host, "--as-default": written.as_default, **more}
    for name, value in given.items():
        if value:
            raise BadInput(f"{clip} is no edit, which {name} is for; expected .otio or another edit")
    if written.folder is None:
        raise BadInput(f"{clip}: nowhere to write to; expected -o MOVIE")
    return written.folder


def dub_edit(request: EditRequest, refused: list[str]) -> None:
    """Plan an edit, and unless only the plan is wanted, dub every shot of it. refused: options given that
    only clips take.
    """
    from visualdub.edit.dialogue import POLICIES

    if refused:
        raise BadInput(f"{request.edit} is an edit, which {refused[0]} is not for; expected --dialogue-track")
    if request.words.longer not in POLICIES:
        raise BadInput(f"--longer {request.words.longer} is not known; expected one of {', '.join(POLICIES)}")
    plans = [planned(request, language) for language in request.languages]
    if request.plan:
        if request.json:
            print_json({"plans": [p.as_dict() for p in plans]})
            return
        for plan in plans:
            show_plan(plan)
        return
    carry_out(request, plans)


def carry_out(request: EditRequest, plans: list[EditPlan]) -> None:
    """Dub what is planned and say what became of it. Raises `BadInput` where nothing can be dubbed."""
    from visualdub.actor.library import find_actor
    from visualdub.actor.package import load_actor
    from visualdub.edit.dubbing import EditOutput, check_edit_output, dub_planned
    from visualdub.edit.writing import host_rules

    written = request.written
    if written.folder is None:
        raise BadInput(f"{request.edit}: nowhere to write to; expected -o DIR, or --plan")
    rules = host_rules(written.host, written.as_default)
    output = EditOutput(written.folder, rules, written.codec, written.crf, written.watermark)
    if not any(plan.dubbed for plan in plans):
        reasons = sorted({s.reason for plan in plans for s in plan.shots})
        raise BadInput(
            f"{request.edit} has no clip that can be dubbed: {'; '.join(reasons) or 'none at all'}"
        )
    names = {who.role.actor for plan in plans for s in plan.dubbed for who in s.speaking}
    actors = {name: load_actor(find_actor(name)) for name in sorted(n for n in names if n is not None)}
    check_edit_output(plans, output, actors)
    outputs = []
    for plan in plans:
        with shown_progress() as progress:
            results = dub_planned(plan, output, actors, progress=progress, say=err.print)
        path = output.edit_path(plan.edit, plan.language)
        outputs.append({"edit": str(path), "report": f"{path}.report.json"})
        if not request.json:
            done = sum(r.movie is not None for r in results)
            for r in results:
                if r.movie is None:
                    out.print(f"left alone: {r.shot.number} {r.shot.clip.name}: {r.reason}")
            out.print(f"{path}: {len(results)} clips, {done} dubbed, {len(results) - done} left alone")
    if request.json:
        print_json({"outputs": outputs})


def planned(request: EditRequest, language: str | None) -> EditPlan:
    """The plan of one language of an edit, with a progress bar over its media."""
    from visualdub.edit.cast import Cast, read_cast
    from visualdub.edit.dialogue import Line, folder_lines, track_lines
    from visualdub.edit.media import MediaFinder, unpack
    from visualdub.edit.plan import PlanOptions, plan_edit
    from visualdub.edit.reading import read_edit

    cast = read_cast(request.words.cast, request.actor) if request.words.cast else Cast(actor=request.actor)
    edit = read_edit(request.edit)
    lines: list[Line] = []
    notes: list[str] = []
    if request.words.track is not None:
        lines, notes = track_lines(edit, request.words.track, language)
    if request.words.folder is not None:
        more, problems = folder_lines(edit, request.words.folder, language)
        lines, notes = lines + more, notes + problems
    folder = request.written.folder
    if request.edit.suffix.lower() == ".otioz" and folder is not None:
        unpack(request.edit, folder)
    with shown_progress() as progress:
        bundle = folder if request.edit.suffix.lower() == ".otioz" else None
        finder = MediaFinder(request.edit, request.relink, bundle, progress)
        return plan_edit(edit, finder, lines, PlanOptions(cast, request.words.longer, language), notes)


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
    speaking = shot.speaking
    who = ", ".join(Path(s.role.actor or "?").stem for s in speaking)
    words = ", ".join(
        f"{c.recording.name} {float(c.in_point_s):.2f}+{float(c.duration_s or 0):.2f} s"
        f" at {float(c.place_s):.2f}"
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


def say_note(text: str) -> None:
    """One line on stderr."""
    err.print(f"note: {text}", markup=False)

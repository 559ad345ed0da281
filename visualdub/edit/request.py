"""What is asked of an edit, planned and carried out: the same for the command line and for the service."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from visualdub.actor.library import find_actor
from visualdub.actor.package import load_actor
from visualdub.actor.record import Consent
from visualdub.edit.cast import Cast, read_cast
from visualdub.edit.dialogue import POLICIES, Line, folder_lines, track_lines
from visualdub.edit.dubbing import EditOutput, ShotResult, check_edit_output, dub_planned, write_edit
from visualdub.edit.formats import convert_edit
from visualdub.edit.host_shape import resolve_notes
from visualdub.edit.media import MediaFinder, Permit, anything, is_relative, unpack
from visualdub.edit.plan import EditPlan, PlanOptions, plan_edit
from visualdub.edit.reading import read_edit
from visualdub.edit.report import REPORT_SUFFIX
from visualdub.edit.who import Enrolled, decide
from visualdub.edit.writing import host_rules
from visualdub.errors import BadInput
from visualdub.render.quality import DRAFT, FINAL, require_quality
from visualdub.stages import Progress

BUNDLE = ".otioz"
DRAFTED = "a draft: actors are drawn by their network alone, everybody else out of the clip's own frames"


@dataclass(frozen=True)
class EditWords:
    """What is said in an edit and by whom."""

    track: str | None = None  # the sound track's name, number or role
    folder: Path | None = None  # of recordings
    cast: Path | None = None  # a cast file
    languages: str | None = None  # "fr,de"
    longer: str = "next-shot"  # one of `POLICIES`


@dataclass(frozen=True)
class EditWritten:
    """How a dubbed edit is written."""

    folder: Path | None = None  # None: only the plan is wanted
    host: str | None = None
    as_default: bool = False
    codec: str | None = None
    crf: int = 16
    watermark: bool = True
    quality: str = FINAL  # or DRAFT, in which whoever has no actor is drawn out of the clip's own frames

    def __post_init__(self) -> None:
        require_quality(self.quality)


@dataclass(frozen=True)
class EditRequest:
    """A dub of an edit. permit: gives a path of its media or recordings back where it may be read, and raises
    `BadInput` where it may not. actors: the folder of the enrolled actors, one of whom speaks where nobody
    says who does; None: nobody is looked for. consent: of the people who have no actor, to a draft.
    """

    edit: Path
    actor: str | None
    words: EditWords
    written: EditWritten
    relink: tuple[Path, ...] = ()
    permit: Permit = anything
    actors: Path | None = None
    consent: Consent | None = None

    @property
    def languages(self) -> list[str | None]:
        """The languages, or None alone where none is named."""
        named: list[str | None] = [lang.strip() for lang in (self.words.languages or "").split(",")]
        return [lang for lang in named if lang] or [None]

    def fields(self) -> dict[str, Any]:
        """The request as the service takes it, by the names of its schema. Raises `BadInput` where nothing
        says where to write to.
        """
        words, written = self.words, self.written
        if written.folder is None:
            raise BadInput(f"{self.edit}: nowhere to write to; expected -o DIR")
        there = Path(self.actor) if self.actor else None
        return {
            "edit": _absolute(self.edit),
            "output": _absolute(written.folder),
            "actor": _absolute(there) if there is not None and there.is_dir() else self.actor,
            "dialogue_track": words.track,
            "dialogue_folder": _absolute(words.folder),
            "cast": _absolute(words.cast),
            "languages": words.languages,
            "longer": words.longer,
            "relink": [_absolute(folder) for folder in self.relink],
            "host": written.host,
            "as_default": written.as_default,
            "codec": written.codec,
            "crf": written.crf,
            "watermark": written.watermark,
            "quality": written.quality,
            "consent": None if self.consent is None else self.consent.text,
        }


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


@dataclass(frozen=True)
class DubbedEdit:
    """One language of an edit, dubbed."""

    plan: EditPlan
    path: Path  # the edit that was written
    shots: tuple[ShotResult, ...]

    @property
    def report(self) -> Path:
        """The report beside the edit."""
        return self.path.with_name(self.path.name + REPORT_SUFFIX)

    def as_dict(self) -> dict[str, Any]:
        """Where it lies, as JSON."""
        return {"language": self.plan.language, "edit": str(self.path), "report": str(self.report)}

    def shots_as_dict(self) -> list[dict[str, Any]]:
        """What became of every shot, as JSON."""
        return [
            {
                "language": self.plan.language,
                "number": r.shot.number,
                "clip": r.shot.clip.name,
                "track": r.shot.clip.track,
                "timeline": list(r.shot.timeline),
                "action": r.shot.action if r.movie is not None else "keep",
                "movie": None if r.movie is None else str(r.movie),
                "reason": r.reason or r.shot.reason,
            }
            for r in self.shots
        ]


def plan_request(
    request: EditRequest, progress: Progress | None = None, find: Callable[[str], Path] = find_actor
) -> list[EditPlan]:
    """The plan of each language. find: as `dub_plans` takes it. Raises `BadInput` for an edit or options that
    cannot be used.
    """
    longer = request.words.longer
    if longer not in POLICIES:
        raise BadInput(f"--longer {longer} is not known; expected one of {', '.join(POLICIES)}")
    enrolled = Enrolled(request.actors, find, drafts=request.written.quality == DRAFT)
    return [_plan(request, language, enrolled, progress) for language in request.languages]


@contextlib.contextmanager
def unpacked(asked: EditRequest) -> Iterator[EditRequest]:
    """The request to plan, with the media that are packed in an .otioz in a folder that is removed at the
    end.
    """
    if asked.edit.suffix.lower() != BUNDLE:
        yield asked
        return
    with tempfile.TemporaryDirectory(prefix="vdub-plan-") as folder:
        yield replace(asked, written=replace(asked.written, folder=Path(folder)))


def _plan(
    request: EditRequest, language: str | None, enrolled: Enrolled, progress: Progress | None
) -> EditPlan:
    words, folder = request.words, request.written.folder
    cast = read_cast(words.cast, request.actor) if words.cast else Cast(actor=request.actor)
    for rule in cast.rules:
        if rule.looks is not None:
            request.permit(rule.looks)
    edit = read_edit(request.edit)
    if folder is not None and request.edit.suffix.lower() == BUNDLE:
        unpack(request.edit, folder)
        edit = replace(edit, unpacked=folder)
    lines: list[Line] = []
    notes: list[str] = []
    if words.track is not None:
        lines, notes = track_lines(edit, words.track, language)
    if words.folder is not None:
        more, problems = folder_lines(edit, words.folder, language)
        lines, notes = lines + more, notes + problems
    if host_rules(request.written.host).bake_retimed:
        edit = replace(edit, bake_retimed=True)
    for line in lines:
        request.permit(line.recording)
    finder = MediaFinder(request.edit, request.relink, edit.unpacked, progress, request.permit)
    options = PlanOptions(cast, words.longer, language, enrolled.known, undecided=True)
    return decide(plan_edit(edit, finder, lines, options, notes), enrolled, progress)


def dub_plans(
    request: EditRequest,
    plans: Sequence[EditPlan],
    *,
    find: Callable[[str], Path] = find_actor,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[DubbedEdit]:
    """Dub what is planned. find: gives the package of an actor as the plan names it.

    Raises `BadInput` where nothing can be dubbed, an output would be written over an input, or somebody is
    drafted without consent.
    """
    written = request.written
    if written.folder is None:
        raise BadInput(f"{request.edit}: nowhere to write to; expected -o DIR, or --plan")
    rules = host_rules(written.host, written.as_default)
    how = (written.codec, written.crf, written.watermark)
    output = EditOutput(written.folder, rules, *how, quality=written.quality, consent=request.consent)
    if not any(plan.dubbed for plan in plans):
        reasons = sorted({s.reason for plan in plans for s in plan.shots})
        raise BadInput(
            f"{request.edit} has no clip that can be dubbed: {'; '.join(reasons) or 'none at all'}"
        )
    drafted = [shot for plan in plans for shot in plan.drafted]
    if drafted and request.consent is None:
        raise BadInput(
            f"{drafted[0].clip.name}: whoever speaks in it has no actor, and a draft of them needs consent:"
            ' "who, when, scope" (--consent), or an actor'
        )
    names = {who.role.actor for plan in plans for s in plan.dubbed for who in s.speaking}
    actors = {name: load_actor(find(name)) for name in sorted(n for n in names if n is not None)}
    check_edit_output(plans, output, actors)
    dubbed = []
    for plan in (with_notes(p, output, say) for p in plans):
        shots = dub_planned(plan, output, actors, progress=progress, say=say)
        dubbed.append(write_results(plan, output, shots, say))
    return dubbed


def write_results(
    plan: EditPlan, output: EditOutput, shots: Sequence[ShotResult], say: Callable[[str], None]
) -> DubbedEdit:
    """Write the dubbed edit, its state and its report, and the edit in its original's own format. say: is
    told what that format loses.
    """
    path = write_edit(plan, output, shots)
    if (target := output.converted_path(plan.edit, plan.language)) is not None:
        say(converted(path, target))
    return DubbedEdit(plan, path, tuple(shots))


def with_notes(plan: EditPlan, output: EditOutput, say: Callable[[str], None]) -> EditPlan:
    """The plan with notes on how it is written, which are said, too: that it is a draft, paths that do not
    hold, and what Resolve does not import.
    """
    if output.quality == DRAFT:
        say(f"note: {DRAFTED}")
        plan = replace(plan, notes=(*plan.notes, DRAFTED))
    plan = with_note_on_paths(plan, output, say)
    if output.rules.resolve_shape and (notes := resolve_notes(plan)):
        say("\n".join(notes))
        return replace(plan, notes=(*plan.notes, *notes))
    return plan


def with_note_on_paths(plan: EditPlan, output: EditOutput, say: Callable[[str], None]) -> EditPlan:
    """The plan, with a note that is said, too, where media are named by paths that hold only beside the
    original edit.
    """
    edit = plan.edit
    beside = output.folder.absolute() == edit.path.absolute().parent
    bundled = edit.path.suffix.lower() == BUNDLE  # unpacked into the output's folder
    references = [clip.reference() for clip in (*edit.clips, *edit.sound)]
    urls = {r["url"] for r in references if r is not None and r["kind"] == "external"}
    count = sum(is_relative(url) for url in urls)
    if beside or bundled or output.rules.resolve_shape or not count:
        return plan
    note = (
        f"{count} media are named by paths from the folder of {edit.path.name}, which do not hold in"
        f" {output.shown(output.folder)}: move the dubbed edit there under another name, or dub --for"
        " resolve, which writes whole paths"
    )
    say(f"note: {note}")
    return replace(plan, notes=(*plan.notes, note))


def converted(edit: Path, target: Path) -> str:
    """Write a dubbed edit in the format that its original has; what that loses, or why it cannot be, in one
    line.
    """
    try:
        files, lost = convert_edit(edit, target)
    except BadInput as e:
        return f"{e}; the dubbed edit is {edit} alone"
    return f"{', '.join(map(str, files))}: loses {lost or 'nothing'}"

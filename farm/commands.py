"""`vdub farm`: bundles for render farms, the tasks in them, and what they cost."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from farm import options as o
from visualdub.console import (
    Codec,
    Crf,
    Face,
    Fast,
    Frames,
    Json,
    KeepAudio,
    MouthGain,
    NoWatermark,
    OccludedAs,
    OffsetMs,
    Only,
    ProviderName,
    Skip,
    Smooth,
    out,
    print_json,
    shown_progress,
)
from visualdub.console_edits import (
    AsDefault,
    CastIn,
    DialogueFolder,
    DialogueTrack,
    EditLanguages,
    Host,
    Policy,
    Relink,
    require_fitting,
)
from visualdub.errors import BadInput, VisualDubError

if TYPE_CHECKING:
    from farm.asked import Asked
    from farm.bundle import Bundle
    from farm.estimate import Rates
    from farm.job import JobFile
    from visualdub.stages import Progress

FOR_BOTH = ("occluded", "provider", "fast", "minutes", "consent")  # elsewhere options of clips alone
farm = typer.Typer(
    no_args_is_help=True, help="Dub on a render farm: bundles of OpenJD and OpenCue, their cost."
)
task = typer.Typer(no_args_is_help=True, help="The tasks that a bundle runs.")
farm.add_typer(task, name="task", hidden=True)


# ---- bundles -----------------------------------------------------------------------------------------------


@farm.command()
def openjd(
    source: o.Source,
    output: o.BundleOut,
    actor: o.ActorIn = None,
    dialogue: o.Dialogue = None,
    frames: Frames = None,
    skip: Skip = None,
    only: Only = None,
    face: Face = None,
    movie: o.MovieName = None,
    dialogue_track: DialogueTrack = None,
    dialogue_folder: DialogueFolder = None,
    cast: CastIn = None,
    lang: EditLanguages = None,
    longer: Policy = "next-shot",
    relink: Relink = None,
    host: Host = None,
    as_default: AsDefault = False,
    adapt: o.Adapt = None,
    consent: o.Consent = None,
    minutes: o.Minutes = 5.0,
    mouth_gain: MouthGain = 1.0,
    smooth: Smooth = 0.0,
    offset_ms: OffsetMs = 0.0,
    occluded: OccludedAs = "hold",
    codec: Codec = None,
    crf: Crf = 16,
    no_watermark: NoWatermark = False,
    keep_audio: KeepAudio = False,
    provider: ProviderName = None,
    fast: Fast = False,
    chunk: o.Chunk = None,
    measure: o.Measure = False,
    in_place: o.InPlace = False,
    submit: o.Submit = False,
    json: Json = False,
) -> None:
    """Write a job bundle for OpenJD (AWS Deadline Cloud): a folder with all that the job needs."""
    given = dict(locals())
    from farm.submit import submit_bundle

    bundle = _bundle(given)
    if submit:
        submit_bundle(bundle.folder)


@farm.command("opencue", help="Write the same bundle with an outline for OpenCue, which pycuerun submits.")
@wraps(openjd)
def opencue(**given: Any) -> None:
    """As `openjd`, with `outline.py` in the bundle."""
    from farm.opencue import write_outline
    from farm.submit import run_program

    bundle = _bundle(given)
    script = write_outline(bundle.folder)
    if not given["json"]:
        out.print(f"{script}: pycuerun submits it")
    if given["submit"]:
        run_program("pycuerun", str(script))


def _bundle(given: dict[str, Any]) -> Bundle:
    """Write the bundle that a command line asks for, and say what it is."""
    from farm.asked import to_adapt, write_bundle
    from farm.bundle import BundleOptions
    from farm.estimate import Rates
    from farm.job import Written
    from visualdub.speech.performance import PerformanceAdjustments

    asked = _asked(given)
    names = ("codec", "crf", "host", "as_default", "keep_audio", "occluded")
    written = Written(**{n: given[n] for n in names}, watermark=not given["no_watermark"])
    mouth = PerformanceAdjustments(given["mouth_gain"], given["smooth"], given["offset_ms"])
    first = to_adapt(given["adapt"] or (), given["consent"], given["minutes"])
    how = {n: given[n] for n in ("provider", "fast", "chunk", "in_place")}
    with shown_progress() as progress:
        rates = _measured(asked, progress) if given["measure"] else Rates()
        options = BundleOptions(given["output"], written, mouth, first, rates=rates, **how)
        bundle = write_bundle(asked, options, progress)
    cost = bundle.as_dict()
    if given["json"]:
        print_json(cost)
    else:
        out.print(
            f"{bundle.template}: {cost['shots']} shots, {cost['frames']} frames in chunks of"
            f" {cost['chunk_frames']}, {cost['chunk_minutes_cpu']} minutes each on a CPU"
        )
    return bundle


@farm.command("openjd-train")
def openjd_train(
    clips: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", help="Folders of clips, as vdub train prepare takes them.", show_default=False
        ),
    ],
    output: o.BundleOut,
    validation: o.Validation = None,
    frames: o.PersonFrames = 1500,
    quality: o.Quality = 90,
    parts: o.Parts = 4,
    steps: o.Steps = None,
    minutes: o.TrainMinutes = None,
    size: o.Size = "small",
    batch: o.Batch = 1,
    accumulate: o.Accumulate = 1,
    workers: o.WorkersEach = 0,
    rate: o.Rate = None,
    prior: o.StartPrior = None,
    seed: o.Seed = 0,
    processes: o.Processes = 1,
    measure_steps: o.MeasureSteps = "0,10,50,150,500",
    measure_frames: o.MeasureFrames = 100,
    hours: o.Hours = 72.0,
    in_place: o.InPlace = False,
    submit: o.Submit = False,
) -> None:
    """Write a job bundle for OpenJD that trains a prior: clips are packed in parts on several machines, one
    machine trains, and the people held out are measured.
    """
    from farm.submit import submit_bundle
    from farm.training import Measuring, Packing, Training, TrainingBundle, bundle_of_training

    asked = TrainingBundle(
        output,
        tuple(clips),
        Packing(frames, quality, validation, parts),
        Training(steps, minutes, size, batch, accumulate, workers, rate, prior, seed, processes),
        Measuring(o.numbers_of(measure_steps, "--measure-steps"), measure_frames),
        hours,
        in_place,
    )
    template = bundle_of_training(asked)
    out.print(f"{template}: {parts} parts of the clips, {processes} processes train")
    if submit:
        submit_bundle(template.parent)


@farm.command()
def estimate(
    source: o.Source,
    actor: o.ActorIn = None,
    dialogue: o.Dialogue = None,
    frames: Frames = None,
    skip: Skip = None,
    only: Only = None,
    face: Face = None,
    dialogue_track: DialogueTrack = None,
    dialogue_folder: DialogueFolder = None,
    cast: CastIn = None,
    lang: EditLanguages = None,
    longer: Policy = "next-shot",
    relink: Relink = None,
    chunk: o.Chunk = None,
    json: Json = False,
) -> None:
    """Say what a dub on the farm would take: frames, chunks, minutes and memory of a task. A few frames of
    the first shot are dubbed on this machine to measure that.
    """
    given = dict(locals())
    from farm.asked import shots_of
    from farm.bundle import job_shot
    from farm.estimate import cost_of

    asked = _asked(given)
    with shown_progress() as progress:
        planned = shots_of(asked, progress)
        if not planned:
            raise BadInput(f"{source} has no clip that can be dubbed")
        rates = _measured(asked, progress)
    shots = [job_shot(n, None, s, Path(f"{n}.mov")) for n, s in enumerate(planned, 1)]
    cost = cost_of(shots, rates, gpu=False, chunk=chunk).as_dict()
    if json:
        print_json(cost)
        return
    out.print(
        f"{source}: {cost['frames']} frames in {cost['shots']} shots, {cost['chunks']} chunks of"
        f" {cost['chunk_frames']} frames"
    )
    out.print(
        f"a chunk: {cost['chunk_minutes_cpu']} minutes on a CPU like this one, at least"
        f" {cost['chunk_minutes_gpu_at_least']} with the network on a GPU; {cost['memory_mib']} MiB of memory"
    )
    out.print(
        f"all tasks: {cost['machine_minutes_cpu']} minutes on one CPU machine; {cost['storage_mib']} MiB"
    )


def _asked(given: dict[str, Any]) -> Asked:
    """What a command line asks for. Raises `BadInput` for options that do not go with the source."""
    from farm.asked import ClipRequest
    from visualdub.edit.reading import is_edit
    from visualdub.edit.request import EditRequest, EditWords, EditWritten
    from visualdub.timing import FrameChoice, FrameRange

    source = given["source"]
    require_fitting(source, given, openjd, allowed=FOR_BOTH)
    if is_edit(source):
        words = EditWords(
            given["dialogue_track"], given["dialogue_folder"], given["cast"], given["lang"], given["longer"]
        )
        return EditRequest(source, given["actor"], words, EditWritten(), tuple(given["relink"] or ()))
    frames = FrameRange.parse(given["frames"]) if given["frames"] else None
    choice = FrameChoice.parse(given["skip"], given["only"])
    return ClipRequest(
        source,
        given["actor"],
        tuple(given["dialogue"] or ()),
        frames,
        choice,
        given["face"],
        given.get("movie"),
    )


def _measured(asked: Asked, progress: Progress) -> Rates:
    """The rates of this machine on the first shot that would be dubbed."""
    from farm.asked import shots_of
    from farm.estimate import measure
    from visualdub.actor.library import find_actor
    from visualdub.actor.package import load_actor

    for planned in shots_of(asked, progress):
        who = planned.speaking[0]
        actor = load_actor(find_actor(who.role.actor or ""))
        words = who.cues[0].recording if who.cues else None
        with tempfile.TemporaryDirectory() as folder:
            return measure(planned.shot, who.role.person, actor, words, Path(folder))
    raise BadInput("nothing can be dubbed, and so nothing be measured")


# ---- tasks -------------------------------------------------------------------------------------------------


@task.command("adapt")
def _adapt(actor: Annotated[str, typer.Option("--actor")], root: o.Root = None) -> None:
    """Adapt one of the job's actors."""
    from farm.tasks import adapt

    _run(root, lambda file, progress: adapt(file, actor, progress))


@task.command("prepare")
def _prepare(shot: o.Shot, root: o.Root = None) -> None:
    """Track a shot and make its performance."""
    from farm.tasks import prepare

    _run(root, lambda file, progress: prepare(file, shot, progress))


@task.command("render")
def _render(
    shot: o.Shot,
    frames: Annotated[str, typer.Option("--frames", metavar="A-B", help="First and last frame.")],
    root: o.Root = None,
) -> None:
    """Render a chunk of a shot."""
    from farm.tasks import render

    _run(root, lambda file, progress: render(file, shot, chunk_range(frames), progress))


@task.command("movie")
def _movie(shot: o.Shot, root: o.Root = None) -> None:
    """Write the movie of a shot."""
    from farm.tasks import movie

    _run(root, lambda file, progress: movie(file, shot, progress))


@task.command("assemble")
def _assemble(shown_as: o.ShownAs = None, root: o.Root = None) -> None:
    """Write the dubbed edit."""
    from farm.tasks import assemble

    folder = None if shown_as is None else named_folder(shown_as)
    _run(root, lambda file, _: assemble(file, folder, lambda text: print(text, flush=True)))


def named_folder(text: str) -> PurePath:
    """A folder as another machine names it, which may run Windows. Raises `BadInput` for one that is not
    absolute.
    """
    for kind in (PurePosixPath, PureWindowsPath):
        if (folder := kind(text)).is_absolute():
            return folder
    raise BadInput(f"--shown-as {text}: this is no whole path; expected one such as /mnt/dubs or D:\\dubs")


@task.command("python")
def _python(words: Annotated[list[str], typer.Argument(metavar="-- WORDS...")]) -> None:
    """Run this Python, as the steps of a training do."""
    from farm.program import run_python
    from visualdub.stages import Progress
    from visualdub.stops import cancel_on_signals

    progress = Progress()
    with _failures(), cancel_on_signals(progress):
        print(f"openjd_status: {run_python(words, progress)}", flush=True)


def chunk_range(text: str) -> Any:
    """The frames of a chunk as a scheduler writes them: `A-B`, both included, or `A`. Raises `BadInput`."""
    from visualdub.timing import FrameRange

    first, dash, last = text.partition("-")
    if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
        raise BadInput(f"frames {text!r} are no chunk; expected A-B, first and last frame")
    return FrameRange(int(first), int(last if dash else first) + 1)


def _run(root: list[str] | None, work: Callable[[JobFile, Progress], str]) -> None:
    """Do the work of one task, as a scheduler wants to be told of it."""
    from farm.job import JobFile
    from visualdub.stops import cancel_on_signals

    progress = scheduler_progress()
    with _failures(), cancel_on_signals(progress):
        print(f"openjd_status: {work(JobFile(roots_of(root or [])), progress)}", flush=True)


def roots_of(texts: list[str]) -> dict[str, Path]:
    """The job's folders of `NAME=DIR`. Raises `BadInput` where one of those that every job has is missing."""
    from farm.job import INPUTS, OUTPUT, WORK

    roots = {name: Path(folder).absolute() for name, _, folder in (text.partition("=") for text in texts)}
    for name in (INPUTS, WORK, OUTPUT):
        if name not in roots:
            raise BadInput(f"the folder {name} is not named; expected --root {name}=DIR")
    return roots


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Say why a task failed in the line that schedulers show."""
    try:
        yield
    except VisualDubError as e:
        print(f"openjd_fail: {' '.join(str(e).split())}", flush=True)
        raise


def scheduler_progress() -> Progress:
    """Progress in the lines that OpenJD reads from standard output, one for every per cent."""
    from visualdub.stages import Progress

    last: list[Any] = [None]

    def show(stage: str, done: int, total: int) -> None:
        now = stage, 100 * done // max(1, total)
        if now != last[0]:
            last[0] = now
            print(f"openjd_progress: {now[1]}", flush=True)
            if done == 1 or done == total:
                print(f"openjd_status: {stage} {done} of {total}", flush=True)

    return Progress(show)

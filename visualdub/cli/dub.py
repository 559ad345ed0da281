"""`vdub dub`: the clip speaks new dialogue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from visualdub.console import (
    Codec,
    ConsentIn,
    Crf,
    Face,
    Fast,
    Frames,
    HoldoutIn,
    Json,
    KeepAudio,
    Matte,
    MouthGain,
    NoWatermark,
    OccludedAs,
    OffsetMs,
    Only,
    Profile,
    ProviderName,
    Quality,
    Skip,
    Smooth,
    draft_consent,
    err,
    given_consent,
    out,
    print_json,
    shown_progress,
)
from visualdub.console_edits import (
    ActorFolder,
    AsDefault,
    CastIn,
    DialogueFolder,
    DialogueTrack,
    EditLanguages,
    Host,
    PlanOnly,
    Policy,
    Relink,
)
from visualdub.errors import ActorError, BadInput

if TYPE_CHECKING:
    from visualdub.actor.package import Actor
    from visualdub.dub import Mouth, Output, TrackedShot
    from visualdub.records import DubReport
    from visualdub.render.providers import RuntimeChoice
    from visualdub.services import AdaptRequest
    from visualdub.speech.alignment import Alignment
    from visualdub.speech.performance import PerformanceAdjustments
    from visualdub.speech.performance_file import PerformanceFile
    from visualdub.speech.retarget import DriverMouth
    from visualdub.timing import FrameChoice, FrameRange

MINUTES = 5.0  # of adaptation where no actor is given


# ---- options -----------------------------------------------------------------------------------------------

Dialogue = Annotated[
    list[Path] | None,
    typer.Option(
        "--dialogue",
        metavar="WAV",
        help="The new words; several times for several languages, which share one track and one actor. By"
        " default the sound of --driver.",
        show_default=False,
    ),
]
Scripts = Annotated[
    list[Path] | None,
    typer.Option(
        "--script",
        metavar="FILE",
        help="What --dialogue says: text, SubRip or WebVTT in UTF-8. The lips close on every p, b, m of it"
        " and nowhere else. One for each dialogue, in their order. Needs espeak-ng and --language.",
        show_default=False,
    ),
]
Languages = Annotated[
    list[str] | None,
    typer.Option(
        "--language",
        metavar="CODE",
        help="The language of --script, such as en-US, fr or pt-BR; one for each.",
        show_default=False,
    ),
]
DriverIn = Annotated[
    Path | None,
    typer.Option(
        "--driver",
        metavar="MOVIE",
        help="A filmed voice actor, anybody in any language, whose mouth moves the actor's; the sound decides"
        " where it is not visible. Nothing of this picture is drawn.",
    ),
]
DriverFace = Annotated[
    str | None,
    typer.Option(
        "--driver-face",
        metavar="N|X,Y",
        help="Which person of --driver, as --face; by default the most present.",
    ),
]
ClipOrEdit = Annotated[
    Path,
    typer.Argument(
        metavar="CLIP|EDIT",
        help="A movie with somebody talking, or an edit: .otio, .otioz, .edl, .xml (FCP7), .aaf or .fcpxml.",
        show_default=False,
    ),
]
Movie = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="MOVIE|DIR",
        help="The dubbed movie, or a folder for a dubbed edit. With several dialogues the name of each"
        " recording is added.",
        show_default=False,
    ),
]
OptionalActor = Annotated[
    str | None,
    typer.Option(
        "--actor",
        help="Actor package, a folder or its name. Without one, a draft is written in seconds, and the clip's"
        " own actor is adapted.",
    ),
]
AdaptMinutes = Annotated[
    float, typer.Option("--minutes", min=0.05, help="How long to adapt where no actor is given.")
]
PerformanceOut = Annotated[
    Path | None,
    typer.Option("--performance", metavar="JSON", help="Write what the mouth does in each frame, to edit."),
]
PerformanceIn = Annotated[
    Path | None,
    typer.Option(
        "--use-performance",
        metavar="JSON",
        help="Move the mouth as this edited file says; the dialogue is only heard.",
    ),
]
Daemon = Annotated[
    bool,
    typer.Option("--daemon", help="Have the service of vdub serve do it, with its models in memory."),
]
CheckSync = Annotated[
    bool,
    typer.Option("--check-sync", help="Track the finished movie and measure its A/V offset."),
]


# ---- the command -------------------------------------------------------------------------------------------


def command(
    clip: ClipOrEdit,
    output: Movie = None,
    dialogue: Dialogue = None,
    script: Scripts = None,
    language: Languages = None,
    driver: DriverIn = None,
    driver_face: DriverFace = None,
    actor: OptionalActor = None,
    minutes: AdaptMinutes = MINUTES,
    consent: ConsentIn = None,
    frames: Frames = None,
    skip: Skip = None,
    only: Only = None,
    face: Face = None,
    performance: PerformanceOut = None,
    use_performance: PerformanceIn = None,
    mouth_gain: MouthGain = 1.0,
    smooth: Smooth = 0.0,
    offset_ms: OffsetMs = 0.0,
    matte: Matte = None,
    occluded: OccludedAs = "hold",
    holdout: HoldoutIn = None,
    codec: Codec = None,
    crf: Crf = 16,
    no_watermark: NoWatermark = False,
    keep_audio: KeepAudio = False,
    check_sync: CheckSync = False,
    provider: ProviderName = None,
    fast: Fast = False,
    quality: Quality = "final",
    profile: Profile = False,
    daemon: Daemon = False,
    dialogue_track: DialogueTrack = None,
    dialogue_folder: DialogueFolder = None,
    cast: CastIn = None,
    lang: EditLanguages = None,
    actors: ActorFolder = Path(),
    longer: Policy = "next-shot",
    relink: Relink = None,
    host: Host = None,
    as_default: AsDefault = False,
    plan: PlanOnly = False,
    json: Json = False,
) -> None:
    """Redraw the mouth of a clip so that it speaks new dialogue; every other pixel stays. Of an edit, every
    clip in which somebody speaks, in place.
    """
    options = dict(locals())
    from visualdub.console_edits import require_fitting
    from visualdub.edit.reading import is_edit

    require_fitting(clip, options, command)
    if is_edit(clip):
        command_for_edit(options)
        return
    if output is None:
        raise BadInput(f"{clip}: nowhere to write to; expected -o MOVIE")
    if daemon:
        from visualdub.cli.through_service import dub_through_service

        heard = recordings(dialogue, driver, driver_face, use_performance)
        dub_through_service(options, heard, list(outputs_of(output, matte, performance, heard)))
        return

    from visualdub.actor.library import find_actor
    from visualdub.actor.package import load_actor
    from visualdub.cli.draft import draft_output, drafted_person
    from visualdub.dub import check_output
    from visualdub.render.quality import DRAFT
    from visualdub.speech.performance import PerformanceAdjustments
    from visualdub.speech.performance_file import PerformanceFile
    from visualdub.speech.retarget import DrivenMouth
    from visualdub.storage import protect
    from visualdub.timing import FrameChoice, FrameRange

    dialogue = recordings(dialogue, driver, driver_face, use_performance)
    span, choice = FrameRange.parse(frames) if frames else None, FrameChoice.parse(skip, only)
    folder = find_actor(actor) if actor else own_actor(clip, output)
    inputs = [clip, *dialogue, *(script or []), driver, use_performance, folder if actor else None]
    jobs = jobs_of(options, dialogue)
    drafts = [] if actor or quality == DRAFT else [(wav, draft_output(job)) for wav, job in jobs]
    written = [path for _, job in (*jobs, *drafts) for path in job.files()]
    protect([*inputs, holdout], written if actor else [*written, folder, folder.with_suffix(".run")])
    for _, job in (*jobs, *drafts):
        check_output(job, clip, *inputs)
    adjustments = PerformanceAdjustments(mouth_gain, smooth, offset_ms)
    mouth: Mouth = mouth_of(use_performance, adjustments, performance, len(dialogue))
    runtime = runtime_choice(provider, fast, adapted=actor is not None)
    # Withdrawn consent or a foreign folder ends it here.
    person = load_actor(folder, runtime) if actor else None
    for wav, job in jobs:
        check_dialogue(wav, job.path, clip if keep_audio else None)
    scripts = aligned_scripts(script, language, dialogue, use_performance)
    adaptation = plan_adaptation(clip, folder, minutes, consent, face) if drafts else None
    consented = adaptation.consent if adaptation else None if actor else draft_consent(clip, consent)
    if driver is not None:
        mouth = DrivenMouth(tracked_driver(driver, clip, span, driver_face), adjustments)
    shot = tracked_shot(clip, face, span, choice=choice, actor=person)
    if isinstance(mouth, PerformanceFile):
        mouth.performance(shot.track)  # of another shot it ends here, not after adapting
    drafted = None if consented is None else drafted_person(shot, consented)
    reports = dub_each(options, shot, drafted, drafts, scripts, mouth) if drafted and drafts else []
    if adaptation is not None:
        adapt_first(adaptation)
    person = person or (None if drafts else drafted) or load_actor(folder, runtime)
    reports += dub_each(options, shot, person, jobs, scripts, mouth)
    if json:
        print_json({"outputs": [r.as_dict() for r in reports]})


Job = tuple[Path, "Output"]  # a recording, and how its dub is written


def jobs_of(options: dict[str, Any], dialogue: list[Path]) -> list[Job]:
    """How the dub of each recording is written. options: those of the command, by name."""
    from visualdub.dub import Output

    names = ("keep_audio", "occluded", "holdout", "quality")
    codec, how = (options["codec"], options["crf"]), [options[name] for name in names]
    written = outputs_of(options["output"], options["matte"], options["performance"], dialogue)
    return [
        (wav, Output(movie, *codec, grey, not options["no_watermark"], curves, *how))
        for wav, (movie, grey, curves) in zip(dialogue, written, strict=True)
    ]


def dub_each(
    options: dict[str, Any],
    shot: TrackedShot,
    person: Actor,
    jobs: list[Job],
    scripts: list[Alignment | None],
    mouth: Mouth,
) -> list[DubReport]:
    """Dub the shot for each recording, and say what became of it. options: those of the command, by name."""
    from visualdub.dub import dub_shot

    reports = []
    for (wav, job), said in zip(jobs, scripts, strict=True):
        with shown_progress() as progress:
            reports.append(dub_shot(shot, wav, person, job, mouth=mouth, script=said, progress=progress))
        if options["check_sync"]:
            measure_sync(reports[-1], job.path, options["face"])
        if not options["json"]:
            say(reports[-1], options["profile"])
    return reports


def command_for_edit(options: dict[str, Any]) -> None:
    """`vdub dub` of an edit. options: those of the command, by name."""
    from visualdub.cli.edit import dub_edit
    from visualdub.cli.through_service import dub_edit_through_service
    from visualdub.console_edits import edit_request

    request = edit_request(options)
    if options["daemon"] and not options["plan"]:
        dub_edit_through_service(request, options["json"])
    else:
        dub_edit(request, options["plan"], options["json"])


def recordings(
    dialogue: list[Path] | None, driver: Path | None, driver_face: str | None, edited: Path | None
) -> list[Path]:
    """What is heard: the recordings in `dialogue`, or else the movie of the driver.

    Raises `BadInput` where there is neither, and for options that do not go with `driver`.
    """
    from visualdub.media.sound_decoder import AudioMissing, audio_tracks

    if driver is None:
        if driver_face is not None:
            raise BadInput(f"--driver-face {driver_face} chooses a person of --driver, which is not given")
        if not dialogue:
            raise BadInput("nothing is said; expected --dialogue WAV or --driver MOVIE")
        return dialogue
    if edited is not None:
        raise BadInput(
            f"--driver {driver} and --use-performance {edited} both move the mouth; expected one of them"
            " (--dialogue takes the sound of a movie, too)"
        )
    if dialogue and len(dialogue) > 1:
        raise BadInput(
            f"--driver {driver} speaks one language and {len(dialogue)} are given; expected one --dialogue"
        )
    if not dialogue and audio_tracks(driver) == 0:
        raise AudioMissing(f"{driver} has no sound; expected a movie with the voice, or --dialogue beside it")
    return dialogue or [driver]


def runtime_choice(provider: str | None, fast: bool, adapted: bool) -> RuntimeChoice:
    """What the network runs on. adapted: the actor exists already.

    Raises `BadInput` for a provider that is not here, and for the fast mode of an actor that is yet to be
    adapted.
    """
    from visualdub.render.providers import RuntimeChoice, require_installed

    choice = RuntimeChoice(provider, fast)
    require_installed(choice)
    if fast and not adapted:
        raise BadInput("--fast needs an actor that was exported for it (vdub export); expected --actor")
    return choice


def aligned_scripts(
    scripts: list[Path] | None, languages: list[str] | None, dialogue: list[Path], edited: Path | None
) -> list[Alignment | None]:
    """The script of each recording, its words found in the sound; None for each where no script is given.

    Raises `BadInput` for options that do not go together, and for a script that cannot be read or is not what
    its recording says.
    """
    from visualdub.dub import AUDIO_RATE
    from visualdub.media.audio import read_audio
    from visualdub.speech.alignment import align_script
    from visualdub.speech.script import read_script

    if not scripts:
        if languages:
            raise BadInput(f"--language {languages[0]} is that of a --script, which is not given")
        return [None] * len(dialogue)
    if edited is not None:
        raise BadInput(f"--use-performance {edited} is drawn as it is; leave --script {scripts[0]} out")
    if len(scripts) != len(dialogue) or len(languages or []) != len(scripts):
        counts = f"{len(scripts)} --script and {len(languages or [])} --language"
        raise BadInput(f"{counts} are given; expected {len(dialogue)} of each, one for each dialogue")
    texts = [read_script(path, code) for path, code in zip(scripts, languages or [], strict=True)]
    return [
        align_script(read_audio(wav, AUDIO_RATE), text) for wav, text in zip(dialogue, texts, strict=True)
    ]


def mouth_of(
    edited: Path | None, shaping: PerformanceAdjustments, written: Path | None, dialogues: int
) -> PerformanceAdjustments | PerformanceFile:
    """The curves in `edited`, or else how the prediction is shaped. Raises `BadInput` where both were asked
    for.
    """
    from visualdub.speech.performance import AS_PREDICTED
    from visualdub.speech.performance_file import read_performance_file

    if edited is None:
        return shaping
    if dialogues > 1:
        raise BadInput(
            f"{edited} is the mouth of one dialogue and {dialogues} are given; expected one --dialogue"
        )
    if shaping != AS_PREDICTED:
        raise BadInput(
            f"--mouth-gain, --smooth and --offset-ms shape the prediction; {edited} is drawn as it is, leave"
            " them out"
        )
    if written is not None:
        raise BadInput(
            f"--performance would write {edited} again; expected it or --use-performance, not both"
        )
    return read_performance_file(edited)


def outputs_of(
    output: Path, matte: Path | None, performance: Path | None, dialogue: list[Path]
) -> Iterator[tuple[Path, Path | None, Path | None]]:
    """The movie, matte and performance of each recording: as given for one, with the recording's name added
    for several.
    """
    if len(dialogue) == 1:
        yield output, matte, performance
        return
    names = [wav.stem for wav in dialogue]
    if len(set(names)) != len(names):
        raise BadInput(
            f"two of the recordings {', '.join(map(str, dialogue))} have the same name; their dubs would too"
        )
    for name in names:
        grey, curves = (p.with_stem(f"{p.stem}-{name}") if p else None for p in (matte, performance))
        yield output.with_stem(f"{output.stem}-{name}"), grey, curves


def check_dialogue(wav: Path, movie: Path, kept: Path | None = None) -> None:
    """Fail before tracking and adaptation where a recording cannot be heard or written to `movie`.

    kept: the clip whose other audio tracks are written beside it. Raises `MediaError`, and `BadInput` for
    more channels than the movie's container takes.
    """
    from visualdub.dub import AUDIO_RATE
    from visualdub.errors import MediaError
    from visualdub.media.audio import read_audio
    from visualdub.media.sound_decoder import audio_tracks
    from visualdub.media.soundtrack import AudioSource, check_soundtrack

    beside = AudioSource(kept) if kept is not None and audio_tracks(kept) else None
    check_soundtrack(AudioSource(wav, recording=True, beside=beside), movie)
    if len(read_audio(wav, AUDIO_RATE)) == 0:
        raise MediaError(f"{wav} holds no sound; expected a recording of the new dialogue")


def tracked_driver(movie: Path, clip: Path, frames: FrameRange | None, face: str | None) -> DriverMouth:
    """The mouth of the voice actor in `movie`, tracked with a progress bar, as far as `frames` of `clip`
    reach.
    """
    from visualdub.dub import track_driver
    from visualdub.edit import DialogueCue, plan_shot

    with shown_progress() as progress:
        shot = plan_shot(clip, frames, progress=progress)
        length_s = shot.info.start_of(shot.frames.end_exclusive) - shot.start_s
        try:
            return track_driver(DialogueCue(movie), length_s, face, progress)
        except BadInput as e:
            raise type(e)(f"--driver: {str(e).replace('--face', '--driver-face')}") from e


def tracked_shot(
    clip: Path,
    face: str | None,
    frames: FrameRange | None,
    *,
    actor: Actor | None = None,
    choice: FrameChoice | None = None,
    drawn: FrameRange | None = None,
) -> TrackedShot:
    """The shot of `frames`, planned and tracked with a progress bar; of `actor` where no face is chosen.
    choice, drawn: as `Shot.choose` takes them.
    """
    from visualdub.dub import track_shot
    from visualdub.edit import plan_shot

    with shown_progress() as progress:
        shot = plan_shot(clip, frames, progress=progress)
        if choice is not None:
            shot = shot.choose(choice, drawn)
        who = actor.likeness if actor is not None and face is None else None
        tracked = track_shot(shot, face, progress, who)
    if tracked.from_cache:
        err.print(f"{clip.name}: track read from the cache")
    return tracked


def own_actor(clip: Path, output: Path) -> Path:
    """Where the clip's own actor goes: beside the output."""
    return output.absolute().parent / f"{clip.stem}.actor"


def plan_adaptation(
    clip: Path, folder: Path, minutes: float, consent: str | None, face: str | None
) -> AdaptRequest:
    """The adaptation of the clip's own actor into `folder`, refused before tracking where it cannot be done.

    Raises `ActorError` where `folder` is there already, `OutputError` where it cannot be written and
    `BadInput` where there is no consent, or adaptation is not installed.
    """
    from visualdub.services import AdaptClip, AdaptRequest, adapt_service
    from visualdub.storage import require_writable

    if folder.exists():
        raise ActorError(
            f"{folder} is there already; dub with --actor {folder}, or move it away to adapt anew"
        )
    require_writable(folder)
    missing = (
        'no --actor is given and adapting one needs consent; give --consent "who, when, scope" for'
        f" {clip.name}, or --actor"
    )
    consented = given_consent(consent or None, clip.stem, missing)
    adapt_service()
    return AdaptRequest((AdaptClip(clip, face=face),), clip.stem, folder, consented, minutes=minutes)


def adapt_first(request: AdaptRequest) -> None:
    """Adapt an actor with the `adapt` service; the package is written beside the output and stays."""
    from visualdub.services import adapt_service

    err.print(
        f"no --actor: adapting one to {request.clips[0].path.name} first, about {request.minutes:g} minutes,"
        f" then dubbing; kept as {request.folder}"
    )
    notes: list[str] = []
    with shown_progress() as progress:
        record = adapt_service()(request, progress, notes.append)
    for note in notes:
        err.print(note)
    err.print(f"{request.folder}: adapted in {record.steps} steps")


def measure_sync(report: DubReport, movie: Path, face: str | None) -> None:
    """Track the finished `movie` and note its A/V offset in its report."""
    from visualdub.face.tracker import track_clip
    from visualdub.records import write_report
    from visualdub.speech.sync import clip_sync

    try:
        with shown_progress() as progress:
            sync = clip_sync(movie, track_clip(movie, face=face, progress=progress))
        report.sync = sync.as_dict()
        report.notes.append(f"sync of the finished movie: {sync.summary()}")
    except BadInput as e:
        report.notes.append(f"sync of the finished movie cannot be measured: {e}")
    write_report(report, movie)


def say(report: DubReport, profile: bool) -> None:
    """The line at the end, the notes, and with `profile` what each stage took."""
    if profile:
        table = Table("stage", "seconds", "frames", "frames/s", box=None)
        for name, s in report.stages.items():
            table.add_row(name, f"{s['seconds']:.2f}", f"{s['frames']:.0f}", f"{s['fps']:.1f}")
        out.print(table)
        out.print(
            f"start-up {report.start_up_seconds:.2f} s, then {report.frames} frames in {report.seconds:.2f} s"
            f" = {report.frames_per_second:.1f} frames/s; peak memory {report.peak_memory_mib:.0f} MiB"
        )
    for note in report.notes:
        out.print(f"note: {note}")
    out.print(report.summary())

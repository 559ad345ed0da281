"""`vdub reenact`: frames of a clip rendered with their own performance, or that of another segment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from visualdub.cli.dub import say, tracked_shot
from visualdub.console import (
    ActorName,
    Clip,
    Codec,
    Crf,
    Face,
    Fast,
    HoldoutIn,
    Json,
    Matte,
    NoWatermark,
    OccludedAs,
    Only,
    Profile,
    ProviderName,
    Skip,
    print_json,
    shown_progress,
)

PerformanceFrom = Annotated[
    str | None,
    typer.Option(
        "--performance-from",
        metavar="A:B",
        help="Drive the frames with the mouth of this segment of the clip; a shorter one plays ping-pong.",
    ),
]


def command(
    clip: Clip,
    actor: ActorName,
    frames: Annotated[
        str, typer.Option("--frames", metavar="A:B", help="Frames A to B-1 of the clip.", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="MOVIE", help="The movie of those frames.", show_default=False
        ),
    ],
    performance_from: PerformanceFrom = None,
    skip: Skip = None,
    only: Only = None,
    face: Face = None,
    matte: Matte = None,
    occluded: OccludedAs = "hold",
    holdout: HoldoutIn = None,
    codec: Codec = None,
    crf: Crf = 16,
    no_watermark: NoWatermark = False,
    provider: ProviderName = None,
    fast: Fast = False,
    profile: Profile = False,
    json: Json = False,
) -> None:
    """Draw frames of a clip again with their own performance, to look at or to measure."""
    from visualdub.actor.library import find_actor
    from visualdub.actor.package import load_actor
    from visualdub.dub import Output, check_output
    from visualdub.measure.reenact import reenact
    from visualdub.render.providers import RuntimeChoice
    from visualdub.timing import FrameChoice, FrameRange

    span, choice = FrameRange.parse(frames), FrameChoice.parse(skip, only)
    segment = FrameRange.parse(performance_from) if performance_from else None
    folder = find_actor(actor)
    written = Output(output, codec, crf, matte, not no_watermark, occluded=occluded, holdout=holdout)
    check_output(written, clip, folder)
    person = load_actor(folder, RuntimeChoice(provider, fast))
    shot = tracked_shot(clip, face, None, actor=person, choice=choice, drawn=span)
    with shown_progress() as progress:
        report = reenact(shot, span, person, written, segment, progress)
    if json:
        print_json(report.as_dict())
        return
    say(report, profile)

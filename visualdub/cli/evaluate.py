"""`vdub evaluate`: the measures of an actor on frames of a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from visualdub.cli.dub import tracked_shot
from visualdub.cli.reenact import PerformanceFrom
from visualdub.console import (
    ActorName,
    Clip,
    Face,
    Fast,
    JsonFile,
    ProviderName,
    err,
    out,
    print_json,
    shown_progress,
)


def command(
    clip: Clip,
    actor: ActorName,
    frames: Annotated[
        str, typer.Option("--frames", metavar="A:B", help="Frames A to B-1 of the clip.", show_default=False)
    ],
    json: JsonFile = None,
    performance_from: PerformanceFrom = None,
    face: Face = None,
    provider: ProviderName = None,
    fast: Fast = False,
    lpips: Annotated[
        Path | None,
        typer.Option(
            "--lpips", metavar="ONNX", help="Network of LPIPS, see docs/evaluate.md.", show_default=False
        ),
    ] = None,
    fid: Annotated[
        Path | None,
        typer.Option(
            "--fid",
            metavar="ONNX",
            help="Network of features for FID, see docs/evaluate.md.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure self re-enactment, control, leak and silence on frames of a clip."""
    from visualdub.actor.library import find_actor
    from visualdub.actor.package import load_actor
    from visualdub.measure.evaluate import evaluate
    from visualdub.measure.perceptual import PerceptualNetworks
    from visualdub.measure.plate import FLOOR
    from visualdub.render.providers import RuntimeChoice
    from visualdub.storage import protect, require_writable, write_json
    from visualdub.timing import MARGIN, FrameRange

    span = FrameRange.parse(frames)
    segment = FrameRange.parse(performance_from) if performance_from else None
    folder = find_actor(actor)
    if json is not None and str(json) != "-":
        protect([clip, folder, *(n for n in (lpips, fid) if n is not None)], [json])
        require_writable(json)
    networks = PerceptualNetworks.open(lpips, fid) if lpips or fid else None
    person = load_actor(folder, RuntimeChoice(provider, fast))
    shot = tracked_shot(clip, face, None, actor=person)
    with shown_progress() as progress:
        table = evaluate(shot, span, person, segment, progress, networks)
    if not table["unseen"]:
        err.print(f"note: frames {span} lie within {MARGIN} frames of those the actor was adapted on")
    soft = table["reenactment"]["plate"]["soft"]
    if soft:
        bands = ", ".join(soft)
        err.print(
            f"note: at the clip's own resolution frames {span} have less than {FLOOR:g} of its sharpness"
            f" around the lips, in these bands: {bands}"
        )
    if json is not None and str(json) == "-":
        print_json(table)
        return
    if json is not None:
        write_json(json, table)
    out.print(as_table(table))


def as_table(table: dict[str, Any]) -> Table:
    """One row per measure, its dotted name first."""
    rows = Table("measure", "value", box=None)
    for name, value in flatten(table):
        rows.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    return rows


def flatten(table: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested names joined by dots: {"a": {"b": 1}} -> [("a.b", 1)]."""
    rows: list[tuple[str, Any]] = []
    for name, value in table.items():
        full = f"{prefix}{name}"
        rows += flatten(value, f"{full}.") if isinstance(value, dict) else [(full, value)]
    return rows

"""`vdub sync`: how late a clip's picture is against its sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visualdub.console import Clip, Face, Frames, JsonFile, out, print_json

if TYPE_CHECKING:
    from visualdub.speech.sync import Sync


def command(
    clip: Clip,
    frames: Frames = None,
    face: Face = None,
    json: JsonFile = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE.png", help="Draw the lips seen and heard, and the fit of each offset."
        ),
    ] = None,
) -> None:
    """Estimate by how much picture and sound of a clip are apart, from the lips and the speech.

    The confidence is the share of recordings of somebody else that would fit the picture less well; from 0.99
    on the offset can be relied on, below it is called not found.
    """
    from visualdub.cli.dub import tracked_shot
    from visualdub.media.audio import read_audio
    from visualdub.media.source import probe
    from visualdub.speech.sync import clip_sync
    from visualdub.storage import require_writable, write_json
    from visualdub.timing import FrameRange

    span = FrameRange.parse(frames) if frames else None
    for path in (p for p in (json, plot) if p is not None and str(p) != "-"):
        require_writable(path)
    probe(clip)
    read_audio(clip)  # a clip without pictures or sound is refused before it is tracked
    sync = clip_sync(clip, tracked_shot(clip, face, span).track)
    if plot is not None:
        draw(sync, clip.name, plot)
    values = {"clip": str(clip), **sync.as_dict()}
    if json is not None and str(json) == "-":
        print_json(values)
        return
    if json is not None:
        write_json(json, values)
    out.print(f"{clip}: {sync.summary()}")


def draw(sync: Sync, title: str, path: Path) -> None:
    """Draw the two curves, and the correlation over the offset, as a PNG picture at `path`."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    curves, fit = figure.subplots(2)
    for values, label in ((sync.seen, "seen"), (sync.heard, "heard, as it lies in the clip")):
        curves.plot(sync.times, values / max(float(np.std(values)), 1e-9), label=label)
    curves.set(title=f"{title}: {sync.summary()}", xlabel="seconds", ylabel="lips, standard deviations")
    curves.legend()
    fit.plot(1000 * sync.tried, sync.curve)
    fit.axvline(1000 * sync.offset, color="grey", linestyle="--")
    fit.set(xlabel="offset in ms, positive: the picture is late", ylabel="correlation")
    figure.savefig(path, format="png", dpi=100)

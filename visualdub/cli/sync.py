"""`vdub sync`: the A/V offset of a clip."""

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
            "--plot", metavar="FILE.png", help="Plot tracked and predicted lips, and the fit of each offset."
        ),
    ] = None,
) -> None:
    """Estimate the A/V offset of a clip from the lips and the speech: by how much audio leads or lags video.

    The confidence is the share of unrelated recordings that would fit the video less well; from 0.99 on the
    offset can be relied on, below it is reported as not found. In JSON, offset_ms is positive where audio
    leads video.
    """
    from visualdub.cli.dub import tracked_shot
    from visualdub.media.audio import read_audio
    from visualdub.media.source import probe
    from visualdub.speech.sync import clip_sync
    from visualdub.storage import protect, require_writable, write_json
    from visualdub.timing import FrameRange

    span = FrameRange.parse(frames) if frames else None
    written = [p for p in (json, plot) if p is not None and str(p) != "-"]
    protect([clip], written)
    for path in written:
        require_writable(path)
    probe(clip)
    read_audio(clip)  # a clip without video or audio is refused before it is tracked
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
    """Write a PNG of both series of lips and of the correlation at each offset to `path`."""
    import numpy as np
    from matplotlib.figure import Figure

    from visualdub.storage import atomic_path

    figure = Figure(figsize=(10, 6), layout="constrained")
    curves, fit = figure.subplots(2)
    for values, label in ((sync.tracked_lips, "tracked"), (sync.predicted_lips, "predicted from the audio")):
        curves.plot(sync.times_s, values / max(float(np.std(values)), 1e-9), label=label)
    curves.set(title=f"{title}: {sync.summary()}", xlabel="seconds", ylabel="lips, standard deviations")
    curves.legend()
    fit.plot(1000 * sync.offsets_s, sync.correlations)
    fit.axvline(1000 * sync.av_offset_s, color="grey", linestyle="--")
    fit.set(xlabel="A/V offset in ms, positive: audio leads video", ylabel="correlation")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)

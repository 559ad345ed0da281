"""How well shape and looks tell people apart: distances of one person against those of others.

python benchmarks/identity.py CLIPS [--plot PNG] [--json FILE]

CLIPS is a folder with `clips.json`, which names the speaker of every clip. Each clip is tracked in two
halves; what an actor adapted to one half would be recognised by is held against the faces of all halves.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import NoFace
from visualdub.face.appearance import distance
from visualdub.face.seen import Likeness
from visualdub.face.tracker import cached_track
from visualdub.measure.result import Finding, table, write_result
from visualdub.measure.speakers import Clip, actor_likeness, read_clips
from visualdub.timing import FrameRange

KINDS = ("same clip", "same person, another clip", "another person")
BINS = np.linspace(0, 3, 61)


@dataclass(frozen=True)
class Half:
    """Half of a clip, as an actor and as a face."""

    clip: Clip
    actor: Likeness  # what an actor adapted to it would be recognised by
    face: Likeness  # the tracked person as they are seen in it


def halves(clip: Clip) -> list[Half]:
    """The two halves of a clip; one in which no face is usable is left out."""
    found, middle = [], clip.frames // 2
    for part in (FrameRange(0, middle), FrameRange(middle, clip.frames)):
        try:
            track, _ = cached_track(clip.path, frames=part)
        except NoFace:
            continue
        face = max((f for f in track.faces if f.person == track.person), key=lambda f: f.count)
        found.append(Half(clip, actor_likeness(clip, track), face.likeness))
    return found


def distances(measured: list[Half]) -> dict[str, NDArray[np.float64]]:
    """Distances between actors and faces by kind; a half is not held against itself."""
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for a in measured:
        for b in measured:
            if a is b:
                continue
            same = a.clip.speaker == b.clip.speaker
            kind = KINDS[0] if a.clip == b.clip else KINDS[1] if same else KINDS[2]
            found[kind].append(distance(a.actor, b.face))
    return {kind: np.array(values) for kind, values in found.items()}


def plot(path: Path, found: dict[str, NDArray[np.float64]]) -> None:
    """Histograms of the three kinds, as shares, with the threshold."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3.6), dpi=120)
    for kind, colour in zip(KINDS, ("tab:green", "tab:blue", "tab:red"), strict=True):
        values = found[kind].clip(0, BINS[-1])
        weights = np.full(len(values), 100 / max(len(values), 1))
        axes.hist(
            values, BINS.tolist(), weights=weights, alpha=0.55, color=colour, label=f"{kind} ({len(values)})"
        )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("distance; from 1 on it is another person")
    axes.set_ylabel("% of the pairs")
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="How well shape and looks tell people apart.")
    parser.add_argument("clips", type=Path, help="folder with clips.json")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the distances")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result")
    args = parser.parse_args()
    clips = read_clips(args.clips)
    found = distances([half for clip in clips for half in halves(clip)])
    rows = [
        (kind, len(v), *(f"{q:.2f}" for q in np.quantile(v, (0, 0.01, 0.5, 0.99, 1))), int((v < 1).sum()))
        for kind, v in found.items()
        if len(v)
    ]
    columns = ("pairs", "number", "least", "1 %", "median", "99 %", "most", "taken for one person")
    text = table(columns, rows)
    print(text)
    if args.plot:
        plot(args.plot, found)
    if args.json:
        lost, taken = int((found[KINDS[0]] >= 1).sum()), int((found[KINDS[2]] < 1).sum())
        measured = f"{lost} of {len(found[KINDS[0]])}; {taken} of {len(found[KINDS[2]])}"
        what = "halves of one clip taken for two people; two people taken for one"
        picture = (
            [f"![distances](results/{args.plot.name})"] if args.plot else []
        )  # seen from docs/results.md
        write_result(args.json, "Who is who", [text, *picture], [Finding(what, "0; 0", measured)])


if __name__ == "__main__":
    main()

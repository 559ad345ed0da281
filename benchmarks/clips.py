"""Dub every clip of a folder to FFV1; frames out must be frames in, and nothing may change outside the
matte.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub import log
from visualdub.actor import Actor, load_actor
from visualdub.dub import Output, dub_shot, track_shot
from visualdub.edit import plan_shot
from visualdub.errors import VisualDubError
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.source import open_source, probe

SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".mpg", ".webm")


def changed_outside(source: Path, dub: Path, matte: Path) -> int:
    """Samples that differ from the source's where the matte is 0, over all planes and frames."""
    wrong = 0
    frames = (open_source(path).frames() for path in (source, dub, matte))
    for a, b, m in zip(*frames, strict=True):
        mask = np.asarray(m.planes[0]) > 0
        for x, y in zip(a.planes, b.planes, strict=True):
            matted = mask if x.shape == mask.shape else _reduced(mask, x.shape)
            wrong += int(((x != y) & ~matted).sum())
    return wrong


def _reduced(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """True where any pixel of a chroma sample is; an odd edge is repeated."""
    sy, sx = -(-mask.shape[0] // shape[0]), -(-mask.shape[1] // shape[1])
    padded = np.pad(
        mask, ((0, shape[0] * sy - mask.shape[0]), (0, shape[1] * sx - mask.shape[1])), mode="edge"
    )
    return np.asarray(padded.reshape(shape[0], sy, shape[1], sx).any((1, 3)))


@dataclass(frozen=True)
class Check:
    """What came of one clip."""

    ok: bool
    frames: str
    drawn: int
    changed_outside: int  # samples
    frames_per_second: float


def check(clip: Path, dialogue: Path, actor: Actor, folder: Path) -> Check:
    """Dub one clip and compare it with its source."""
    out, matte = folder / "dub.mkv", folder / "matte.mkv"
    report = dub_shot(track_shot(plan_shot(clip)), dialogue, actor, Output(out, matte=matte))
    source, result = probe(clip), probe(out)
    wrong = changed_outside(clip, out, matte)
    before, after = ((c.frame_count, c.rate, c.image.width, c.image.height) for c in (source, result))
    ok = before == after and wrong == 0 and report.frames == source.frame_count
    frames = f"{source.frame_count} -> {result.frame_count} at {result.rate}/s"
    return Check(ok, frames, report.drawn, wrong, report.frames_per_second)


def check_all(clips: list[Path], dialogue: Path, actor: Actor) -> Iterator[tuple[bool, tuple[str, ...]]]:
    """Whether each clip holds, and its row of the table; printed as they come."""
    for clip in clips:
        with tempfile.TemporaryDirectory() as folder:
            try:
                c = check(clip, dialogue, actor, Path(folder))
                speed = f"{c.frames_per_second:.1f}"
                ok, cells = c.ok, (c.frames, str(c.drawn), str(c.changed_outside), speed)
            except VisualDubError as e:
                ok, cells = False, (str(e).replace(str(clip), clip.name), "", "", "")
        row = (clip.name, "yes" if ok else "**NO**", *cells)
        print(*row, sep="  ", flush=True)
        yield ok, row


def main() -> None:
    """One line per clip; exit 1 where one is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the clips")
    parser.add_argument(
        "--actor", type=Path, required=True, help="any actor package; the picture does not matter here"
    )
    parser.add_argument("--dialogue", type=Path, required=True, help="any recording")
    parser.add_argument("--only", nargs="*", help="names that must occur in a clip's name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    log.setup(native=True)
    wanted = args.only or [""]
    clips = [
        p for p in sorted(args.folder.iterdir()) if p.suffix in SUFFIXES and any(w in p.name for w in wanted)
    ]
    results = list(check_all(clips, args.dialogue, load_actor(args.actor)))
    held = sum(ok for ok, _ in results)
    print(f"{held} of {len(clips)} clips hold")
    if args.json:
        text = [
            f"{held} of {len(clips)} clips come out with their own frames, rate and size, and with no sample"
            " changed outside the matte.",
            table(
                ("clip", "holds", "frames", "drawn", "samples changed outside", "frames/s"),
                [row for _, row in results],
            ),
        ]
        what = "clips dubbed to FFV1: frames out = frames in, nothing changed outside the matte"
        finding = Finding(what, "every clip", f"{held} of {len(clips)} hold")
        figures = {"clips": len(clips), "clips_that_hold": held}
        write_result(args.json, "Clips", text, [finding], figures)
    raise SystemExit(0 if held == len(clips) else 1)


if __name__ == "__main__":
    main()

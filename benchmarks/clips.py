"""Dub every clip of a folder to FFV1; frames out must be frames in, and nothing may change outside the
matte.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from visualdub import log
from visualdub.actor import Actor, load_actor
from visualdub.dub import Output, dub_shot, track_shot
from visualdub.edit import plan_shot
from visualdub.errors import VisualDubError
from visualdub.media.source import open_source, probe

SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".mpg", ".webm")


def changed_outside(source: Path, dub: Path, matte: Path) -> int:
    """Samples that differ from the source's where the matte is 0, over all planes and frames."""
    wrong = 0
    frames = (open_source(path).frames() for path in (source, dub, matte))
    for a, b, m in zip(*frames, strict=True):
        mask = np.asarray(m.planes[0]) > 0
        for x, y in zip(a.planes, b.planes, strict=True):
            here = mask if x.shape == mask.shape else _reduced(mask, x.shape)
            wrong += int(((x != y) & ~here).sum())
    return wrong


def _reduced(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """True where any pixel of a chroma sample is; an odd edge is repeated."""
    sy, sx = -(-mask.shape[0] // shape[0]), -(-mask.shape[1] // shape[1])
    padded = np.pad(
        mask, ((0, shape[0] * sy - mask.shape[0]), (0, shape[1] * sx - mask.shape[1])), mode="edge"
    )
    return np.asarray(padded.reshape(shape[0], sy, shape[1], sx).any((1, 3)))


def check(clip: Path, dialogue: Path, actor: Actor, folder: Path) -> str:
    """Dub one clip; one line on it, beginning with ok or WRONG."""
    begun = time.perf_counter()
    out, matte = folder / "dub.mkv", folder / "matte.mkv"
    report = dub_shot(track_shot(plan_shot(clip)), dialogue, actor, Output(out, matte=matte))
    source, result = probe(clip), probe(out)
    wrong = changed_outside(clip, out, matte)
    before, after = ((c.frame_count, c.rate, c.image.width, c.image.height) for c in (source, result))
    verdict = "ok   " if before == after and wrong == 0 and report.frames == source.frame_count else "WRONG"
    return (
        f"{verdict} {clip.name}: {source.frame_count} -> {result.frame_count} frames at {result.rate},"
        f" {report.drawn} drawn, {wrong} samples changed outside the matte, {report.frames_per_second:.1f}"
        f" frames/s, {time.perf_counter() - begun:.0f} s"
    )


def main() -> None:
    """One line per clip; exit 1 where one is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--actor", type=Path, required=True, help="any actor package; the picture does not matter here"
    )
    parser.add_argument("--dialogue", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="names that must occur in a clip's name")
    args = parser.parse_args()
    log.setup(native=True)
    actor = load_actor(args.actor)
    wanted = args.only or [""]
    clips = [
        p for p in sorted(args.folder.iterdir()) if p.suffix in SUFFIXES and any(w in p.name for w in wanted)
    ]
    failed = 0
    for clip in clips:
        with tempfile.TemporaryDirectory() as folder:
            try:
                line = check(clip, args.dialogue, actor, Path(folder))
            except VisualDubError as e:
                line = f"WRONG {clip.name}: {e}"
        print(line, flush=True)
        failed += line.startswith("WRONG")
    print(f"{len(clips) - failed} of {len(clips)} clips hold")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()

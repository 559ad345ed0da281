"""Cuts between people and cuts inside one person's clips: who is drawn, and how wide the jaw is beside a cut.

python benchmarks/cuts.py CLIPS --work FOLDER [--part own|pairs|cuts]... [--json FILE]

CLIPS is a folder with `clips.json`, which names the speaker of every clip. Every measured row is appended to
a file in FOLDER, and is not measured again when the command is repeated. Joined clips are written as movies
and tracked from there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.dub import track_shot
from visualdub.edit import plan_shot
from visualdub.errors import NoFace
from visualdub.face.camera import project
from visualdub.face.landmarks import LANDMARK_COUNT
from visualdub.face.recognise import only_frames_of
from visualdub.face.seen import Likeness
from visualdub.face.track import Track
from visualdub.face.tracker import cached_track
from visualdub.measure.result import Finding, table, write_result
from visualdub.measure.speakers import Clip, actor_likeness, pictures, read_clips
from visualdub.media.movie_writer import MovieWriter, picture_info, rgb_frame
from visualdub.media.source import probe
from visualdub.timing import FrameRange

SECONDS = 1.5  # on either side of a cut
JAW = (172, 397)  # landmarks at the angles of the jaw
BESIDE = 2  # frames on either side of a cut whose jaw is measured
KINDS = ("jump", "punch-in", "moved")
PAIRS, CUTS = 200, 100
ADAPTED = 150  # frames of a clip that its actor knows
Rgb = NDArray[np.uint8]
Row = dict[str, Any]


# ---- clips and movies --------------------------------------------------------------------------------------


def stretch(clip: Clip, rng: np.random.Generator, seconds: float = SECONDS) -> FrameRange:
    """So many seconds of a clip, anywhere in it; all of a shorter one."""
    count = min(clip.frames, round(seconds * float(probe(clip.path).rate)))
    start = int(rng.integers(0, clip.frames - count + 1))
    return FrameRange(start, start + count)


def write_movie(path: Path, frames: list[Rgb], like: Clip) -> Path:
    """Pictures as a movie at the rate of a clip."""
    height, width = frames[0].shape[:2]
    info = picture_info(path, width, height, probe(like.path).rate, len(frames))
    with MovieWriter(path, info) as writer:
        for i, picture in enumerate(frames):
            writer.write(rgb_frame(picture, info.image, i))
    return path


def fitted(picture: Rgb, shape: tuple[int, ...]) -> Rgb:
    """A picture at another size, its sides' ratio kept, on grey."""
    height, width = shape[:2]
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    out = np.full((height, width, 3), 110, np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    out[top : top + size[1], left : left + size[0]] = small
    return out


def own_actor(clip: Clip) -> Likeness:
    """What an actor adapted to the first ADAPTED frames of a clip would be recognised by."""
    part = FrameRange(0, min(ADAPTED, clip.frames))
    return actor_likeness(clip, cached_track(clip.path, frames=part)[0])


def drawn_of(movie: Path, who: Likeness) -> tuple[Track, NDArray[np.bool_]]:
    """The track that a dub of `who` works on, and which frames it may draw, (n,)."""
    track = only_frames_of(track_shot(plan_shot(movie), who=who).track, who)
    return track, track.usable


# ---- the three measurements: each yields a row for each key that is not done yet ---------------------------


def own_rows(clips: list[Clip], done: set[str]) -> Iterator[Row]:
    """Every clip against its own actor."""
    for clip in clips:
        if clip.name in done:
            continue
        whole, _ = cached_track(clip.path)
        kept = only_frames_of(whole, own_actor(clip))
        row: Row = {"key": clip.name, "frames": len(whole), "people": len({f.person for f in whole.faces})}
        row |= {"cuts": list(whole.cuts), "before": int(whole.usable.sum()), "after": int(kept.usable.sum())}
        yield row


def pair_rows(clips: list[Clip], done: set[str]) -> Iterator[Row]:
    """Two people joined by a cut; the first one's actor speaks."""
    rng = np.random.default_rng(12)
    for n in range(PAIRS):
        first, second = (clips[int(k)] for k in rng.permutation(len(clips))[:2])
        while second.speaker == first.speaker:
            second = clips[int(rng.integers(len(clips)))]
        parts = [(clip, stretch(clip, rng)) for clip in (first, second)]
        key = f"{n}: {first.name} {parts[0][1]}, {second.name} {parts[1][1]}"
        if key in done:
            continue
        a, b = (pictures(clip, frames) for clip, frames in parts)
        who = own_actor(first)
        with tempfile.TemporaryDirectory() as folder:
            movie = write_movie(Path(folder) / "pair.mkv", a + [fitted(p, a[0].shape) for p in b], first)
            try:
                track, usable = drawn_of(movie, who)
            except NoFace:
                track, usable = None, np.zeros(len(a) + len(b), np.bool_)
        row: Row = {"key": key, "first": len(a), "first_drawn": int(usable[: len(a)].sum())}
        row |= {"second": len(b), "second_drawn": int(usable[len(a) :].sum())}
        yield row | {"cut": len(a), "cuts": list(track.cuts) if track else []}


def cut_rows(clips: list[Clip], done: set[str]) -> Iterator[Row]:
    """A clip cut to itself: later, nearer or moved."""
    rng = np.random.default_rng(21)
    for n in range(CUTS):
        clip, kind = clips[int(rng.integers(len(clips)))], KINDS[n % len(KINDS)]
        frames = stretch(clip, rng, 2 * SECONDS)
        factor, skipped = float(rng.uniform(1.2, 1.8)), int(rng.integers(8, 60))
        shift = rng.uniform(0.12, 0.25) * rng.choice([-1, 1])
        key = f"{n}: {kind} {clip.name} {frames}"
        if key in done:
            continue
        middle = frames.start + len(frames) // 2
        start = min(middle + (skipped if kind == "jump" else 0), clip.frames - 8)
        end = min(clip.frames, start + middle - frames.start)
        uncut, _ = cached_track(clip.path, frames=FrameRange(frames.start, end))
        a, b = pictures(clip, FrameRange(frames.start, middle)), pictures(clip, FrameRange(start, end))
        change = changed(kind, uncut.span(FrameRange(start, end)), factor, float(shift))
        joined = a + [change(p) for p in b]
        with tempfile.TemporaryDirectory() as folder:
            movie = write_movie(Path(folder) / "cut.mkv", joined, clip)
            try:
                track, usable = drawn_of(movie, own_actor(clip))
            except NoFace:
                yield {"key": key, "kind": kind, "lost": len(joined), "jaw_percent": None}
                continue
        drawn_uncut = [
            uncut.span(FrameRange(*part)).usable for part in ((frames.start, middle), (start, end))
        ]
        expected = np.concatenate(drawn_uncut)
        wrong = jaw_errors(track)[len(a) - BESIDE : len(a) + BESIDE]
        row = {"key": key, "kind": kind, "factor": round(factor, 3), "cut": len(a), "cuts": list(track.cuts)}
        row |= {"before": [int(expected[: len(a)].sum()), int(expected[len(a) :].sum())]}
        row |= {"drawn": [int(usable[: len(a)].sum()), int(usable[len(a) :].sum())]}
        worst = float(np.nanmax(np.abs(wrong))) if np.isfinite(wrong).any() else None
        yield row | {"jaw_percent": None if worst is None else round(100 * worst, 2)}


def changed(kind: str, track: Track, factor: float, shift: float) -> Callable[[Rgb], Rgb]:
    """What is done to the pictures after a cut of this kind. track: of these pictures."""
    if kind == "jump":
        return lambda picture: picture
    points = track.landmarks[:30, :LANDMARK_COUNT, :2]
    x, y = np.nanmean(points, (0, 1)) if np.isfinite(points).any() else (track.size[0] / 2, track.size[1] / 2)
    if kind == "punch-in":
        matrix = np.array([[factor, 0, (1 - factor) * x], [0, factor, (1 - factor) * y]])
    else:
        matrix = np.array([[1, 0, shift * track.size[0]], [0, 1, abs(shift) / 2 * track.size[1]]])
    return lambda picture: np.asarray(
        cv2.warpAffine(
            picture, matrix, picture.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        ),
        np.uint8,
    )


def jaw_errors(track: Track) -> NDArray[np.float64]:
    """(n,) by how much the mesh's jaw is wider than the plate's, as a share, in the picture; NaN where no
    frame is drawn. The plate's is MediaPipe's of the same frame.
    """
    model, out = track.model, np.full(len(track), np.nan)
    rows = np.flatnonzero(track.usable)
    if not len(rows):
        return out
    mesh = model.landmarks(model.vertices(track.identity, track.jaw[rows], track.expression[rows]))
    points = project(mesh, track.pose[rows], track.camera)[..., :2]
    plate = track.landmarks[rows, :, :2]
    widths = [np.linalg.norm(p[:, JAW[0]] - p[:, JAW[1]], axis=-1) for p in (points, plate)]
    out[rows] = widths[0] / widths[1] - 1
    return out


# ---- results -----------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[list[Clip], set[str]], Iterator[Row]]] = {
    "own": own_rows,
    "pairs": pair_rows,
    "cuts": cut_rows,
}


def measured(part: str, clips: list[Clip], folder: Path) -> list[Row]:
    """All rows of a part: those in the folder's file, and those that are missing there, which are added."""
    path = folder / f"{part}.jsonl"
    rows = (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    )
    with path.open("a", encoding="utf-8") as file:
        for row in PARTS[part](clips, {r["key"] for r in rows}):
            rows.append(row)
            print(part, json.dumps(row), flush=True)
            file.write(json.dumps(row) + "\n")
            file.flush()
    return rows


def own_text(rows: list[Row]) -> tuple[str, Finding]:
    """What became of every clip's own actor."""
    before, after = (sum(r[k] for r in rows) for k in ("before", "after"))
    lost = [r["key"] for r in rows if r["after"] < r["before"]]
    text = (
        f"{len(rows)} clips and their own actor, adapted to the first {ADAPTED} frames: {before} frames are"
        f" drawn without the identity check and {after} with it. Clips that lose a frame:"
        f" {', '.join(lost) or 'none'}."
    )
    columns = ("clip", "frames", "before", "after", "people", "cuts")
    cells = [
        (r["key"], r["frames"], r["before"], r["after"], r["people"], ", ".join(map(str, r["cuts"])))
        for r in rows
    ]
    finding = Finding("frames of its own actor that a clip loses", "0", str(before - after))
    return "\n\n".join([text, table(columns, cells)]), finding


def pairs_text(rows: list[Row]) -> tuple[str, Finding]:
    """Whether anybody else was drawn."""
    wrong = [r for r in rows if r["second_drawn"]]
    first, drawn = sum(r["first"] for r in rows), sum(r["first_drawn"] for r in rows)
    text = (
        f"{len(rows)} cuts between two people: the actor's mouth is drawn on the other person in"
        f" {sum(r['second_drawn'] for r in rows)} of {sum(r['second'] for r in rows)} frames, in"
        f" {len(wrong)} clips; on the actor in {drawn} of {first} frames."
    )
    return text, Finding(
        "frames of another person that are drawn after a cut", "0", str(sum(r["second_drawn"] for r in rows))
    )


def cuts_text(rows: list[Row]) -> tuple[str, Finding]:
    """Whether both sides are drawn, and the jaw beside the cut."""
    both = [
        r
        for r in rows
        if r.get("drawn") and all(d >= b for d, b in zip(r["drawn"], r["before"], strict=True))
    ]
    jaws = np.array([r["jaw_percent"] for r in rows if r["jaw_percent"] is not None])
    text = (
        f"{len(rows)} cuts inside one person's clip: as many frames are drawn on both sides as without the"
        f" cut in {len(both)}. The mesh's jaw is at most {jaws.max():.2f} % wider or narrower than the"
        f" plate's on the {2 * BESIDE} frames beside a cut; median over cuts {np.median(jaws):.2f} %, within"
        f" 2 % in {int((jaws <= 2).sum())} of {len(jaws)}."
    )
    return text, Finding("jaw's width against the plate's beside a cut", "2 %", f"{jaws.max():.2f} %")


TEXTS: dict[str, Callable[[list[Row]], tuple[str, Finding]]] = {
    "own": own_text,
    "pairs": pairs_text,
    "cuts": cuts_text,
}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="Cuts between people and inside one person's clips.")
    parser.add_argument("clips", type=Path, help="folder with clips.json")
    parser.add_argument("--work", type=Path, required=True, help="folder of the rows measured so far")
    parser.add_argument("--part", choices=sorted(PARTS), action="append", help="measure this alone; several")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result")
    args = parser.parse_args()
    clips = read_clips(args.clips)
    args.work.mkdir(parents=True, exist_ok=True)
    texts, findings = [], []
    for part in args.part or list(PARTS):
        text, finding = TEXTS[part](measured(part, clips, args.work))
        texts.append(text)
        findings.append(finding)
        print(text)
    if args.json:
        write_result(args.json, "Shots and people", texts, findings)


if __name__ == "__main__":
    main()

"""What covers the mouth, found or not: false alarms in clips where nothing does, hits on drawn hands,
microphones and cups that are pasted in, and what the search costs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from visualdub.edit import plan_shot
from visualdub.errors import VisualDubError
from visualdub.face.crop import stable_crop
from visualdub.face.geometry import mask_of
from visualdub.face.occlusion import HAND, Occlusion
from visualdub.face.track import Track
from visualdub.face.tracker import track_clip
from visualdub.measure.drawn_occluders import Sprite, cup_sprite, hand_sprite, microphone_sprite, paste
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.movie_writer import MovieWriter, picture_info, rgb_frame
from visualdub.media.source import open_source, probe
from visualdub.media.square import square_pixels, square_size
from visualdub.media.yuv import frame_rgb
from visualdub.records import passed_runs
from visualdub.render.occluders import search_shot
from visualdub.timing import FrameRange

COVERED = 0.1  # share of the mask from which a frame counts as occluded
SIZES = {"hand": 1.1, "microphone": 0.65, "cup": 0.6}  # of the sprites, in sides of the crop
ENTERS, LEAVES, MOVES = 0.35, 0.7, 5  # shares of the clip, and frames that it takes to come and go


# ---- pasting -----------------------------------------------------------------------------------------------


def sprites(side: float) -> dict[str, Sprite]:
    """One of each kind, for a face whose crop has this side in clip pixels."""
    size = {name: max(24, round(share * side)) for name, share in SIZES.items()}
    return {
        "hand": hand_sprite(size["hand"]),
        "microphone": microphone_sprite(size["microphone"]),
        "cup": cup_sprite(size["cup"]),
    }


def pasted(clip: Path, track: Track, kind: str, out: Path) -> NDArray[np.float64]:
    """Write the track's frames of `clip` with a sprite that comes from below, stays at the mouth and goes.

    Returns the share of the mask that it covers in each frame.
    """
    crop, n = stable_crop(track), len(track)
    scale = float(np.median(crop.scale))
    sprite = sprites(256 / scale)[kind]
    size = sprite.rgb.shape[0]
    info, share = probe(clip), np.zeros(n)
    shown = square_size(info.image.width, info.image.height, track.pixel_aspect)
    made = picture_info(out, *shown, info.rate, n)
    with open_source(clip) as source, MovieWriter(out, made, None, None) as writer:
        for frame in source.frames(track.frames):
            i = frame.index - track.start
            rgb = square_pixels(frame_rgb(frame), track.pixel_aspect)
            away = max(0, round(ENTERS * n) + MOVES - i, i - round(LEAVES * n)) / MOVES
            if away <= 1:
                x, y = (np.array([128 + 5 * np.sin(i / 2), 188 + 120 * away]) - crop.affine[i, :, 2]) / scale
                cover = paste(rgb, sprite, x - size / 2, y - 0.4 * size)
                share[i] = masked_share(cover, track, i) if track.usable[i] else 0
            writer.write(rgb_frame(rgb, made.image, i))
    return share


def masked_share(cover: NDArray[np.float32], track: Track, i: int) -> float:
    """How much of the mask of frame `i` a matte in square pixels (H, W) covers."""
    crop = stable_crop(track)
    mask = mask_of(track, crop, i)
    ys, xs = np.nonzero(mask)
    places = (np.stack([xs, ys], 1) + 0.5 - crop.affine[i, :, 2]) / crop.affine[i, 0, 0]
    columns, rows = np.floor(places).astype(int).T
    inside = (columns >= 0) & (rows >= 0) & (columns < cover.shape[1]) & (rows < cover.shape[0])
    return float(cover[rows[inside], columns[inside]].sum() / max(len(ys), 1))


# ---- measuring ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clean:
    """One clip as it is."""

    name: str
    frames: int
    hand: tuple[str, ...]  # runs of frames
    other: tuple[str, ...]
    alarms: int  # frames
    ms: float  # processor time of the search, a frame, decoding included
    decode_ms: float  # of decoding alone


@dataclass(frozen=True)
class Hits:
    """One clip with one sprite."""

    kind: str
    covered: int  # frames
    found: int  # of them
    clear: int  # frames that nothing covers
    alarms: int  # of them


def runs(kind: NDArray[np.uint8], bit: int, start: int) -> tuple[str, ...]:
    """The runs of frames with a bit of `Occlusion.kind` set."""
    return tuple(r.frames for r in passed_runs(start, ["x" if k & bit else None for k in kind]))


def searched(clip: Path, track: Track) -> tuple[Occlusion, float, float]:
    """What is found, and processor time a frame in milliseconds: of the search, and of decoding alone."""
    shot = plan_shot(clip, track.frames)
    begun = time.process_time()
    with open_source(clip) as source:
        for _ in source.frames(track.frames):
            pass
    decoded = time.process_time()
    found = search_shot(shot, track)
    ended = time.process_time()
    return found, 1e3 * (ended - decoded) / len(track), 1e3 * (decoded - begun) / len(track)


def clean(clip: Path, frames: int) -> tuple[Clean, Track]:
    """Search a clip as it is."""
    track = track_clip(clip, FrameRange(0, min(frames, probe(clip).frame_count)))
    found, ms, decode_ms = searched(clip, track)
    row = Clean(
        clip.stem,
        len(track),
        runs(found.kind, HAND, track.start),
        runs(found.kind, 0xFF ^ HAND, track.start),
        int((found.kind > 0).sum()),
        ms,
        decode_ms,
    )
    return row, track


def with_sprites(clip: Path, track: Track) -> Iterator[Hits]:
    """Search a clip with each sprite, tracked anew."""
    for kind in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            movie = Path(folder) / "pasted.mkv"
            share = pasted(clip, track, kind, movie)
            found, _, _ = searched(movie, track_clip(movie))
        covered, clear, flagged = share > COVERED, share == 0, found.kind > 0
        yield Hits(
            kind,
            int(covered.sum()),
            int((covered & flagged).sum()),
            int(clear.sum()),
            int((clear & flagged).sum()),
        )


# ---- the command -------------------------------------------------------------------------------------------


def main() -> None:
    """Search every clip as it is and with each sprite."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path, help="clips in which nothing covers the mouth")
    parser.add_argument("--frames", type=int, default=75, help="of each clip, from its start")
    parser.add_argument("--only-clean", action="store_true", help="paste nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    cleans: list[Clean] = []
    hits: list[Hits] = []
    for clip in args.clips:
        try:
            row, track = clean(clip, args.frames)
            several = [] if args.only_clean else list(with_sprites(clip, track))
        except VisualDubError as e:
            print(f"{clip.name}: {e}")
            continue
        print(row, *several, sep="\n  ", flush=True)
        cleans.append(row)
        hits += several
    text, findings, figures = result(cleans, hits)
    print("\n".join(text))
    if args.json:
        write_result(args.json, "Hands and other things before the mouth", text, findings, figures)


def result(
    cleans: list[Clean], hits: list[Hits]
) -> tuple[list[str], list[Finding], dict[str, float | int | str]]:
    """Tables, findings and figures."""
    alarms, frames = sum(c.alarms for c in cleans), sum(c.frames for c in cleans)
    ms, decode = (
        float(np.average(values, weights=[c.frames for c in cleans]))
        for values in ([c.ms for c in cleans], [c.decode_ms for c in cleans])
    )
    first = table(
        ("clip", "frames", "hand", "something else", "processor ms a frame", "of which decoding"),
        [
            (
                c.name,
                c.frames,
                ", ".join(c.hand) or "-",
                ", ".join(c.other) or "-",
                f"{c.ms:.1f}",
                f"{c.decode_ms:.1f}",
            )
            for c in cleans
        ],
    )
    rows = []
    for kind in SIZES:
        those = [h for h in hits if h.kind == kind]
        covered, found = sum(h.covered for h in those), sum(h.found for h in those)
        clear, wrong = sum(h.clear for h in those), sum(h.alarms for h in those)
        percent = f"{100 * found / covered:.1f} %" if covered else "-"
        rows.append((kind, covered, found, percent, clear, wrong))
    columns = ("pasted", "frames it covers", "found", "share", "frames it does not cover", "false alarms")
    text = [
        f"Clips as they are: {alarms} of {frames} frames are taken for occluded.",
        first,
        f"A drawn hand, microphone or cup comes from below, stays at the mouth and goes. A frame counts as"
        f" covered from {COVERED:.0%} of the mask on; each clip is tracked anew.",
        table(columns, rows),
    ]
    covered, found = sum(h.covered for h in hits), sum(h.found for h in hits)
    findings = [
        Finding("frames taken for occluded, in clips where nothing covers the mouth", "0", f"{alarms}"),
        Finding(
            "pasted hands, microphones and cups found",
            "",
            f"{found} of {covered} frames",
        ),
    ]
    figures: dict[str, float | int | str] = {
        "clean_frames": frames,
        "false_alarm_frames": alarms,
        "pasted_frames": covered,
        "pasted_found": found,
        "search_processor_ms_per_frame": round(ms, 2),
        "decode_processor_ms_per_frame": round(decode, 2),
    }
    return text, findings, figures


if __name__ == "__main__":
    main()

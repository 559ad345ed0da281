"""The A/V offset of the clips of a folder: against the known offsets of its clips.json, and with the audio of
other people, whose offset must not be found.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from visualdub import log
from visualdub.errors import BadInput
from visualdub.face.track import Track
from visualdub.face.tracker import cached_track
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.audio import read_audio
from visualdub.media.source import probe
from visualdub.speech.sync import FOUND_CONFIDENCE, Sync, clip_sync, estimate_sync

Row = tuple[str, str, str, str, str, str]


def measure(folder: Path, entry: dict[str, Any]) -> tuple[Row, Sync | None, Track]:
    """The row of one clip and its estimate, which is None where the clip does not allow one."""
    clip, known = folder / entry["file"], entry["av_offset_ms"]
    track, _ = cached_track(clip)
    try:
        sync = clip_sync(clip, track)
    except BadInput as e:
        reason = str(e).removeprefix(str(clip)).removeprefix(clip.name).lstrip(": ")
        return (clip.name, entry["speech"], "", "", "", reason), None, track
    offset = round(1000 * sync.av_offset_s)
    error = "" if known is None else f"{offset - known:+d}"
    verdict = "found" if sync.found else "not found"
    return (clip.name, entry["speech"], f"{offset:+d}", error, f"{sync.confidence:.3f}", verdict), sync, track


def unrelated(
    folder: Path, entries: list[dict[str, Any]], tracks: dict[str, Track], others: int
) -> list[float]:
    """The confidence of every track with the audio of `others` other speakers.

    The audio of GRID's clips is left out, because they all say sentences of one pattern.
    """
    confidences = []
    audio_of = {e["file"]: read_audio(folder / e["file"]) for e in entries}
    for i, entry in enumerate(entries):
        strangers = [
            e
            for e in entries[i + 1 :] + entries[:i]
            if e["speaker"] != entry["speaker"]
            and not e["file"].startswith("grid")
            and len(audio_of[e["file"]]) > 0.9 * len(audio_of[entry["file"]])
        ]
        times = probe(folder / entry["file"]).frame_times()
        for stranger in strangers[:: max(1, len(strangers) // others)][:others]:
            audio = audio_of[stranger["file"]][: len(audio_of[entry["file"]])]
            with contextlib.suppress(BadInput):
                confidences.append(estimate_sync(tracks[entry["file"]], times, audio).confidence)
    return confidences


def main() -> None:
    """A line per clip, then the figures over all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of clips, with a list of them in clips.json")
    parser.add_argument(
        "--others", type=int, default=6, help="audio of so many others is tried with each clip"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    log.setup(native=True)
    entries = json.loads((args.folder / "clips.json").read_text())
    rows, estimates, tracks = [], dict[str, Sync](), dict[str, Track]()
    for entry in entries:
        row, sync, tracks[entry["file"]] = measure(args.folder, entry)
        print(*row, sep="  ", flush=True)
        rows.append(row)
        if sync is not None:
            estimates[entry["file"]] = sync
    original = [e for e in entries if e["speech"] == "original" and e["file"] in estimates]
    known = [e for e in original if e["av_offset_ms"] is not None]
    errors = np.array([1000 * estimates[e["file"]].av_offset_s - e["av_offset_ms"] for e in known])
    found = sum(estimates[e["file"]].found for e in original)
    confidences = np.array(unrelated(args.folder, original, tracks, args.others))
    wrong = int((confidences >= FOUND_CONFIDENCE).sum())
    text = (
        f"Audio recorded with the pictures: the offset is found in {found} of {len(original)} clips; against"
        f" {len(known)} known offsets the mean error is {errors.mean():+.0f} ms, the mean absolute error"
        f" {np.abs(errors).mean():.0f} ms, the largest {np.abs(errors).max():.0f} ms. Audio of other people:"
        f" an offset is found in {wrong} of {len(confidences)} pairs. Positive: audio leads video."
    )
    print(text)
    if args.json:
        columns = ("clip", "audio", "A/V offset, ms", "against the known, ms", "confidence", "verdict")
        what = "A/V offset found of clips with their own audio; with the audio of other people"
        finding = Finding(what, "", f"{found} of {len(original)} clips; {wrong} of {len(confidences)} pairs")
        figures = {
            "clips": len(original),
            "clips_found": found,
            "mean_error_ms": float(errors.mean()),
            "mean_absolute_error_ms": float(np.abs(errors).mean()),
            "pairs": len(confidences),
            "pairs_found": wrong,
        }
        write_result(args.json, "A/V offset", [text, table(columns, rows)], [finding], figures)


if __name__ == "__main__":
    main()

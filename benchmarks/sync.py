"""`vdub sync` on a folder of clips with their clips.json: known and found offsets, and what the sound of
other people scores.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from visualdub import log
from visualdub.errors import BadInput
from visualdub.face.track import Track
from visualdub.face.tracker import cached_track
from visualdub.media.audio import read_audio
from visualdub.media.source import probe
from visualdub.speech.sync import (
    FOUND_CONFIDENCE,
    NULL_MODE,
    NULL_SCALE,
    Sync,
    clip_sync,
    estimate_sync,
)


def measure(folder: Path, entry: dict[str, Any]) -> tuple[Sync, Track] | None:
    """The estimate of one clip, printed; None where there is none."""
    clip, known = folder / entry["file"], entry["av_offset_ms"]
    track, _ = cached_track(clip)
    begun = time.process_time()
    try:
        sync = clip_sync(clip, track)
    except BadInput as e:
        print(f"{entry['file']:26} {entry['speech']:8} {str(e).removeprefix(str(clip))}")
        return None
    seconds, offset = time.process_time() - begun, round(1000 * sync.av_offset_s)
    error = f"known {known:+5d} error {offset - known:+4d}" if known is not None else " " * 22
    verdict = "found" if sync.found else "-----"
    print(
        f"{entry['file']:26} {entry['speech']:8} {error} offset {offset:+5d} correlation"
        f" {sync.correlation:.2f} confidence {sync.confidence:.4f} {verdict} {sync.speech_seconds:4.1f} s"
        f" spoken, {seconds:.2f} s of CPU"
    )
    return sync, track


def unrelated(
    folder: Path, entries: list[dict[str, Any]], tracks: dict[str, Track], others: int
) -> list[float]:
    """Scores of every track with the sound of `others` other speakers; GRID's sounds are left out, they are
    all one sentence.
    """
    scores = []
    sounds = {e["file"]: read_audio(folder / e["file"]) for e in entries}
    for i, entry in enumerate(entries):
        strangers = [
            e
            for e in entries[i + 1 :] + entries[:i]
            if e["speaker"] != entry["speaker"]
            and not e["file"].startswith("grid")
            and len(sounds[e["file"]]) > 0.9 * len(sounds[entry["file"]])
        ]
        track = tracks[entry["file"]]
        for stranger in strangers[:: max(1, len(strangers) // others)][:others]:
            audio = sounds[stranger["file"]][: len(sounds[entry["file"]])]
            try:
                sync = estimate_sync(track, probe(folder / entry["file"]).frame_times(), audio)
            except BadInput:
                continue
            if sync.confidence > 0:  # 0: the best fit is at the end of the reach
                scores.append(
                    NULL_MODE - NULL_SCALE * float(np.log(-np.log(min(sync.confidence, 1 - 1e-12))))
                )
            else:
                scores.append(-np.inf)
    return scores


def main() -> None:
    """A line per clip, then the figures over all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--others", type=int, default=6, help="sounds of other people tried with each clip")
    arguments = parser.parse_args()
    log.setup(native=True)
    folder = arguments.folder
    entries = json.loads((folder / "clips.json").read_text())
    results = {e["file"]: found for e in entries if (found := measure(folder, e)) is not None}
    own = [e for e in entries if e["speech"] == "original" and e["file"] in results]
    errors = np.array(
        [
            1000 * results[e["file"]][0].av_offset_s - e["av_offset_ms"]
            for e in own
            if e["av_offset_ms"] is not None
        ]
    )
    count, apart = sum(results[e["file"]][0].found for e in own), np.abs(errors)
    print(
        f"own sound: found in {count} of {len(own)}; against {len(errors)} known offsets: mean error"
        f" {errors.mean():+.0f} ms, mean absolute error {apart.mean():.0f} ms, largest {apart.max():.0f} ms"
    )
    scores = np.array(
        unrelated(folder, own, {f: track for f, (_, track) in results.items()}, arguments.others)
    )
    quantiles = ", ".join(f"{q:g} %: {np.quantile(scores, q / 100):.2f}" for q in (50, 90, 95, 99))
    confident = np.exp(-np.exp(-(scores - NULL_MODE) / NULL_SCALE))
    print(
        f"sound of other people: {len(scores)} pairs, found in {(confident >= FOUND_CONFIDENCE).sum()},"
        f" scores {quantiles}"
    )


if __name__ == "__main__":
    main()

"""Who speaks in short shots, by face and by sound: real clips against actors, and against their own sound and
that of others.

    python -m benchmarks.who_speaks CLIPS ACTORS [--clips N] [--json FILE]

CLIPS: the folder of real clips with its clips.json. ACTORS: a folder of actor packages, each adapted to the
clip of its name. Stretches of 1.6, 2.4 and 4 s are taken at random places.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from visualdub.actor.package import load_actor
from visualdub.edit.who import SPEAKS
from visualdub.errors import BadInput
from visualdub.face.appearance import distance, joined_likeness
from visualdub.face.track import Track
from visualdub.face.tracker import cached_track
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.audio import read_audio
from visualdub.media.source import probe
from visualdub.speech.sync import estimate_sync
from visualdub.timing import FrameRange

LENGTHS_S = (1.6, 2.4, 4.0)
STRANGERS = 2  # recordings of others that each stretch is compared with


class Heard(NamedTuple):
    """One stretch with one sound."""

    seconds: float
    own: bool
    confidence: float


def tracks_of(clips: Path, limit: int | None) -> dict[str, Track]:
    """The whole tracks of the clips that speak with their own sound."""
    entries = json.loads((clips / "clips.json").read_text(encoding="utf-8"))
    names = [e["file"] for e in entries if e["speech"] == "original"][:limit]
    return {name: cached_track(clips / name)[0] for name in names}


def distances(tracks: dict[str, Track], actors: Path) -> tuple[list[float], list[float]]:
    """Of every actor from the people of their own clip, and from those of the others."""
    own, others = list[float](), list[float]()
    for folder in sorted(actors.glob("*.actor")):
        who = load_actor(folder).likeness
        for name, track in tracks.items():
            apart = distance(who, joined_likeness([f.likeness for f in track.faces if f.person == 0]))
            (own if Path(name).stem == folder.stem else others).append(apart)
    return own, others


def stretches(clips: Path, tracks: dict[str, Track], seed: int) -> list[Heard]:
    """Confidences of stretches of every clip with its own sound, and with those of others."""
    rng, found = np.random.default_rng(seed), list[Heard]()
    names = list(tracks)
    sounds = {name: read_audio(clips / name) for name in names}
    for k, name in enumerate(names):
        track, times = tracks[name], probe(clips / name).frame_times()
        for seconds in LENGTHS_S:
            count = round(seconds * track.rate)
            if count >= len(track):
                continue
            start = int(rng.integers(0, len(track) - count))
            part = track.span(FrameRange(start, start + count))
            others = [names[(k + 5 + 6 * j) % len(names)] for j in range(STRANGERS)]
            for other in (name, *(o for o in others if o != name)):
                try:
                    sync = estimate_sync(part, times[start : start + count], sounds[other])
                except BadInput:
                    continue
                found.append(Heard(seconds, other == name, sync.confidence))
                print(name, seconds, other == name, f"{sync.confidence:.3f}", flush=True)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, help="folder of clips")
    parser.add_argument("actors", type=Path, help="folder of actor packages")
    parser.add_argument("--clips", dest="limit", type=int, metavar="N", help="the first N clips alone")
    parser.add_argument("--seed", type=int, default=1, help="of the places of the stretches")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    tracks = tracks_of(args.clips, args.limit)
    own, others = distances(tracks, args.actors)
    heard = stretches(args.clips, tracks, args.seed)
    rows = []
    for seconds in LENGTHS_S:
        for mine in (True, False):
            values = np.array([h.confidence for h in heard if (h.seconds, h.own) == (seconds, mine)])
            reached = int((values >= SPEAKS).sum())
            spread = ", ".join(f"{v:.2f}" for v in np.percentile(values, [0, 50, 100])) if len(values) else ""
            whose = "their own" if mine else "another's"
            rows.append((f"{seconds:g}", whose, str(len(values)), str(reached), spread))
    text = table(("seconds", "sound", "stretches", f"{SPEAKS} or more", "least, median, most"), rows)
    print(text)
    faces = f"own clip {min(own, default=np.nan):.2f} to {max(own, default=np.nan):.2f}, others from"
    faces += f" {min(others, default=np.nan):.2f} on ({len(own)} and {len(others)} pairs)"
    print(faces)
    if args.json:
        stranger = [h.confidence for h in heard if not h.own]
        wrong = f"{sum(c >= SPEAKS for c in stranger)} of {len(stranger)}"
        speaker = [h.confidence for h in heard if h.own]
        right = f"{sum(c >= SPEAKS for c in speaker)} of {len(speaker)}"
        findings = [
            Finding(
                "who speaks in short shots, by sound", "", f"{right} with their own, {wrong} with another's"
            ),
            Finding("distance of actors from faces, limit 1", "", faces),
        ]
        about = "Stretches at random places of clips that speak with their own sound, and the confidence that"
        about += f" the mouth fits the sound; from {SPEAKS} on an edit takes it for the speaker's. {faces}."
        write_result(args.json, "Who speaks in a shot", [about, text], findings)


if __name__ == "__main__":
    main()

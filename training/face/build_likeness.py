"""Builds `visualdub/face/models/likeness468.npz` from clips: what people look like on average, and how much
one person changes from moment to moment.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.face.appearance import colours, face_texels, plain_texels, texel_count
from visualdub.face.tracker import cached_track
from visualdub.media.source import open_source
from visualdub.media.square import shown_rgb
from visualdub.storage import atomic_path, protect, require_writable, write_json

SECONDS, MOMENTS, EVERY = 1.5, 5, 5  # of a moment, moments of a clip, frames between two that are looked at
Moments = NDArray[np.float64]  # (m, T, 3) brightness, red and blue against green


def moments(path: Path) -> Moments:
    """Mean texels of some moments of a clip's most present person."""
    track, _ = cached_track(path)
    length = max(1, round(SECONDS * float(track.rate)))
    count = min(MOMENTS, max(2, len(track) // length))
    starts = np.linspace(0, max(0, len(track) - length), count).astype(int)
    sums, counts = np.zeros((count, texel_count(), 3)), np.zeros(count, np.int64)
    with open_source(path) as source:
        for i, frame in enumerate(source.frames(track.frames)):
            inside = [k for k, start in enumerate(starts) if start <= i < start + length]
            if i % EVERY == 0 and inside and track.usable[i]:
                values = colours(plain_texels(face_texels(shown_rgb(frame), track.landmarks[i])))
                sums[inside] += values
                counts[inside] += 1
    shown = counts > 0
    return np.asarray(sums[shown] / counts[shown, None, None])


def build(clips: dict[str, Moments], speakers: dict[str, str]) -> dict[str, NDArray[np.float16]]:
    """Mean over people, and one over the deviation within a clip, softened by its median: (T, 3) each.

    speakers: of every clip. A person counts once, however many clips show them.
    """
    people: dict[str, list[NDArray[np.float64]]] = {}
    for name, several in clips.items():
        people.setdefault(speakers[name], []).extend(several)
    mean = np.mean([np.mean(several, 0) for several in people.values()], 0)
    within = np.mean([several.var(0) for several in clips.values()], 0)
    typical = np.array([np.median(within[:, 0]), *[np.median(within[:, 1:])] * 2])
    return {"mean": mean.astype(np.float16), "scale": (1 / np.sqrt(within + typical)).astype(np.float16)}


def main() -> None:
    """`python -m training.face.build_likeness CLIPS_FOLDER OUT.npz`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("clips", type=Path, help="folder with clips.json")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    listed = {c["file"]: c["speaker"] for c in json.loads((options.clips / "clips.json").read_text())}
    written = (options.out, options.out.with_suffix(".json"))
    protect([options.clips / name for name in listed], written)
    for path in written:
        require_writable(path)
    arrays = build({name: moments(options.clips / name) for name in sorted(listed)}, listed)
    with atomic_path(options.out) as temporary, temporary.open("wb") as f:
        np.savez_compressed(f, **arrays)
    people = len(set(listed.values()))
    write_json(
        options.out.with_suffix(".json"), {"name": "likeness468-1", "people": people, "clips": sorted(listed)}
    )


if __name__ == "__main__":
    main()

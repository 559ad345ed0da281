"""A small copy of a packed dataset, to be sent to a machine that trains: fewer frames of each person, smaller
pictures, and nothing outside the part of the crop that the network works on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.core.config import VIEW
from training.data.packed import (
    INDEX,
    SUFFIX,
    ClipFacts,
    Dataset,
    PackedClip,
    ShardPictures,
    read_whole,
    write_shard,
)
from visualdub.face.track import Track
from visualdub.storage import protect, write_json
from visualdub.timing import FrameRange

GREY = 128  # of everything outside the view, which costs next to nothing
FEWEST = 25  # frames of a clip; fewer teach nothing


def thin_dataset(source: Path, output: Path, frames: int, quality: int, sound_clips: int) -> int:
    """Write a copy of the dataset `source` with at most `frames` frames of each person; its size in bytes.

    quality: of WebP. sound_clips: how many clips keep their spectrograms, which are as large as the pictures.
    Raises `BadInput` for what is no dataset and where `output` would be written over it.
    """
    protect([source], [output])
    dataset = Dataset(source)
    output.mkdir(parents=True, exist_ok=True)
    kept: list[ClipFacts] = []
    for split in ("train", "validation"):
        for clips in dataset.people(split).values():
            left = frames
            for clip in sorted(clips, key=lambda c: -c.face_pixels):  # those filmed largest first
                count = min(clip.frames, left)
                if count >= FEWEST:
                    with_sound = clip.sound and sum(c.sound for c in kept) < sound_clips
                    kept.append(_thin_clip(dataset, clip, output, (count, quality, with_sound)))
                    left -= count
    index = json.loads((source / INDEX).read_text())
    write_json(output / INDEX, {**index, "clips": [asdict(c) for c in kept]})
    return sum(p.stat().st_size for p in output.iterdir())


def _thin_clip(dataset: Dataset, clip: ClipFacts, output: Path, settings: tuple[int, int, bool]) -> ClipFacts:
    """Write the first frames of a clip. settings: frames, quality, and whether the sound is kept."""
    count, quality, with_sound = settings
    packed = dataset.open(clip, VIEW)
    track = packed.track.span(FrameRange(0, count))
    pictures = ShardPictures(_pictures(packed, track), packed.crop.affine[:count], packed.mouth[:count])
    mel = np.asarray(packed.mel[:count], np.float32) if with_sound and packed.mel is not None else None
    meta, _ = read_whole(packed.path)
    write_shard(output / f"{clip.name}{SUFFIX}", track, pictures, mel, quality, meta.get("recipe", ""))
    return replace(clip, frames=count, usable=int(track.usable.sum()), sound=mel is not None)


def _pictures(packed: PackedClip, track: Track) -> Iterator[NDArray[np.uint8]]:
    """The crops of the track's frames, grey outside the view."""
    part = packed.view_box.slices()
    for i in range(len(track)):
        picture = np.full((packed.crop.size, packed.crop.size, 3), GREY, np.uint8)
        if track.usable[i]:
            picture[part] = packed.picture(i)[part]
        yield picture


def main() -> None:
    """Thin a dataset from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DATASET")
    parser.add_argument("--frames", type=int, default=200, help="most frames of a person")
    parser.add_argument("--quality", type=int, default=80, help="of WebP, 1 to 100")
    parser.add_argument("--sound-clips", type=int, default=12, help="clips that keep their spectrograms")
    args = parser.parse_args()
    size = thin_dataset(args.dataset, args.output, args.frames, args.quality, args.sound_clips)
    print(f"{args.output}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

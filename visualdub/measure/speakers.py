"""A folder of clips whose speakers are known, on which recognition is measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.face.crop import stable_crop, warp_crop
from visualdub.face.recognise import likeness_of
from visualdub.face.seen import Likeness
from visualdub.face.track import Track
from visualdub.media.source import open_source
from visualdub.media.square import shown_rgb
from visualdub.timing import FrameRange

REFERENCES = 3  # crops that an actor is recognised by, as many as a package holds
Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class Clip:
    """One clip of the list."""

    path: Path
    speaker: str
    frames: int

    @property
    def name(self) -> str:
        """Of its file."""
        return self.path.name


def read_clips(folder: Path) -> list[Clip]:
    """The clips that `clips.json` of the folder names."""
    listed = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
    return [Clip(folder / c["file"], c["speaker"], c["frames"]) for c in listed]


def pictures(clip: Clip, frames: FrameRange) -> list[Rgb]:
    """Frames of a clip with square pixels, (H, W, 3) each."""
    with open_source(clip.path) as source:
        return [shown_rgb(frame) for frame in source.frames(frames)]


def actor_likeness(clip: Clip, track: Track) -> Likeness:
    """What an actor adapted to a track's frames would be recognised by: its identity and some crops."""
    usable, crop = np.flatnonzero(track.usable), stable_crop(track)
    rows = usable[np.linspace(0, len(usable) - 1, min(REFERENCES, len(usable))).astype(int)]
    crops = []
    for i in rows.tolist():
        (rgb,) = pictures(clip, FrameRange(track.start + i, track.start + i + 1))
        crops.append(warp_crop(rgb, crop.affine[i]))
    return likeness_of(track.face_model, track.identity, np.stack(crops))

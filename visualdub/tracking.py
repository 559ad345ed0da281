"""The track of a clip, made once per clip: a second dub, language or measure reads it from the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from visualdub import storage as cache
from visualdub.errors import BadInput, NoFace
from visualdub.face.track import Track
from visualdub.timing import FrameRange

Progress = Callable[[int, int], None]


def cached_track(clip: Path, face: str | None = None, progress: Progress | None = None) -> tuple[Track, bool]:
    """The track of all frames of `clip`, and whether it came from the cache.

    face: which face, as `track_clip` takes it. Raises `MediaError` where the clip cannot be read and `NoFace` where no
    frame of it holds a usable face.
    """
    from visualdub.face.model import load_face_model
    from visualdub.face.tracker import track_clip
    from visualdub.media.movie_reader import content_hash

    path = cache.entry("tracks", content_hash(clip), f"{load_face_model().name}-{face or 'auto'}", ".npz")
    if path.is_file():
        try:
            return Track.load(path), True
        except BadInput:
            path.unlink()  # of an older format, or cut short by a full disk
    track = track_clip(clip, face=face, progress=progress)
    require_face(track, clip)
    track.save(path)
    return track, False


def require_face(track: Track, clip: Path, frames: FrameRange | None = None) -> None:
    """Raise `NoFace` where no frame (of `frames`) is usable."""
    part = track if frames is None else track.span(frames)
    if not part.usable.any():
        where = f"frames {frames}" if frames else f"{len(part)} frames"
        raise NoFace(f"{clip}: no usable face in {where}; expected one in at least one frame")

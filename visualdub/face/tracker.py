"""From a clip to its track: detection, landmarks, the fit, a confidence for every frame; made once per
clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from visualdub import storage
from visualdub.errors import MediaError, NoFace
from visualdub.face.camera import roll
from visualdub.face.detect import DETECTOR_VERSION, FaceTrack, choose_face
from visualdub.face.fit import FIT_VERSION, Fit, fit_shot
from visualdub.face.landmarks import face_width
from visualdub.face.models import DEFAULT_FACE_MODEL, FaceModel, face_model
from visualdub.face.people import PEOPLE_VERSION, find_people
from visualdub.face.seen import shifted
from visualdub.face.track import LIES_FROM, Track
from visualdub.mapped import spilled
from visualdub.media.frame import SQUARE
from visualdub.media.source import open_source, probe
from visualdub.media.square import shown_rgb
from visualdub.stages import Progress, StageClock, prefetch
from visualdub.timing import FrameRange

RESIDUAL_LIMIT = (
    0.03  # mean distance of mesh and landmarks, in face widths, at which nothing is left of the confidence
)
YAW_FULL, YAW_NONE = 40.0, 70.0  # degrees off the camera: full confidence up to, none from
ROLL_FULL = 40.0  # degrees of tilt in the picture, full confidence up to; none from LIES_FROM
WIDTH_NONE, WIDTH_FULL = 20.0, 48.0  # face width in pixels
LEAST_CONFIDENCE = 0.15
CONFIDENCE_VERSION = 2  # changes with every change of what comes out of `confidence_of`
CACHED_FORMAT = 3  # the oldest format of tracks whose numbers are still those that would be made today


def yaw_pitch(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees the face looks to the side and up or down, (n, 2), from rotations (n, 3, 3)."""
    forward = -rotation[..., 2]
    yaw = np.arctan2(forward[..., 0], -forward[..., 2])
    return np.asarray(np.degrees(np.stack([yaw, np.arcsin(np.clip(-forward[..., 1], -1, 1))], -1)))


def confidence_of(model: FaceModel, fit: Fit, seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(n,) 0..1: fit residual, head angle, tilt and size, each falling linearly; below a floor it is 0 and
    the frame passes through.
    """
    angles = np.abs(yaw_pitch(fit.pose.rotation)).max(1)
    width = fit.pose.scale * float(face_width(model.landmarks(fit.identity)))
    parts = [
        1 - np.nan_to_num(fit.residual, nan=1.0) / RESIDUAL_LIMIT,
        (YAW_NONE - angles) / (YAW_NONE - YAW_FULL),
        (LIES_FROM - roll(fit.pose.rotation)) / (LIES_FROM - ROLL_FULL),
        (width - WIDTH_NONE) / (WIDTH_FULL - WIDTH_NONE),
    ]
    value = np.where(seen, np.prod(np.clip(parts, 0, 1), axis=0), 0)
    return np.where(value < LEAST_CONFIDENCE, 0, value).astype(np.float32)


def track_clip(
    path: Path,
    frames: FrameRange | None = None,
    face: str | None = None,
    progress: Progress | None = None,
    clock: StageClock | None = None,
    model: str = DEFAULT_FACE_MODEL,
    source_hash: str | None = None,
) -> Track:
    """Track one person of a clip through all its shots (`face` as in `choose_face`), streaming.

    clock: takes the time of the stages "mediapipe" and "fit". model: name of the face model that is fitted.
    source_hash: the clip's `content_hash` where it is known.

    Raises `NoFace` when no frame shows one, `MediaError` for unreadable media, `BadInput` for a range past
    the end and for a face model that is not registered.
    """
    fitted = face_model(model)
    with open_source(path, progress) as source:
        info = source.info
        frames = frames.within(info.frame_count, path.name) if frames else FrameRange(0, info.frame_count)
        with closing(prefetch(shown_rgb(f) for f in source.frames(frames))) as pictures:
            seen_faces = find_people(pictures, progress, len(frames), clock, fitted)
    count, people = seen_faces.count, seen_faces.people
    if not people:
        raise NoFace(
            f"{path.name}: no face in {count} frames; expected a person whose face is {WIDTH_FULL:.0f} pixels"
            " wide"
        )
    numbers = choose_people(people, face, path.name)
    seen_faces, person = seen_faces.merged(numbers), numbers[0]
    landmarks, cuts = seen_faces.dense(person), seen_faces.cuts(person)
    with (clock or StageClock()).stage("fit", count):
        fit = fit_shot(fitted, landmarks, cuts)
    seen = ~np.isnan(landmarks[:, 0, 0])
    return Track(
        path.name,
        source_hash or storage.content_hash(path, progress),
        (info.image.width, info.image.height),
        info.rate,
        frames.start,
        landmarks,
        confidence_of(fitted, fit, seen),
        fit.pose.scale,
        fit.pose.rotation,
        fit.pose.translation[:, :2],
        fit.identity,
        fit.jaw,
        fit.expression,
        fitted.name,
        cuts=tuple(frames.start + cut for cut in cuts),
        faces=tuple(shifted(face, frames.start) for face in seen_faces.faces),
        person=person,
        pixel_aspect=info.image.pixel_aspect,
    )


def choose_people(people: Sequence[FaceTrack], wanted: str | None, name: str) -> list[int]:
    """The numbers of the people whom a user means by `--face`: one, or with `0+2` several who are one person.

    Raises `BadInput` for somebody who is not there.
    """
    found = []
    for one in [None] if wanted is None else wanted.split("+"):
        chosen = choose_face(people, one, name)
        number = next(k for k, person in enumerate(people) if person is chosen)
        if number not in found:
            found.append(number)
    return found


# ---- tracks from the cache ---------------------------------------------------------------------------------


def cached_track(
    clip: Path,
    *,
    frames: FrameRange | None = None,
    face: str | None = None,
    progress: Progress | None = None,
    model: str = DEFAULT_FACE_MODEL,
) -> tuple[Track, bool]:
    """The track of exactly `frames` of `clip` (None: all), and whether it came from the cache.

    face, model: as `track_clip` takes them. A range is tracked and kept by itself: it is not cut from the
    track of the whole clip, whose numbers differ a little. Raises `MediaError` where the clip cannot be read,
    or is changed meanwhile, `BadInput` for a range past its end and `NoFace` where none of the frames holds a
    usable face.
    """
    info = probe(clip, progress)
    if frames is not None:
        whole = FrameRange(0, info.frame_count)
        frames = frames.within(info.frame_count, str(clip)) if frames != whole else None
    source_hash = storage.content_hash(clip, progress)

    def make() -> Track:
        before = clip.stat()
        made = track_clip(clip, frames, face, progress, model=model, source_hash=source_hash)
        after = clip.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise MediaError(f"{clip} was written to while it was tracked; expected a clip that is finished")
        require_face(made, clip)
        return made

    def load(file: BinaryIO) -> Track:
        return replace(Track.read(file), source=clip.name)  # it may have had another name before

    path = storage.entry(
        "tracks", source_hash, track_key(frames, face, model, info.image.pixel_aspect), ".npz"
    )
    track, from_cache = storage.cached(path, load, make, Track.write, progress)
    return replace(track, landmarks=spilled(track.landmarks)), from_cache


def track_key(frames: FrameRange | None, face: str | None, model: str, aspect: Fraction = SQUARE) -> str:
    """All that decides a track's numbers besides the clip: two equal keys of one clip are the same track.

    aspect: of the clip's pixels; square ones are not named, because older versions took all for square.
    """
    versions = f"{DETECTOR_VERSION}.{PEOPLE_VERSION}.{FIT_VERSION}.{CONFIDENCE_VERSION}.{CACHED_FORMAT}"
    pixels = "" if aspect == SQUARE else f"-pixels {aspect}"
    return f"{model}-{face or 'auto'}-{frames or 'all'}-{versions}{pixels}"


def require_face(track: Track, clip: Path, frames: FrameRange | None = None) -> None:
    """Raise `NoFace` where no frame (of `frames`) is usable, nor shows a face that lies or is upside down."""
    part = track if frames is None else track.span(frames)
    if not (part.usable | part.turned).any():
        where = f"frames {frames}" if frames else f"{len(part)} frames"
        raise NoFace(f"{clip}: no usable face in {where}; expected one in at least one frame")

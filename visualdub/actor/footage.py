"""Frames of the footage that an actor was adapted on, chosen for their fine detail."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub.actor.detail import FOLDER, write_detail
from visualdub.actor.package import actor_folder, load_actor
from visualdub.actor.record import ActorRecord
from visualdub.errors import BadInput, InternalError
from visualdub.face.crop import stable_crop
from visualdub.face.geometry import filmed_mesh, mask_of
from visualdub.face.track import Track
from visualdub.media.frame import Frame
from visualdub.media.source import open_source
from visualdub.render.detail_frames import (
    MESH_GRID,
    DetailFrames,
    rotation_degrees,
    spread_of,
)
from visualdub.render.region import frame_region, region_rgb
from visualdub.stages import Progress
from visualdub.timing import FrameRange

DEGREES = 4.0  # of head rotation that tell as much as one standard deviation of the jaw
MOST_FRAMES = 150
MOST_BYTES = 12 * 2**20  # of all pictures of a package
QUALITY = 95  # of JPEG, with whole chroma: on a sharp picture two codes of 8 bits off, on average


# ---- choosing ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DetailClip:
    """Footage to choose from: a clip and the track of the frames that may be chosen."""

    path: Path
    track: Track


def choose_frames(clips: Sequence[Track], most: int = MOST_FRAMES) -> list[tuple[int, int]]:
    """(clip, frame of its track) of at most `most` frames with a usable face, the most informative first.

    The first is the most usual one; each further one is that which is furthest from all before it, in jaw,
    speech components and head rotation. So the first of them hold all that the footage shows, however few are
    kept.
    """
    places = [(c, int(i)) for c, track in enumerate(clips) for i in np.flatnonzero(track.usable)]
    if not places:
        return []
    motion = np.stack([_motion(clips[c], i) for c, i in places])
    rotation = np.stack([clips[c].rotation[i] for c, i in places])
    unit = motion / spread_of(motion)
    chosen = [int(np.argmin(((unit - unit.mean(0)) ** 2).sum(1)))]
    apart = np.full(len(places), np.inf)
    while len(chosen) < min(most, len(places)):
        last = chosen[-1]
        turned = rotation_degrees(rotation, rotation[last]) / DEGREES
        apart = np.minimum(apart, ((unit - unit[last]) ** 2).sum(1) + turned**2)
        apart[last] = -1
        chosen.append(int(np.argmax(apart)))
    return [places[k] for k in chosen]


def _motion(track: Track, i: int) -> NDArray[np.float64]:
    """(1 + S,) jaw and speech components of a frame."""
    return np.concatenate([[track.jaw[i]], track.expression[i, : track.model.n_speech]])


@dataclass(frozen=True)
class _Kept:
    """One chosen frame, read."""

    picture: bytes
    mesh: NDArray[np.float32]  # (V, 3)
    scale: float


_Reading = dict[tuple[int, int], _Kept]  # by (clip, frame of its track)


def detail_of(
    clips: Sequence[DetailClip], progress: Progress | None = None, most_bytes: int = MOST_BYTES
) -> DetailFrames | None:
    """The most informative frames of footage, as many as `MOST_FRAMES` and `most_bytes` allow; None where no
    frame can be used.

    progress: gets the stage "detail", in frames. Raises `MediaError` where a clip cannot be decoded.
    """
    order = choose_frames([c.track for c in clips])
    reading: _Reading = {}
    total = sum(len(c.track) for c in clips)
    done = 0
    for c, clip in enumerate(clips):
        wanted = {i for k, i in order if k == c}
        _read(clip, c, wanted, reading)
        done += len(clip.track)
        if progress is not None:
            progress.check()
            progress.report("detail", done, total)
    size, kept = 0, []
    for place in order:
        found = reading.get(place)
        if found is not None and size + len(found.picture) <= most_bytes:
            size += len(found.picture)
            kept.append(place)
    return _assembled(clips, sorted(kept), reading) if kept else None


def _read(clip: DetailClip, number: int, wanted: set[int], reading: _Reading) -> None:
    """Decode the frames `wanted` of a clip's track."""
    if not wanted:
        return
    track, crop = clip.track, stable_crop(clip.track)
    with open_source(clip.path) as source:
        for i, frame in enumerate(source.frames(track.frames)):
            if i in wanted:
                affine = crop.stored_affine[i]
                kept = _cut(frame, mask_of(track, crop, i), filmed_mesh(track, crop, i), affine)
                if kept is not None:
                    scale = float(track.scale[i] * crop.scale[i] / np.sqrt(affine[0, 0] * affine[1, 1]))
                    reading[number, i] = _Kept(*kept, scale)


def _cut(
    frame: Frame, mask: NDArray[np.float32], mesh: NDArray[np.float64], affine: NDArray[np.float64]
) -> tuple[bytes, NDArray[np.float32]] | None:
    """The picture around the mask and the mesh in its pixels; None where the mask is outside the frame.

    mask: (S, S), mesh: (V, 3), in crop pixels.
    """
    box = frame_region(frame, mask, affine)
    if box is None:
        return None
    codes = np.rint(region_rgb(frame, box).clip(0, 1) * 255).astype(np.uint8)
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    good, data = cv2.imencode(".jpg", np.ascontiguousarray(codes[..., ::-1]), options)
    if not good:
        raise InternalError(f"a picture of {box.width}x{box.height} pixels cannot be written as JPEG")
    points = mesh.copy()
    points[:, :2] = (points[:, :2] - affine[:, 2]) / (affine[0, 0], affine[1, 1]) - (box.left, box.top)
    points[:, 2] /= np.sqrt(affine[0, 0] * affine[1, 1])
    return data.tobytes(), np.asarray(np.rint(points * MESH_GRID) / MESH_GRID, np.float32)


def _assembled(
    clips: Sequence[DetailClip], places: Sequence[tuple[int, int]], reading: _Reading
) -> DetailFrames:
    found = [reading[place] for place in places]
    tracks = [clips[c].track for c, _ in places]
    rows = [i for _, i in places]
    motion = np.stack([_motion(t, i) for t, i in zip(tracks, rows, strict=True)])
    return DetailFrames(
        pictures=tuple(k.picture for k in found),
        mesh=np.stack([k.mesh for k in found]),
        jaw=motion[:, 0].copy(),
        expression=motion[:, 1:].copy(),
        rotation=np.stack([t.rotation[i] for t, i in zip(tracks, rows, strict=True)]),
        scale=np.array([k.scale for k in found]),
        source_hash=tuple(t.source_hash for t in tracks),
        number=np.array([t.start + i for t, i in zip(tracks, rows, strict=True)], np.int64),
    )


# ---- into a package ----------------------------------------------------------------------------------------


def add_detail(folder: Path, clips: Sequence[DetailClip], progress: Progress | None = None) -> DetailFrames:
    """Choose frames of the footage that the package at `folder` was adapted on, and write them into it, in
    place of those that it has. Returns them. The package is replaced when the new one is whole.

    Raises `ActorError` for a package that cannot be loaded, `BadInput` where no frame can be used.
    """
    load_actor(folder)  # whole, unchanged and with consent
    frames = detail_of(clips, progress)
    if frames is None:
        names = ", ".join(str(c.path) for c in clips) or str(folder)
        raise BadInput(f"{names}: no frame can be used for detail; expected frames that show the face")
    with actor_folder(folder) as partial:
        shutil.copytree(folder, partial, dirs_exist_ok=True)
        shutil.rmtree(partial / FOLDER, ignore_errors=True)
        write_detail(partial, frames)
    return frames


def footage_of(record: ActorRecord, path: Path, track: Track) -> list[DetailClip]:
    """The frames of the clip at `path` that the actor was adapted on; nobody consented to others being kept.

    track: of the whole clip. Raises `BadInput` for a clip that the actor was not adapted on.
    """
    ranges = [f for f in record.frames if f.source_hash == track.source_hash]
    if not ranges:
        names = ", ".join(sorted({f.source for f in record.frames}))
        raise BadInput(f"{path}: {record.name} was not adapted on this clip; expected {names}")
    return [DetailClip(path, track.span(FrameRange(f.start, f.end_exclusive))) for f in ranges]

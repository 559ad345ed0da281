"""One pass over a shot that finds what covers the mouth, and what becomes of such frames.

Hands are found by MediaPipe's hand model, anything else by the colours of the face it hides.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from visualdub import storage
from visualdub.edit.shot import Shot
from visualdub.errors import BadInput
from visualdub.face.agreement import AGREEMENT_VERSION, Colours, disagreement
from visualdub.face.crop import Crop, crop_of, stable_crop
from visualdub.face.geometry import filmed_mesh, mask_of
from visualdub.face.hands import HANDS_VERSION, Hand, followed, near_mouth, search, to_clip, wide_affine
from visualdub.face.landmarks import LIPS_OUTER, landmarks_to_crop
from visualdub.face.mediapipe_models import HandFinder
from visualdub.face.occlusion import HAND, OBJECT, Occlusion
from visualdub.face.track import Performance, Track
from visualdub.media.frame import Frame
from visualdub.media.holdout_matte import HoldoutMatte
from visualdub.media.source import open_source
from visualdub.records import digest
from visualdub.render.holdout import Holdouts, hand_matte
from visualdub.speech.performance import pass_through
from visualdub.stages import Progress, prefetch

HOLD, PASS, DRAW = TREATMENTS = ("hold", "pass", "draw")
LEAST_COVER = 0.01  # share of the mask that a hand must cover to count
AHEAD = 4  # frames decoded in advance


def find_occlusion(shot: Shot, track: Track, progress: Progress | None = None) -> Occlusion:
    """What covers the mouth in each of the shot's frames, from the cache where it was found before.

    track: of exactly the shot's frames. Raises `MediaError` where a frame cannot be decoded and `Interrupted`
    once `progress` is cancelled.
    """

    def make() -> Occlusion:
        return search_shot(shot, track, progress)

    numbers = (track.scale, track.rotation, track.translation, track.identity, track.jaw, track.expression)
    key = digest(str(shot.frames), track.face_model, *numbers, track.confidence)
    detail = f"{key}-{HANDS_VERSION}.{AGREEMENT_VERSION}"
    path = storage.entry("occlusion", track.source_hash, detail, ".npz")
    found, _ = storage.cached(path, Occlusion.read, make, _write, progress)
    return found


def nothing_found(track: Track) -> Occlusion:
    """That nothing covers the mouth in any frame of `track`."""
    none = np.zeros(0, np.int64)
    triangles = len(track.model.face_triangles)
    hands, covered = np.zeros((0, 21, 2), np.float32), np.zeros((0, triangles), np.bool_)
    return Occlusion(np.zeros(len(track), np.uint8), none, hands, none, covered)


def _write(occlusion: Occlusion, file: BinaryIO) -> None:
    occlusion.write(file)


def search_shot(shot: Shot, track: Track, progress: Progress | None = None) -> Occlusion:
    """`find_occlusion` without the cache."""
    progress, crop = progress or Progress(), stable_crop(track)
    colours = Colours.of_frames(len(track), track.model)
    lips = landmarks_to_crop(track.landmarks[:, list(LIPS_OUTER)], crop.affine)
    hands: dict[int, list[Hand]] = {}

    def frames() -> Iterator[tuple[int, Frame]]:
        with open_source(shot.source) as source:
            for frame in prefetch(source.frames(shot.frames), AHEAD):
                i = frame.index - shot.frames.start
                progress.report("occluders", i + 1, len(track))
                if track.usable[i]:
                    picture = crop_of(frame, crop.stored_affine[i], fast=True)
                    scale = float(track.scale[i] * crop.scale[i])
                    colours.add(i, picture, filmed_mesh(track, crop, i), scale, lips[i])
                yield i, frame

    with closing(HandFinder()) as finder:

        def look(i: int, frame: Frame) -> list[Hand]:
            if not track.usable[i]:
                return []
            picture = crop_of(frame, wide_affine(crop.stored_affine[i]), fast=True)
            seen = [to_clip(h, wide_affine(crop.affine[i])) for h in finder.hands(picture)]
            return [h for h in seen if near_mouth(h, crop.affine[i])]

        for i, seen in search(frames(), look):
            hands[i] = seen
    return _occlusion(track, crop, followed(hands), colours)


def _occlusion(track: Track, crop: Crop, hands: dict[int, list[Hand]], colours: Colours) -> Occlusion:
    """The hands that cover some of the mask, and what disagrees with the face's colours elsewhere."""
    kind = np.zeros(len(track), np.uint8)
    over: list[tuple[int, Hand]] = []
    hidden: dict[int, NDArray[np.bool_]] = {}  # the triangles that hands cover
    for i, several in hands.items():
        if not track.usable[i]:
            continue
        affine, mask = crop.affine[i], mask_of(track, crop, i)
        x, y = colours.places(filmed_mesh(track, crop, i))
        for hand in several:
            matte = hand_matte([hand * affine[0, 0] + affine[:, 2]], crop.size)
            if float((matte * mask).sum()) > LEAST_COVER * float(mask.sum()):
                over.append((i, hand))
                hidden[i] = hidden.get(i, np.False_) | (matte[y, x] > 0)
                kind[i] |= HAND
    triangles = len(track.model.face_triangles)
    covered = disagreement(colours, triangles, hidden)
    for i in covered:
        kind[i] |= OBJECT
    return Occlusion(
        kind,
        np.array([i for i, _ in over], np.int64),
        np.array([h for _, h in over], np.float32).reshape(-1, 21, 2),
        np.array(list(covered), np.int64),
        np.array(list(covered.values()), np.bool_).reshape(-1, triangles),
    )


# ---- what becomes of such frames ---------------------------------------------------------------------------


def require_treatment(name: str) -> None:
    """Raise `BadInput` where `name` is none of `TREATMENTS`."""
    if name not in TREATMENTS:
        raise BadInput(f"--occluded {name!r} was asked for; expected {HOLD}, {PASS} or {DRAW}")


def treat(
    found: Occlusion,
    treatment: str,
    track: Track,
    performance: Performance,
    matte: HoldoutMatte | None = None,
) -> tuple[Performance, Holdouts]:
    """The performance of a shot, and what is held out of its frames, by what becomes of those in `found`.

    HOLD: they are drawn and what covers the mouth keeps its pixels. PASS: they pass through, and towards them
    the performance eases to the filmed one. DRAW: they are drawn as if nothing were there. matte: an
    artist's, which is always held out.
    """
    if treatment == PASS:
        performance = pass_through(track, performance, found.kind > 0)
    return performance, Holdouts(matte, found if treatment == HOLD else None)

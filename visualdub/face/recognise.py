"""Which of a track's frames show an actor, and which show somebody else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from visualdub.face.appearance import distance, face_texels, joined_likeness, plain_texels
from visualdub.face.mediapipe_models import MeshTracker
from visualdub.face.models import face_model
from visualdub.face.people import SHARED
from visualdub.face.seen import Likeness
from visualdub.face.track import Track
from visualdub.mapped import spilled

ONE_FACE = 1.3  # times the limit for a person: what one face of theirs may be unlike the actor
NAMED = 1.6  # the limit for a person who was named


def likeness_of(model: str, identity: NDArray[np.float64], references: NDArray[np.uint8]) -> Likeness:
    """Shape and looks of an actor: of an identity (V, 3) of the face model named `model`, and of reference
    crops (R, S, S, 3) as far as a face is found in them.
    """
    shape = np.asarray(face_model(model).landmarks(identity), np.float32)
    return Likeness(shape, _looks(references), max(1, len(references)))


def _looks(references: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """(T, 3) the mean texels of crops (R, S, S, 3); None where none shows a face."""
    mesh, texels = MeshTracker(), []
    try:
        for crop in references:
            size = len(crop)
            mesh.look_at(np.array([size / 4, size / 4, size * 3 / 4, size * 3 / 4]), crop.shape)
            landmarks = mesh.landmarks(crop)
            if landmarks is not None:
                texels.append(plain_texels(face_texels(crop, landmarks)))
    finally:
        mesh.close()
    return np.asarray(np.mean(texels, 0), np.float32) if texels else None


def people_like(track: Track, who: Likeness) -> list[int]:
    """The numbers of the people in `track` who are `who`, the most alike first, none of whom is seen beside
    another; empty where nobody is.

    Light that changes from scene to scene makes several people of one actor. Where the looks of `who` are not
    known, the one whose shape is nearest has to be enough.
    """
    apart = _distances(track, who)
    alike = sorted((number for number in apart if apart[number] < 1), key=lambda number: apart[number])
    if who.texels is None:
        return alike[:1]
    chosen: list[int] = []
    for number in alike:
        if not any(_together(track, number, other) for other in chosen):
            chosen.append(number)
    return chosen


def _distances(track: Track, who: Likeness) -> dict[int, float]:
    """The distance from `who` of everybody in a track, by number."""
    people: dict[int, list[Likeness]] = {}
    for face in track.faces:
        people.setdefault(face.person, []).append(face.likeness)
    return {number: distance(who, joined_likeness(faces)) for number, faces in people.items()}


def _together(track: Track, a: int, b: int) -> bool:
    """Whether two people are seen at the same time."""
    first, second = ([f for f in track.faces if f.person == number] for number in (a, b))
    overlaps = (min(f.end_exclusive, s.end_exclusive) - max(f.start, s.start) for f in first for s in second)
    return max(overlaps, default=0) > SHARED


def only_frames_of(track: Track, who: Likeness) -> Track:
    """`track` without the frames in which its person is not `who`: they have no usable face, and show another
    person. A track that knows nothing of the faces in it, of an older version, comes back as it is.

    Where the person was named, light and lens may differ from what `who` was adapted on: the limit is wider.
    """
    mine = [face for face in track.faces if face.person == track.person]
    if not mine:
        return track
    limit = NAMED if track.named and who.texels is not None else 1.0
    apart = _distances(track, who)
    nearest = track.named or who.texels is not None or apart[track.person] <= min(apart.values())
    if apart[track.person] >= limit or not nearest:
        strangers = mine
    else:
        strangers = [f for f in mine if distance(who, f.likeness) >= ONE_FACE * limit]
    if not strangers:
        return track
    landmarks, confidence = track.landmarks.copy(), track.confidence.copy()
    for face in strangers:
        part = slice(max(0, face.start - track.start), max(0, face.end_exclusive - track.start))
        landmarks[part], confidence[part] = np.nan, 0
    nobody = 1 + max(face.person for face in track.faces)
    faces = tuple(replace(f, person=nobody) if any(f is s for s in strangers) else f for f in track.faces)
    return replace(track, landmarks=spilled(landmarks), confidence=confidence, faces=faces)

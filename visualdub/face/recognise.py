"""Which of a track's frames show an actor, and which show somebody else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from visualdub.face.appearance import Likeness, distance, face_texels, plain_texels
from visualdub.face.mediapipe_models import MeshTracker
from visualdub.face.models import face_model
from visualdub.face.track import Track


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


def nearest_person(track: Track, who: Likeness) -> tuple[int | None, float]:
    """The number of the person of `track` who is most like `who`, and the distance; 1 and more is somebody
    else. None where the track knows nobody.
    """
    apart = {face.person: np.inf for face in track.faces}
    for face in track.faces:
        apart[face.person] = min(apart[face.person], distance(who, face.likeness))
    number = min(apart, key=lambda person: apart[person], default=None)
    return number, float(apart[number]) if number is not None else np.inf


def only_frames_of(track: Track, who: Likeness) -> Track:
    """`track` without the frames in which its person is not `who`: they have no usable face, and show another
    person. A track that knows nothing of the faces in it, of an older version, comes back as it is.
    """
    strangers = [
        face for face in track.faces if face.person == track.person and distance(who, face.likeness) >= 1
    ]
    if not strangers:
        return track
    landmarks, confidence = track.landmarks.copy(), track.confidence.copy()
    for face in strangers:
        part = slice(max(0, face.start - track.start), max(0, face.end_exclusive - track.start))
        landmarks[part], confidence[part] = np.nan, 0
    nobody = 1 + max(face.person for face in track.faces)
    faces = tuple(replace(f, person=nobody) if any(f is s for s in strangers) else f for f in track.faces)
    return replace(track, landmarks=landmarks, confidence=confidence, faces=faces)

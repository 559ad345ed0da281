"""The reconstruction of one shot, frame by frame, and the performance that drives a dub."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.face.camera import WEAK_PERSPECTIVE, Camera, Pose, roll
from visualdub.face.models import FaceModel, face_model
from visualdub.face.seen import SeenFace, faces_to_arrays, read_faces
from visualdub.mapped import let_go
from visualdub.media.frame import SQUARE
from visualdub.storage import atomic_path
from visualdub.timing import FrameRange

# 1 had no camera: every track was weak perspective; 2 knew neither shots nor other people; up to 3, a pixel
# was taken for square whatever its clip said
FORMAT = 4


LIES_FROM = 60.0  # degrees by which a face is tilted in the picture that lies, or stands on its head
JAW_OPEN = 1.4  # widest jaw of the box and mask, in the model's `jaw_limit`s


@dataclass(frozen=True)
class Track:
    """Per frame: landmarks, pose, expression, jaw, confidence; and the actor's identity. n frames, V model
    vertices.

    Pixels are square: the clip's displayed pixels where they are, and otherwise those times `square_scale`
    of `media.square`. x right, y down, centre of the first pixel at (0.5, 0.5); z points away from the camera
    on the same scale. `camera` says how `scale * R @ vertex + translation` falls on the
    picture (`face.camera`). Where a new shot begins, nothing is continued from the frame before: neither the
    fit's smoothing nor the crop's, no window of the renderer and no fade.
    """

    source: str  # file name of the clip
    source_hash: str  # of the clip's bytes, so that a cached track is never used for another clip
    size: tuple[int, int]  # width, height of the clip in its own pixels, which may not be square
    rate: Fraction
    start: int  # number of the first tracked frame in the clip
    landmarks: NDArray[np.float32]  # (n, 478, 3) MediaPipe's own, pixels; NaN where no face was found
    confidence: NDArray[np.float32]  # (n,) in 0..1; 0 = no usable face, the frame passes through
    scale: NDArray[np.float64]  # (n,) pixels per model unit
    rotation: NDArray[np.float64]  # (n, 3, 3)
    translation: NDArray[np.float64]  # (n, 2) pixels
    identity: NDArray[np.float64]  # (V, 3) neutral mesh of the actor, mouth closed, model units
    jaw: NDArray[np.float64]  # (n,) jaw hinge, radians, positive opens
    expression: NDArray[np.float64]  # (n, K): the model's speech components first, then the upper face's
    face_model: str  # name and version of the model the numbers belong to
    camera: Camera = WEAK_PERSPECTIVE
    cuts: tuple[int, ...] = ()  # numbers in the clip of the frames with which a new shot begins, ascending
    faces: tuple[SeenFace, ...] = ()  # whoever is seen in the tracked frames, this person too
    person: int = 0  # the number of the tracked person in `faces`
    named: bool = False  # somebody said that this is the actor; it is not kept in files
    pixel_aspect: Fraction = SQUARE  # width / height of a pixel of the clip

    def __len__(self) -> int:
        return len(self.confidence)

    @property
    def frames(self) -> FrameRange:
        """The frames of the clip this track covers."""
        return FrameRange(self.start, self.start + len(self))

    @property
    def shots(self) -> tuple[FrameRange, ...]:
        """The frames of the clip between two cuts, in order; all of them where there is no cut."""
        ends = [self.start, *self.cuts, self.frames.end_exclusive]
        return tuple(FrameRange(a, b) for a, b in pairwise(ends))

    @property
    def parts(self) -> tuple[slice, ...]:
        """The shots as slices of this track's arrays."""
        return tuple(slice(s.start - self.start, s.end_exclusive - self.start) for s in self.shots)

    @cached_property
    def extreme_meshes(self) -> NDArray[np.float64]:
        """(2, V, 3): neutral expression with the jaw fully closed, and fully open."""
        jaw = np.array([0.0, JAW_OPEN * self.model.jaw_limit])
        return self.model.vertices(self.identity, jaw, np.zeros((2, self.model.n_expression)))

    @cached_property
    def seen(self) -> NDArray[np.bool_]:
        """(n,) frames in which this person's face was found."""
        return np.asarray(~np.isnan(self.landmarks[:, 0, 0]))

    def release_landmarks(self) -> None:
        """Give the memory of many landmarks back until they are used again (`visualdub.mapped`)."""
        _ = self.seen  # all that most stages ask of them
        let_go(self.landmarks)

    @property
    def others(self) -> NDArray[np.bool_]:
        """(n,) frames that show another person, and not this one."""
        out = np.zeros(len(self), np.bool_)
        for face in self.faces:
            if face.person != self.person:
                out[max(0, face.start - self.start) : max(0, face.end_exclusive - self.start)] = True
        return np.asarray(out & ~self.seen)

    @property
    def turned(self) -> NDArray[np.bool_]:
        """(n,) frames in which this person's face lies or stands on its head."""
        return np.asarray(self.seen & (roll(self.rotation) > LIES_FROM))

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(n,) frames a dub may touch."""
        return self.confidence > 0

    @property
    def model(self) -> FaceModel:
        """The face model that the numbers belong to. Raises `BadInput` where it is not registered."""
        try:
            return face_model(self.face_model)
        except BadInput as e:
            raise BadInput(f"{self.source}: tracked with a model that is not here: {e}") from None

    @property
    def pose(self) -> Pose:
        """The head pose, with a depth of zero for the model's origin."""
        depth = np.zeros((len(self), 1))
        return Pose(self.scale, self.rotation, np.concatenate([self.translation, depth], 1))

    def span(self, frames: FrameRange) -> Track:
        """The track of `frames` (in frames of the clip) alone. Raises `BadInput` where they are not all
        tracked.
        """
        if frames.start < self.start or frames.end_exclusive > self.frames.end_exclusive:
            raise BadInput(f"{self.source}: frames {frames} were asked for, frames {self.frames} are tracked")
        s = slice(frames.start - self.start, frames.end_exclusive - self.start)
        return Track(
            self.source,
            self.source_hash,
            self.size,
            self.rate,
            frames.start,
            self.landmarks[s],
            self.confidence[s],
            self.scale[s],
            self.rotation[s],
            self.translation[s],
            self.identity,
            self.jaw[s],
            self.expression[s],
            self.face_model,
            self.camera,
            tuple(c for c in self.cuts if frames.start < c < frames.end_exclusive),
            tuple(f for f in self.faces if f.start < frames.end_exclusive and f.end_exclusive > frames.start),
            self.person,
            self.named,
            self.pixel_aspect,
        )

    def save(self, path: Path) -> None:
        """Write as .npz, whole or not at all. Raises `OutputError` where it cannot be written."""
        with atomic_path(path) as temporary, temporary.open("wb") as f:
            self.write(f)

    def write(self, file: BinaryIO) -> None:
        """Write as .npz into an open file."""
        np.savez_compressed(
            file,
            format=FORMAT,
            source=self.source,
            source_hash=self.source_hash,
            size=self.size,
            rate=str(self.rate),
            start=self.start,
            landmarks=self.landmarks,
            confidence=self.confidence,
            scale=self.scale,
            rotation=self.rotation,
            translation=self.translation,
            identity=self.identity,
            jaw=self.jaw,
            expression=self.expression,
            face_model=self.face_model,
            camera=json.dumps(self.camera.to_json()),
            cuts=np.array(self.cuts, np.int64),
            person=self.person,
            pixel_aspect=str(self.pixel_aspect),
            **faces_to_arrays(self.faces),
        )

    @classmethod
    def load(cls, path: Path) -> Track:
        """Read what `save` wrote. Raises `BadInput` for any other file."""
        try:
            with path.open("rb") as f:
                return cls.read(f)
        except BadInput as e:
            raise BadInput(f"{path}: {e}") from e
        except Exception as e:  # zip, NumPy and text readers have no common base for their errors
            reason = str(e) or type(e).__name__
            raise BadInput(f"{path} is not a track written by vdub track: {reason}") from e

    @classmethod
    def read(cls, file: BinaryIO) -> Track:
        """Read what `write` wrote, from there on. Raises `BadInput` for another format or camera, and
        whatever NumPy raises for a file that is damaged.
        """
        with np.load(file, allow_pickle=False) as z:
            if not 1 <= int(z["format"]) <= FORMAT:
                raise BadInput(
                    f"it is a track of format {int(z['format'])}; this version reads 1 to {FORMAT}"
                )
            w, h = z["size"]
            knows_people = int(z["format"]) >= 3
            return cls(
                str(z["source"]),
                str(z["source_hash"]),
                (int(w), int(h)),
                Fraction(str(z["rate"])),
                int(z["start"]),
                z["landmarks"],
                z["confidence"],
                z["scale"],
                z["rotation"],
                z["translation"],
                z["identity"],
                z["jaw"],
                z["expression"],
                str(z["face_model"]),
                Camera.from_json(json.loads(str(z["camera"]))) if "camera" in z else WEAK_PERSPECTIVE,
                tuple(z["cuts"].tolist()) if knows_people else (),
                read_faces(z) if knows_people else (),
                int(z["person"]) if knows_people else 0,
                pixel_aspect=Fraction(str(z["pixel_aspect"])) if "pixel_aspect" in z else SQUARE,
            )


@dataclass(frozen=True)
class Performance:
    """What the face does in each of n frames: the numbers that drive a dub. Expression as in `Track`."""

    jaw: NDArray[np.float64]  # (n,) radians
    expression: NDArray[np.float64]  # (n, K)
    draw: NDArray[
        np.float64
    ]  # (n,) 0 = the frame passes through, 1 = the mouth is redrawn, between = cross-fade

    def __len__(self) -> int:
        return len(self.jaw)

    @classmethod
    def of_track(cls, track: Track) -> Performance:
        """The actor's own performance, every usable frame redrawn."""
        return cls(track.jaw.copy(), track.expression.copy(), track.usable.astype(np.float64))

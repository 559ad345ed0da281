"""Who is who in a clip: faces are joined over cuts and absences by their shape and looks, not their place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from visualdub.face.appearance import (
    distance,
    face_texels,
    joined_likeness,
    plain_texels,
    shape_of,
)
from visualdub.face.detect import FaceFinder, FaceTrack, iou, presence
from visualdub.face.landmarks import face_width
from visualdub.face.mediapipe_models import Rgb, landmark_box
from visualdub.face.models import DEFAULT_FACE_MODEL, FaceModel, face_model
from visualdub.face.seen import Likeness, SeenFace
from visualdub.face.shots import CUT_FOR_SURE, Change, with_changes
from visualdub.mapped import let_go, spilled
from visualdub.memory import return_free_memory
from visualdub.stages import Progress, StageClock

PEOPLE_VERSION = 1  # changes with every change of who is told apart, and of the cuts
LONGEST_GAP = 12  # frames a face may be missed and still be taken for the same because of its place
MEETS = 0.1  # intersection over union of boxes that lie in the same place
SHARED = 2  # frames at most in which two faces of one person are found, where a tracker hands over to another
SAMPLED = 8, 5  # the first frames of a face are all looked at, later every so many
LENIENT = 1.6  # distance from which on a face is somebody else though it is where the person was
STORED_TOGETHER = 500  # faces whose landmarks leave memory together
SHAPE_FRAMES = 24  # of a face are fitted for its shape


@dataclass
class _Run:
    """A face that is being followed, and what it looked like so far."""

    shot: int
    found: dict[int, NDArray[np.float32]] = field(default_factory=dict)  # landmarks (478, 3) by frame
    texels: NDArray[np.float32] | None = None  # sum of `looked_at` frames
    looked_at: int = 0
    last: int = -1  # frame

    @property
    def start(self) -> int:
        """Its first frame."""
        return next(iter(self.found))

    def add(self, i: int, landmarks: NDArray[np.float32], rgb: Rgb) -> None:
        """Take frame `i`."""
        at_first, every = SAMPLED
        if len(self.found) < at_first or len(self.found) % every == 0:
            plain = plain_texels(face_texels(rgb, landmarks))
            self.texels = plain if self.texels is None else self.texels + plain
            self.looked_at += 1
        self.found[i], self.last = landmarks, i

    def meets(self, other: _Run) -> bool:
        """Whether one of the two is found, in the same shot, where the other was lost."""
        first, then = sorted((self, other), key=lambda run: run.start)
        if first is then or first.shot != then.shot or then.start <= first.last:
            return False
        lost, found = first.found[first.last], then.found[then.start]
        return iou(landmark_box(lost), landmark_box(found)) > MEETS

    def likeness(self, model: FaceModel) -> Likeness:
        """Of all its frames."""
        rows = sorted(self.found)
        few = [rows[k] for k in np.linspace(0, len(rows) - 1, min(len(rows), SHAPE_FRAMES)).astype(int)]
        shape = shape_of(model, np.stack([self.found[i] for i in few]))
        texels = None if self.texels is None else self.texels / self.looked_at
        return Likeness(shape, texels, len(rows))


class _Store:
    """Landmarks by frame, in dictionaries of others: those of many frames leave memory together."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, tuple[dict[int, NDArray[np.float32]], ...]]] = []
        self._blocks: list[NDArray[np.float32]] = []

    def add(self, i: int, *found: dict[int, NDArray[np.float32]]) -> None:
        """Take care of the landmarks that stand for frame `i` in each of `found`."""
        self._waiting.append((i, found))
        if len(self._waiting) < STORED_TOGETHER:
            return
        block = spilled(np.stack([found[0][i] for i, found in self._waiting]), least=0)
        for row, (i, found) in zip(block, self._waiting, strict=True):
            for one in found:
                one[i] = row
        self._blocks.append(block)
        self._waiting = []
        self.let_go()

    def let_go(self) -> None:
        """Give back the memory of what was stored and read again since."""
        for block in self._blocks:
            let_go(block)


@dataclass(frozen=True)
class ClipFaces:
    """All that was seen in `count` frames, counted from the first that was looked at."""

    count: int
    changes: tuple[Change, ...]  # one for each frame
    people: tuple[FaceTrack, ...]  # by number, the most present first
    faces: tuple[SeenFace, ...]  # in order of their first frames

    def dense(self, person: int) -> NDArray[np.float32]:
        """(count, 478, 3) landmarks of a person, NaN where they are not seen."""
        return self.people[person].dense(self.count)

    def merged(self, numbers: Sequence[int]) -> ClipFaces:
        """The same where the people of these numbers are one, who has the first of them; nobody else's number
        changes.
        """
        first, people = numbers[0], list(self.people)
        found = {i: points for number in reversed(numbers) for i, points in self.people[number].found.items()}
        people[first] = FaceTrack(dict(sorted(found.items())))
        faces = tuple(replace(f, person=first) if f.person in numbers else f for f in self.faces)
        return replace(self, people=tuple(people), faces=faces)

    def cuts(self, person: int) -> tuple[int, ...]:
        """The frames with which a new shot begins, as far as they concern a person: where they stay in their
        place at their size while the picture changes around them, nothing is cut.
        """
        landmarks = self.people[person].found
        found = []
        for i, change in enumerate(self.changes):
            if i == 0 or not (change.cut or _leaps(landmarks, self.changes, i)):
                continue
            before, after = landmarks.get(i - 1), landmarks.get(i)
            stays = before is not None and after is not None and _step(before, after) < STILL
            if change.difference > CUT_FOR_SURE or not stays:
                found.append(i)
        for points in landmarks.values():
            let_go(points)
        return tuple(found)


def find_people(
    frames: Iterable[Rgb],
    progress: Progress | None = None,
    total: int = 0,
    clock: StageClock | None = None,
    model: FaceModel | None = None,
) -> ClipFaces:
    """Follow every face through `frames`, pictures (H, W, 3) uint8 in order, and tell people apart.

    total: the expected number of frames, for the progress. clock: takes the time spent in MediaPipe alone, as
    stage "mediapipe". model: the face model that shapes are told apart with, the built-in one by default.
    """
    finder, clock = FaceFinder(), clock or StageClock()
    runs: dict[int, list[_Run]] = {}
    changes: list[Change] = []
    store = _Store()
    try:
        for i, (rgb, change) in enumerate(with_changes(frames)):
            with clock.stage("mediapipe"):
                finder.add(rgb, new_shot=change.cut and i > 0)
            changes.append(change)
            for k, face in enumerate(finder.faces):
                if face.last_seen == i:
                    several = runs.setdefault(k, [])
                    if not several or change.unsure or i - several[-1].last > LONGEST_GAP:
                        several.append(_Run(face.shot))
                    several[-1].add(i, face.found[i], rgb)
                    store.add(i, face.found, several[-1].found)
            if progress is not None:
                progress.report("tracking", i + 1, max(total, i + 1))
    finally:
        finder.close()
    return_free_memory()  # what MediaPipe took
    found = [run for several in runs.values() for run in several]
    told = _told_apart(found, tuple(changes), model or face_model(DEFAULT_FACE_MODEL))
    store.let_go()
    return told


# ---- who is who --------------------------------------------------------------------------------------------


def _told_apart(runs: list[_Run], changes: tuple[Change, ...], model: FaceModel) -> ClipFaces:
    likenesses = [run.likeness(model) for run in runs]
    beside = {(j, k) for j, a in enumerate(runs) for k, b in enumerate(runs) if a.meets(b)}
    groups = join_faces([set(run.found) for run in runs], likenesses, beside)
    tracks = []
    for group in groups:
        group.sort(key=lambda k: runs[k].start)
        found = {i: points for k in group for i, points in runs[k].found.items()}
        tracks.append(FaceTrack(dict(sorted(found.items()))))
    order = sorted(range(len(groups)), key=lambda g: -presence(tracks[g]))
    faces = [_seen(runs[k], likenesses[k], number) for number, g in enumerate(order) for k in groups[g]]
    faces.sort(key=lambda face: (face.start, face.person))
    return ClipFaces(len(changes), changes, tuple(tracks[g] for g in order), tuple(faces))


def join_faces(
    frames: Sequence[set[int]], likenesses: Sequence[Likeness], beside: Set[tuple[int, int]] = frozenset()
) -> list[list[int]]:
    """Groups of faces, by number, each of one person. frames: where each face is found. beside: pairs of
    faces of one shot of which one is found again where the other was lost.

    The face that is seen longest is the first person. Every other one, the longest first, is the person that
    it is most like, if it is like them at all and they are not seen together; otherwise somebody new.
    """
    groups: list[list[int]] = []
    looks: list[Likeness] = []
    for k in sorted(range(len(frames)), key=lambda k: -len(frames[k])):
        near = []
        for g, group in enumerate(groups):
            if all(len(frames[k] & frames[j]) <= SHARED for j in group):
                limit = LENIENT if any((j, k) in beside for j in group) else 1.0
                near.append((distance(looks[g], likenesses[k]) / limit, g))
        apart, g = min(near, default=(np.inf, 0))
        if apart < 1:
            groups[g].append(k)
            looks[g] = joined_likeness([likenesses[j] for j in groups[g]])
        else:
            groups.append([k])
            looks.append(likenesses[k])
    return groups


def _seen(run: _Run, likeness: Likeness, person: int) -> SeenFace:
    boxes = {i: landmark_box(points) for i, points in run.found.items()}
    best = max(boxes, key=lambda i: float(np.prod(boxes[i][2:] - boxes[i][:2])))
    left, top, right, bottom = boxes[best].tolist()
    count = len(run.found)
    return SeenFace(run.start, run.last + 1, count, person, best, (left, top, right, bottom), likeness)


# ---- cuts --------------------------------------------------------------------------------------------------

STILL = 0.02  # face widths, or share of its size, that a face which stays where it is moves in one frame
LEAP = 0.03  # that it moves where a shot begins though the picture around it hardly changes ...
LEAP_OVER_MOTION = 5.0  # ... so many times what the face moves in the frames beside
CHANGE_OVER_MOTION = 2.0  # ... and so many times what the picture changes in them
BESIDE = (-3, -2, -1, 1, 2, 3)
ANCHORS = (33, 133, 362, 263, 168, 6, 10, 151)  # landmarks of eyes, bridge and forehead, which no mouth moves


def _step(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """How far a face moves between landmarks (478, 3) of two frames: in widths of it, or the change of its
    size as a share of it, whichever is more.
    """
    p, q = a[ANCHORS, :].astype(np.float64), b[ANCHORS, :].astype(np.float64)
    moved = float(np.hypot(*(p.mean(0) - q.mean(0))[:2])) / float(min(face_width(a), face_width(b)))
    sizes = [np.linalg.norm(points - points.mean(0)) for points in (p, q)]
    return max(moved, abs(float(np.log(sizes[0] / sizes[1]))))


def _leaps(found: Mapping[int, NDArray[np.float32]], changes: Sequence[Change], i: int) -> bool:
    """Whether a face leaps in frame `i`, and the picture changes there more than around it."""
    if i not in found or i - 1 not in found:
        return False
    leap = _step(found[i - 1], found[i])
    if leap < LEAP:
        return False
    near = [i + k for k in BESIDE if 0 < i + k < len(changes)]
    steps = [_step(found[j - 1], found[j]) for j in near if j in found and j - 1 in found]
    calm = max((changes[j].difference for j in near), default=0.0)
    return (
        leap > LEAP_OVER_MOTION * max(steps, default=0.0)
        and changes[i].difference > CHANGE_OVER_MOTION * calm
    )

"""Footage of one actor in an edit: all their shots, with takes and handles, and the most telling frames.

What tells most is what differs most: mouths open and shut, wide and narrow, the head turned, light and dark.
Frames are chosen in pieces of `PIECE` frames, one after the other, each as unlike those chosen before as
there is, so that a few hundred frames of an hour of rushes show the actor as all of them would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.edit.cast import Cast, Role
from visualdub.edit.layout import Edit, EditClip
from visualdub.edit.media import MediaFinder
from visualdub.edit.plan import PlannedShot, PlanOptions, plan_edit
from visualdub.edit.who import SHOWN_FOR, looks_of
from visualdub.errors import BadInput, NoFace
from visualdub.face.appearance import distance, face_texels, joined_likeness
from visualdub.face.landmarks import EYE_CORNERS, lip_opening
from visualdub.face.recognise import people_like
from visualdub.face.seen import Likeness
from visualdub.face.track import Track
from visualdub.face.tracker import cached_track, yaw_pitch
from visualdub.media.source import open_source
from visualdub.media.square import shown_rgb
from visualdub.services import AdaptClip
from visualdub.stages import Progress
from visualdub.timing import FrameRange

HANDLE_S = 2  # seconds of its media before and after a shot that count as footage
PIECE = 20  # frames that are chosen together
MOST_FRAMES = 750  # that are chosen, by default
MOST_TRACKED = 15_000  # frames in which the actor is looked for
SURE = 0.5  # confidence of a track from which on a frame is worth adapting to
CORNERS = 61, 291  # landmarks of the mouth
# What makes a difference of 1 between two pieces: of opening and width of the mouth in distances between the
# outer eye corners, of yaw and pitch in degrees, of light in stops, and of its red and blue against green.
SCALES = np.array([0.06, 0.06, 8.0, 8.0, 0.4, 0.15, 0.15])


@dataclass(frozen=True)
class Stretch:
    """Frames of a file that a shot, or several of them, show with their handles."""

    path: Path
    frames: FrameRange
    person: str | None = None  # as `--face`, where the cast says it
    shots: tuple[int, ...] = ()  # their numbers in the edit


@dataclass(frozen=True)
class FoundShot:
    """What becomes of one shot of the edit."""

    number: int
    clip: str
    source: str = ""
    frames: FrameRange | None = None  # of the source, with handles
    reason: str = ""  # why it is left out


@dataclass
class Footage:
    """The frames of an edit that an actor is adapted to."""

    actor: str
    clips: list[AdaptClip] = field(default_factory=list)
    shots: list[FoundShot] = field(default_factory=list)
    looked_at: int = 0  # frames in which the actor is found
    notes: list[str] = field(default_factory=list)

    @property
    def frame_count(self) -> int:
        """Frames that are chosen."""
        return sum(len(c.frames) for c in self.clips if c.frames is not None)

    def taken(self, shot: FoundShot) -> int:
        """Frames that are chosen of what a shot shows."""
        if shot.frames is None:
            return 0
        span = shot.frames
        chosen = (c.frames for c in self.clips if str(c.path) == shot.source and c.frames is not None)
        return sum(
            max(0, min(r.end_exclusive, span.end_exclusive) - max(r.start, span.start)) for r in chosen
        )

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        shots = [
            {
                "number": s.number,
                "clip": s.clip,
                "source": s.source,
                "frames": None if s.frames is None else str(s.frames),
                "taken": self.taken(s),
                "reason": s.reason,
            }
            for s in self.shots
        ]
        clips = [{"path": str(c.path), "frames": str(c.frames), "face": c.face} for c in self.clips]
        facts = {"actor": self.actor, "frames": self.frame_count, "looked_at": self.looked_at}
        return {**facts, "shots": shots, "clips": clips, "notes": self.notes}


def find_footage(
    edit: Edit,
    finder: MediaFinder,
    actor: str,
    cast: Cast,
    *,
    most: int = MOST_FRAMES,
    progress: Progress | None = None,
) -> Footage:
    """The most telling frames of `actor` in an edit, `most` of them, in the takes and handles of all shots
    that are theirs: those that metadata or the cast give them, or all where neither names anybody.

    Who of the people in the shots is the actor is what the cast shows or says, or else the person who is seen
    for longest. Raises `BadInput` where nothing is found.
    """
    if most < PIECE:
        raise BadInput(f"{most} frames are too few to adapt to; expected {PIECE} or more")
    footage = Footage(actor)
    stretches, roles = _stretches(edit, finder, actor, cast, footage)
    tracks = _tracked(stretches, footage, progress)
    wanted = _likeness(roles, tracks)
    pieces: list[_Piece] = []
    for stretch, track in tracks.items():
        if wanted is None and stretch.person is None:
            continue
        face = stretch.person or _numbers(track, wanted)
        if face is None:
            _leave_out(footage, stretch, f"nobody in it is like {actor}{_nearest(track, wanted)}")
            continue
        mine = track
        if face != str(track.person):
            mine = cached_track(stretch.path, frames=stretch.frames, face=face, progress=progress)[0]
        pieces += _pieces(stretch, mine, face)
    if not pieces:
        reasons = dict.fromkeys(s.reason for s in footage.shots if s.reason)
        raise BadInput(f"{edit.path} shows nothing to adapt {actor} to: {'; '.join(reasons) or 'no shot'}")
    footage.looked_at = PIECE * len(pieces)
    chosen = choose(_features(pieces, progress), max(1, most // PIECE))
    footage.clips = _clips([pieces[k] for k in chosen])
    return footage


# ---- where to look -----------------------------------------------------------------------------------------


def _stretches(
    edit: Edit, finder: MediaFinder, actor: str, cast: Cast, footage: Footage
) -> tuple[list[Stretch], list[Role]]:
    """What the shots of an actor show, with handles, those that overlap joined; and the actor's roles."""
    plan = plan_edit(replace(edit, clips=tuple(map(_as_take, edit.clips))), finder, [], PlanOptions(cast))
    theirs = {s.number: _role_of(s, actor, cast) for s in plan.shots}
    anybody = any(isinstance(role, Role) and role.actor is not None for role in theirs.values())
    found: list[Stretch] = []
    roles: list[Role] = []
    for shot in plan.shots:
        role = theirs[shot.number]
        if role is None or isinstance(role, str) or (anybody and role.actor is None):
            reason = role if isinstance(role, str) else "it is somebody else's"
            footage.shots.append(FoundShot(shot.number, shot.clip.name, reason=reason))
            continue
        if shot.frames is None or shot.media.info is None or shot.media.path is None:
            footage.shots.append(FoundShot(shot.number, shot.clip.name, reason=shot.reason))
            continue
        info, handle = shot.media.info, round(HANDLE_S * shot.media.info.rate)
        frames = FrameRange(
            max(0, shot.frames.start - handle), min(info.frame_count, shot.frames.end_exclusive + handle)
        )
        roles.append(role)
        found.append(Stretch(shot.media.path, frames, role.person, (shot.number,)))
        footage.shots.append(FoundShot(shot.number, shot.clip.name, str(shot.media.path), frames))
    return _joined(found), roles


def _as_take(clip: EditClip) -> EditClip:
    """A clip that is hidden or switched off counts as a take, but for our own dubs."""
    if clip.meta.get("baked") or (clip.enabled and clip.visible):
        return clip
    whole = clip.shown if clip.shown[0] < clip.shown[1] else (clip.start, clip.start + clip.length)
    return replace(clip, enabled=True, visible=(whole,), shown=whole)


def _role_of(shot: PlannedShot, actor: str, cast: Cast) -> Role | str | None:
    """The role of an actor in a shot, of nobody where nobody is named; why it is left alone, or None where it
    is somebody else's.
    """
    roles = cast.roles(shot.clip)
    if isinstance(roles, str):
        return roles
    mine = [r for r in roles if r.actor is None or Path(r.actor).stem.casefold() == actor.casefold()]
    return mine[0] if mine else None


def _joined(stretches: Sequence[Stretch]) -> list[Stretch]:
    joined: list[Stretch] = []
    for one in sorted(stretches, key=lambda s: (str(s.path), s.person or "", s.frames.start)):
        last = joined[-1] if joined else None
        same = last is not None and (last.path, last.person) == (one.path, one.person)
        if last is not None and same and one.frames.start <= last.frames.end_exclusive:
            end = max(last.frames.end_exclusive, one.frames.end_exclusive)
            joined[-1] = replace(
                last, frames=FrameRange(last.frames.start, end), shots=last.shots + one.shots
            )
        else:
            joined.append(one)
    return joined


def _leave_out(footage: Footage, stretch: Stretch, reason: str) -> None:
    footage.shots = [replace(s, reason=reason) if s.number in stretch.shots else s for s in footage.shots]


# ---- who it is ---------------------------------------------------------------------------------------------


def _tracked(
    stretches: Sequence[Stretch], footage: Footage, progress: Progress | None
) -> dict[Stretch, Track]:
    """The track of every stretch with a face, until `MOST_TRACKED` frames are tracked."""
    found: dict[Stretch, Track] = {}
    left = MOST_TRACKED
    for stretch in stretches:
        if len(stretch.frames) > left:
            _leave_out(footage, stretch, f"{MOST_TRACKED} frames of other shots are looked at")
            continue
        left -= len(stretch.frames)
        try:
            found[stretch], _ = cached_track(
                stretch.path, frames=stretch.frames, face=stretch.person, progress=progress
            )
        except NoFace:
            _leave_out(footage, stretch, "no usable face is in it")
        except BadInput as e:
            _leave_out(footage, stretch, str(e))
    return found


def _likeness(roles: Sequence[Role], tracks: Mapping[Stretch, Track]) -> Likeness | None:
    """What the actor looks like: as the cast shows or says, or as the person who is seen for longest."""
    for role in roles:
        if role.looks is not None:
            return looks_of(role.looks)
    said = [
        face.likeness
        for stretch, track in tracks.items()
        for face in track.faces
        if stretch.person is not None and face.person == track.person
    ]
    if said:
        return joined_likeness(said)
    groups: list[list[Likeness]] = []
    faces = [face.likeness for track in tracks.values() for face in track.faces]
    for one in sorted(faces, key=lambda likeness: -likeness.count):
        near = [(distance(joined_likeness(group), one), k) for k, group in enumerate(groups)]
        apart, k = min(near, default=(np.inf, 0))
        if apart < 1:
            groups[k].append(one)
        else:
            groups.append([one])
    longest = max(groups, key=lambda group: sum(one.count for one in group), default=None)
    return None if longest is None else joined_likeness(longest)


def _numbers(track: Track, wanted: Likeness | None) -> str | None:
    """The people of a track who are the actor, as `--face` names them."""
    numbers = [] if wanted is None else people_like(track, wanted)
    shown = {n: sum(f.count for f in track.faces if f.person == n) for n in numbers}
    kept = [n for n in numbers if shown[n] >= SHOWN_FOR]
    return "+".join(map(str, kept)) or None


def _nearest(track: Track, wanted: Likeness | None) -> str:
    if wanted is None or not track.faces:
        return ""
    near = min(distance(wanted, face.likeness) for face in track.faces)
    return f" (the most alike by {near:.2f}, expected less than 1; a person in the cast file says who it is)"


# ---- which frames ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Piece:
    stretch: Stretch
    frames: FrameRange
    face: str
    mouth_and_pose: NDArray[np.float64]  # (4,) the first of `SCALES`
    middle: NDArray[np.float32]  # (478, 3) landmarks of its middle frame


def _pieces(stretch: Stretch, track: Track, face: str) -> list[_Piece]:
    """The pieces of a track that show the face well in every frame."""
    found = []
    sure = np.asarray(track.confidence >= SURE)
    for shot in track.shots:
        at = shot.start
        while at + PIECE <= shot.end_exclusive:
            rows = slice(at - track.start, at - track.start + PIECE)
            if not sure[rows].all():
                at += int(np.flatnonzero(~sure[rows])[-1]) + 1
                continue
            points = np.asarray(track.landmarks[rows], np.float32)
            found.append(
                _Piece(stretch, FrameRange(at, at + PIECE), face, _shape(track, rows), points[PIECE // 2])
            )
            at += PIECE
    return found


def _shape(track: Track, rows: slice) -> NDArray[np.float64]:
    """(4,) the widest opening of the mouth, its mean width, and how the head is turned."""
    points = np.asarray(track.landmarks[rows], np.float64)
    corners = np.linalg.norm(points[:, CORNERS[0]] - points[:, CORNERS[1]], axis=-1)
    eyes = np.linalg.norm(points[:, EYE_CORNERS[0]] - points[:, EYE_CORNERS[1]], axis=-1)
    yaw, pitch = yaw_pitch(track.rotation[rows]).mean(0)
    return np.array([lip_opening(points).max(), (corners / eyes).mean(), yaw, pitch])


def _features(pieces: Sequence[_Piece], progress: Progress | None) -> NDArray[np.float64]:
    """(P, 7) what each piece shows, in units in which 1 is a difference."""
    rows: list[NDArray[np.float64]] = []
    for path, several in groupby(pieces, key=lambda piece: piece.stretch.path):
        with open_source(path) as source:
            for piece in several:
                number = piece.frames.start + PIECE // 2
                (frame,) = source.frames(FrameRange(number, number + 1))
                texels = face_texels(shown_rgb(frame), piece.middle).astype(np.float64).mean(0) + 1
                red, green, blue = np.log2(texels)
                rows.append(np.concatenate([piece.mouth_and_pose, [green, red - green, blue - green]]))
                if progress is not None:
                    progress.report("choosing", len(rows), len(pieces))
    return np.asarray(np.array(rows) / SCALES)


def choose(features: NDArray[np.float64], count: int) -> list[int]:
    """`count` rows of features (P, F), or all: the most usual one, then each as far as there is from all that
    are chosen, in ascending order.
    """
    if count >= len(features):
        return list(range(len(features)))
    apart = np.linalg.norm(features - np.median(features, 0), axis=1)
    chosen = [int(apart.argmin())]
    nearest = np.linalg.norm(features - features[chosen[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(features - features[chosen[-1]], axis=1))
    return sorted(chosen)


def _clips(pieces: Sequence[_Piece]) -> list[AdaptClip]:
    """The chosen pieces as clips to adapt to, neighbours joined."""
    clips: list[AdaptClip] = []
    for piece in pieces:
        last = clips[-1] if clips else None
        own = AdaptClip(piece.stretch.path, piece.frames, piece.face, piece.stretch.frames)
        before = None if last is None or replace(own, frames=last.frames) != last else last.frames
        if before is not None and before.end_exclusive == piece.frames.start:
            clips[-1] = replace(own, frames=FrameRange(before.start, piece.frames.end_exclusive))
        else:
            clips.append(own)
    return clips

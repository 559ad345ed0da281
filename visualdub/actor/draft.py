"""The person in a clip, drawn out of other frames of it before any network is adapted to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visualdub.actor.footage import DetailClip, detail_of
from visualdub.actor.package import Actor
from visualdub.actor.record import ActorRecord, Consent, SourceFrames
from visualdub.errors import InternalError, NoFace
from visualdub.face.appearance import joined_likeness
from visualdub.face.seen import Likeness
from visualdub.render.detail_frames import DetailFrames
from visualdub.render.quality import DRAFT
from visualdub.speech.style import fit_style, rest_pose
from visualdub.timing import FrameRange

if TYPE_CHECKING:
    from visualdub.face.track import Track
    from visualdub.render.runtime import Renderer
    from visualdub.stages import Progress

MOST_READ = 300  # frames of the shot that a draft is drawn out of, from the first usable one on


@dataclass(frozen=True)
class DraftActor(Actor):
    """The person of a track without a network of theirs: `detail_frames` are all that is drawn from."""

    who: Likeness = field(kw_only=True)
    kept: DetailFrames = field(kw_only=True)

    @property
    def is_draft(self) -> bool:
        return True

    @cached_property
    def renderer(self) -> Renderer:
        raise InternalError(f"{self.record.name} is a draft, which has no network")

    @cached_property
    def renderer_hash(self) -> str:
        return f"draft of {self.kept.digest}"

    @cached_property
    def likeness(self) -> Likeness:
        return self.who

    @cached_property
    def colours(self) -> NDArray[np.float32] | None:
        return None

    @cached_property
    def detail_frames(self) -> DetailFrames | None:
        return self.kept


def draft_actor(
    clip: Path,
    track: Track,
    consent: Consent,
    progress: Progress | None = None,
    name: str | None = None,
) -> DraftActor:
    """The person of `track`, which is of `clip`, ready to be drawn out of the clip's own frames.

    At most `MOST_READ` frames are read. consent: of the person; it goes into what is recorded with the dub.
    name: of the person there; by default the clip's.
    Raises `NoFace` where no frame can be used, `MediaError` where the clip cannot be decoded.
    """
    start = track.start + int(np.flatnonzero(track.usable)[0]) if track.usable.any() else track.start
    read = FrameRange(start, min(track.frames.end_exclusive, start + MOST_READ))
    part = track.span(read)
    frames = detail_of([DetailClip(clip, part)], progress)
    if frames is None:
        raise NoFace(f"{clip}: no frame can be used for a draft; expected frames that show the face")
    record = ActorRecord(
        name=name or clip.stem,
        consent=consent,
        frames=(SourceFrames(track.source, track.source_hash, read.start, read.end_exclusive),),
        steps=0,
        size="draft",
        width=0.0,
        window=1,
        face_model=track.face_model,
    )
    mine = [face.likeness for face in track.faces if face.person == track.person]
    shape = np.asarray(track.model.landmarks(track.identity), np.float32)
    rest_jaw, rest_expression = rest_pose(track)
    return DraftActor(
        folder=clip,
        record=record,
        identity=track.identity,
        rest_jaw=rest_jaw,
        rest_expression=rest_expression,
        references=np.zeros((0, 256, 256, 3), np.uint8),
        style=fit_style(track),
        who=joined_likeness(mine) if mine else Likeness(shape, None, 1),
        kept=frames,
    )


def draft_notes(actor: Actor, quality: str) -> list[str]:
    """What the user should know of a dub of this quality."""
    if quality != DRAFT:
        return []
    frames = actor.detail_frames if actor.is_draft else None
    drawn = f", drawn out of {len(frames)} frames of the clip with no network" if frames else ""
    return [f"a draft{drawn}; hands and objects before the mouth are drawn over"]

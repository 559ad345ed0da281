"""The draft of a clip whose actor is not adapted yet: drawn out of the clip's own frames, in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from visualdub.console import err, shown_progress
from visualdub.render.quality import DRAFT

if TYPE_CHECKING:
    from visualdub.actor.draft import DraftActor
    from visualdub.actor.record import Consent
    from visualdub.dub import Output, TrackedShot

SUFFIX = "-draft"  # of the name of the movie that is there while an actor is adapted


def draft_path(movie: Path) -> Path:
    """Where the draft of `movie` is written while the actor is adapted."""
    return movie.with_stem(movie.stem + SUFFIX)


def draft_output(output: Output) -> Output:
    """How the draft of `output` is written while the actor is adapted: beside it, the movie alone."""
    path = draft_path(output.path)
    return replace(output, path=path, matte=None, performance=None, quality=DRAFT)


def drafted_person(shot: TrackedShot, consent: Consent) -> DraftActor:
    """The person of a tracked shot, to be drawn out of its own frames; shows how far it is."""
    from visualdub.actor.draft import draft_actor

    with shown_progress() as progress:
        person = draft_actor(shot.shot.source, shot.track, consent, progress)
    err.print(
        f"no --actor: a draft out of {len(person.kept)} frames of {shot.shot.source.name}, with no network"
    )
    return person

"""The `adapt` service: an adaptation from plain values, with the defaults of the command line."""

from __future__ import annotations

from pathlib import Path

from training.adapt import AdaptJob, adapt
from training.core.config import WIDTHS, GeneratorConfig, adapt_config
from training.core.run import OnStatus
from training.prior_file import SHIPPED
from visualdub.actor.record import ActorRecord
from visualdub.errors import BadInput
from visualdub.services import AdaptRequest, Note
from visualdub.stages import Progress

MINUTES = 5.0  # budget where neither minutes nor steps are given


def adapt_actor(
    request: AdaptRequest,
    progress: Progress,
    note: Note | None = None,
    on_status: OnStatus | None = None,
) -> ActorRecord:
    """Carry out a request; see `visualdub.services.AdaptService` and `training.adapt.adapt`."""
    return adapt(job_of(request, note), progress, on_status, note)


def job_of(request: AdaptRequest, note: Note | None = None) -> AdaptJob:
    """The job that a request asks for. Raises `BadInput` for a size or a budget that does not exist.

    note: is told where no prior is shipped for the size.
    """
    if request.size not in WIDTHS:
        raise BadInput(f"size {request.size!r} is not one of {', '.join(WIDTHS)}")
    minutes = MINUTES if request.minutes is None and request.steps is None else request.minutes
    prior = starting_prior(request, note)
    config = adapt_config(
        prior is not None,
        request.rehearsal is not None,
        generator=GeneratorConfig(width=WIDTHS[request.size]),
        minutes=minutes,
        steps=request.steps,
        random_texture=request.random_texture,
        seed=request.seed,
    )
    return AdaptJob(
        request.clips, request.name, request.folder, request.consent, config, prior, request.rehearsal
    )


def starting_prior(request: AdaptRequest, note: Note | None = None) -> Path | None:
    """The prior to start from: the one requested, or the one shipped for the size; None from scratch.

    note: is told where no prior is shipped for the size.
    """
    if request.from_scratch:
        return None
    if request.prior is not None:
        return request.prior
    shipped = SHIPPED.with_name(f"prior-{request.size}.safetensors")
    if shipped.is_file():
        return shipped
    if note is not None:
        note(
            f"no prior is shipped for the size {request.size}: the network starts from scratch, which takes"
            " longer and looks softer"
        )
    return None

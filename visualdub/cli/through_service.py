"""`vdub dub --daemon`: the same options, carried out by the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from visualdub.console import follow
from visualdub.errors import BadInput

NOT_THERE = ("check_sync", "profile")  # options that the service does not know
SAME = ("frames", "face", "mouth_gain", "codec", "crf", "occluded", "keep_audio", "driver_face")
PATHS = ("clip", "driver", "use_performance", "holdout")
OTHER_NAMES = {"smooth": "smooth_ms", "offset_ms": "offset_ms"}


def dub_through_service(
    options: dict[str, Any], dialogue: list[Path], outputs: list[tuple[Path, Path | None, Path | None]]
) -> None:
    """Submit a job for each of `dialogue` and show how far it is. options: those of `vdub dub`, by name.
    outputs: movie, matte and performance of each.

    Raises `BadInput` for options that the service does not know, and as the service has it.
    """
    from visualdub.wire.client import Client

    for name in NOT_THERE:
        if options[name]:
            raise BadInput(f"--{name.replace('_', '-')} does not go with --daemon")
    if options["actor"] is None:
        raise BadInput("--daemon needs --actor: the service adapts none by the way; vdub adapt makes one")
    asked = common_fields(options)
    with Client(client="vdub dub") as client:
        jobs = [
            client.submit(
                **asked,
                dialogue=_absolute(wav),
                output=_absolute(movie),
                matte=_absolute(matte),
                performance=_absolute(curves),
            )
            for wav, (movie, matte, curves) in zip(dialogue, outputs, strict=True)
        ]
        for job in jobs:
            follow(client, job, options["json"])


def common_fields(options: dict[str, Any]) -> dict[str, Any]:
    """Fields of `schema.DubOptions` that all dialogues share."""
    fields: dict[str, Any] = {name: options[name] for name in SAME}
    fields |= {name: _absolute(options[name]) for name in PATHS}
    fields |= {theirs: options[ours] for ours, theirs in OTHER_NAMES.items()}
    fields |= {"skip": options["skip"] or [], "only": options["only"] or []}
    actor = options["actor"]
    there = next((p for p in (Path(actor), Path(f"{actor}.actor")) if p.is_dir()), None)
    return {**fields, "actor": _absolute(there) or actor, "watermark": not options["no_watermark"]}


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())

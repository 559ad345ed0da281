"""`vdub dub --daemon`: the same options, carried out by the service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from visualdub.console import follow
from visualdub.errors import BadInput

if TYPE_CHECKING:
    from visualdub.edit.request import EditRequest

# Options that the service does not know.
NOT_THERE = (
    "check_sync",
    "profile",
    "provider",
    "fast",
)
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

    scripts, languages = options["script"] or [], options["language"] or []
    if scripts and not len(scripts) == len(languages) == len(dialogue):
        counts = f"{len(scripts)} --script and {len(languages)} --language"
        raise BadInput(f"{counts} are given; expected {len(dialogue)} of each, one for each dialogue")
    said = list(zip(scripts, languages, strict=True)) or [(None, None)] * len(dialogue)
    for name in NOT_THERE:
        if options[name]:
            raise BadInput(f"--{name.replace('_', '-')} does not go with --daemon")
    if options["actor"] is None:
        raise BadInput("--daemon needs --actor: the service adapts none by the way; vdub adapt makes one")
    asked = common_fields(options)
    with Client(client="vdub dub") as client:
        jobs = [
            client.submit(
                options["quality"],
                **asked,
                dialogue=_absolute(wav),
                output=_absolute(movie),
                matte=_absolute(matte),
                performance=_absolute(curves),
                script=_absolute(script),
                language=language,
            )
            for wav, (script, language), (movie, matte, curves) in zip(dialogue, said, outputs, strict=True)
        ]
        for job in jobs:
            follow(client, job, options["json"])


def dub_edit_through_service(request: EditRequest, json: bool) -> None:
    """Submit a job for an edit, show how far it is, and what became of its clips. Raises as above."""
    from visualdub.cli.edit import show_dubbed
    from visualdub.wire.client import Client

    asked = request.fields()
    with Client(client="vdub dub") as client:
        row = follow(client, client.submit_edit(**asked), json)
    if not json:
        for edit in row["result"]["outputs"]:
            shots = [s for s in row["result"]["shots"] if s["language"] == edit["language"]]
            show_dubbed(Path(edit["edit"]), shots)


def common_fields(options: dict[str, Any]) -> dict[str, Any]:
    """Fields of `schema.DubOptions` that all dialogues share."""
    fields: dict[str, Any] = {name: options[name] for name in SAME}
    fields |= {name: _absolute(options[name]) for name in PATHS}
    fields |= {theirs: options[ours] for ours, theirs in OTHER_NAMES.items()}
    fields |= {"skip": options["skip"] or [], "only": options["only"] or []}
    actor = options["actor"]
    return {**fields, "actor": _package(actor) or actor, "watermark": not options["no_watermark"]}


def _package(actor: str) -> str | None:
    """The package that lies where `actor` says; None where it is a name of the library."""
    return _absolute(next((p for p in (Path(actor), Path(f"{actor}.actor")) if p.is_dir()), None))


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())

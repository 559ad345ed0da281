"""`vdub dub --daemon`: the same options, carried out by the service."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visualdub.cli.draft import draft_path
from visualdub.console import draft_consent, follow
from visualdub.errors import BadInput
from visualdub.render.quality import DRAFT

if TYPE_CHECKING:
    from visualdub.edit.request import EditRequest
    from visualdub.wire.client import Client

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


Outputs = tuple[Path, Path | None, Path | None]  # movie, matte and performance
Words = tuple[Path, Path | None, str | None]  # dialogue, its script and the script's language


def dub_through_service(options: dict[str, Any], dialogue: list[Path], outputs: list[Outputs]) -> None:
    """Submit a job for each of `dialogue` and show how far it is. options: those of `vdub dub`, by name.
    outputs: of each. Without an actor the drafts come first, then the clip's own actor is adapted into the
    service's library.

    Raises `BadInput` for options that the service does not know, and as the service has it.
    """
    from visualdub.wire.client import Client

    scripts, languages = options["script"] or [], options["language"] or []
    if scripts and not len(scripts) == len(languages) == len(dialogue):
        counts = f"{len(scripts)} --script and {len(languages)} --language"
        raise BadInput(f"{counts} are given; expected {len(dialogue)} of each, one for each dialogue")
    none: list[None] = [None] * len(dialogue)
    words: list[Words] = list(zip(dialogue, scripts or none, languages or none, strict=True))
    for name in NOT_THERE:
        if options[name]:
            raise BadInput(f"--{name.replace('_', '-')} does not go with --daemon")
    asked, quality = common_fields(options), options["quality"]
    with Client(client="vdub dub") as client:
        if "consent" in asked and quality != DRAFT:
            drafts: list[Outputs] = [(draft_path(movie), None, None) for movie, *_ in outputs]
            _dub(client, DRAFT, asked, words, drafts, options["json"])
            consent = asked.pop("consent")  # the package holds it from now on
            asked["actor"] = _adapted(client, options, consent)
        _dub(client, quality, asked, words, outputs, options["json"])


def _dub(
    client: Client,
    quality: str,
    asked: dict[str, Any],
    words: list[Words],
    outputs: list[Outputs],
    json: bool,
) -> None:
    """Submit a job for each dialogue and wait for all."""
    jobs = [
        client.submit(
            quality,
            **asked,
            dialogue=_absolute(wav),
            output=_absolute(movie),
            matte=_absolute(matte),
            performance=_absolute(curves),
            script=_absolute(script),
            language=language,
        )
        for (wav, script, language), (movie, matte, curves) in zip(words, outputs, strict=True)
    ]
    for job in jobs:
        follow(client, job, json)


def _adapted(client: Client, options: dict[str, Any], consent: str) -> str:
    """The name of the clip's own actor, once the service has adapted it."""
    name = re.sub(r"[^A-Za-z0-9 _-]", "_", options["clip"].stem).lstrip(" _-")[:64] or "actor"
    clip = str(options["clip"].absolute())
    job = client.adapt([clip], name, consent, minutes=options["minutes"], face=options["face"])
    follow(client, job, options["json"])
    return name


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
    fields |= {"watermark": not options["no_watermark"]}
    actor = options["actor"]
    if actor is None:
        return {**fields, "consent": draft_consent(options["clip"], options["consent"]).text}
    return {**fields, "actor": _package(actor) or actor}


def _package(actor: str) -> str | None:
    """The package that lies where `actor` says; None where it is a name of the library."""
    return _absolute(next((p for p in (Path(actor), Path(f"{actor}.actor")) if p.is_dir()), None))


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())

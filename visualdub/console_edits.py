"""Options of commands that dub edits, and what only edits, or only clips, take."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visualdub.errors import BadInput
from visualdub.render.quality import DRAFT

if TYPE_CHECKING:
    from visualdub.edit.request import EditRequest

DialogueTrack = Annotated[
    str | None,
    typer.Option(
        "--dialogue-track",
        metavar="NAME",
        help="Of an edit: the sound track with the new words, by its name, number or role, or several with"
        " commas between; {lang} in it stands for the language.",
        rich_help_panel="Edits",
    ),
]
DialogueFolder = Annotated[
    Path | None,
    typer.Option(
        "--dialogue-folder",
        metavar="DIR",
        help="Of an edit: recordings named as its clips, or with BWF timecode.",
        rich_help_panel="Edits",
    ),
]
CastIn = Annotated[
    Path | None,
    typer.Option(
        "--cast",
        metavar="TOML",
        help="Of an edit: who speaks in which of its clips, and how they look.",
        rich_help_panel="Edits",
    ),
]
ActorFolder = Annotated[
    Path,
    typer.Option(
        "--actors",
        metavar="DIR",
        help="Of an edit: where the actors lie of whom one speaks, found by their faces, in clips of which"
        " nobody says who does.",
        rich_help_panel="Edits",
    ),
]
EditLanguages = Annotated[
    str | None,
    typer.Option(
        "--lang",
        metavar="fr,de",
        help="Of an edit: the languages, each an edit of its own.",
        rich_help_panel="Edits",
    ),
]
Policy = Annotated[
    str,
    typer.Option(
        "--longer",
        metavar="next-shot|cut|hold",
        help="Of an edit: what becomes of dialogue that is longer than its shot, which the edit's sound plays"
        " on. The next shot speaks on; or it is cut, and the next shot left as it is; or the speaker's"
        " mouth is held still there.",
        rich_help_panel="Edits",
    ),
]
Relink = Annotated[
    list[Path] | None,
    typer.Option(
        "--relink",
        metavar="DIR",
        help="Of an edit: where media lie that moved, found by name and timecode.",
        rich_help_panel="Edits",
    ),
]
Host = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="resolve|premiere|avid|nuke",
        help="Of an edit: write what this program insists on.",
        rich_help_panel="Edits",
    ),
]
AsDefault = Annotated[
    bool,
    typer.Option(
        "--as-default",
        help="Of an edit: put the dub under DEFAULT_MEDIA, for programs that know no other.",
        rich_help_panel="Edits",
    ),
]
PlanOnly = Annotated[
    bool,
    typer.Option(
        "--plan",
        help="Of an edit: print what would become of each clip, and do nothing.",
        rich_help_panel="Edits",
    ),
]

# ---- for one of both ---------------------------------------------------------------------------------------

# Parameters of commands, of which some take both clips and edits.
EDIT_ONLY = {"dialogue_track", "dialogue_folder", "cast", "actors", "lang", "longer", "relink", "host"}
EDIT_ONLY |= {"as_default", "plan", "most"}
CLIP_ONLY = {"dialogue", "script", "language", "driver", "driver_face", "frames", "skip", "only", "face"}
CLIP_ONLY |= {"performance", "use_performance", "mouth_gain", "smooth", "offset_ms", "matte", "occluded"}
CLIP_ONLY |= {"holdout", "keep_audio", "check_sync", "provider", "fast", "profile", "minutes", "consent"}
CLIP_ONLY |= {"movie"}
_FLAGS = {"host": "--for"}


def require_fitting(
    source: Path, options: dict[str, Any], command: Callable[..., object], allowed: Collection[str] = ()
) -> None:
    """Raise `BadInput` for options of a clip that only edits take, and of an edit that only clips take.

    options: those of `command`, by name; one counts where it is not the command's default. allowed: names
    that this command gives a meaning for both.
    """
    from visualdub.edit.reading import is_edit  # which loads what decodes

    edit = is_edit(source)
    wrong = (CLIP_ONLY if edit else EDIT_ONLY).difference(allowed)
    if options.get("quality") == DRAFT:  # of whoever has no actor, in clips and in edits
        wrong = wrong - {"consent"}
    for name, parameter in inspect.signature(command).parameters.items():
        value = options.get(name)
        if name not in wrong or value in (None, [], parameter.default):
            continue
        flag = _FLAGS.get(name, f"--{name.replace('_', '-')}")
        if edit:
            raise BadInput(f"{source} is an edit, which {flag} is not for")
        raise BadInput(f"{source} is no edit, which {flag} is for; expected .otio or another edit")


def edit_request(options: dict[str, Any]) -> EditRequest:
    """The dub of an edit that the options of a command, by name, ask for."""
    from visualdub.actor.record import Consent
    from visualdub.edit.request import EditRequest, EditWords, EditWritten

    names = ("dialogue_track", "dialogue_folder", "cast", "lang", "longer")
    how = (options["output"], options["host"], options["as_default"], options["codec"], options["crf"])
    return EditRequest(
        options["clip"],
        options["actor"],
        EditWords(*(options[name] for name in names)),
        EditWritten(*how, not options["no_watermark"], options["quality"]),
        tuple(options["relink"] or ()),
        actors=options.get("actors"),
        consent=Consent.parse(options["consent"]) if options["consent"] else None,
    )

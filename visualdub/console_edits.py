"""Options of commands that dub edits, and what only edits, or only clips, take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visualdub.errors import BadInput

if TYPE_CHECKING:
    from visualdub.edit.request import EditWords, EditWritten

DialogueTrack = Annotated[
    str | None,
    typer.Option(
        "--dialogue-track",
        metavar="NAME",
        help="Of an edit: the sound track with the new words, by its name, number or role; {lang} in it"
        " stands for the language.",
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
        help="Of an edit: who speaks in which of its clips.",
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
        help="Of an edit: print what would become of each clip, and dub nothing.",
        rich_help_panel="Edits",
    ),
]

# ---- for one of both ---------------------------------------------------------------------------------------


def for_edits_only(clip: Path, words: EditWords, written: EditWritten, more: dict[str, Any]) -> Path:
    """The output for a clip. Raises `BadInput` for options that only edits take, and where there is none."""
    given: dict[str, Any] = {
        "--dialogue-track": words.track,
        "--dialogue-folder": words.folder,
        "--cast": words.cast,
    }
    given |= {"--lang": words.languages, "--for": written.host, "--as-default": written.as_default, **more}
    for name, value in given.items():
        if value:
            raise BadInput(f"{clip} is no edit, which {name} is for; expected .otio or another edit")
    if written.folder is None:
        raise BadInput(f"{clip}: nowhere to write to; expected -o MOVIE")
    return written.folder


def refuse_for_edits(edit: Path, given: dict[str, Any]) -> None:
    """Raise `BadInput` for options that only clips take."""
    for name, value in given.items():
        if value:
            raise BadInput(f"{edit} is an edit, which {name} is not for; expected --dialogue-track")

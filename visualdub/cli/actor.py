"""`vdub actor`: what actors there are, what they say of themselves, and how they are forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from visualdub.console import Face, Json, err, out, print_json, shown_progress
from visualdub.errors import BadInput

command = typer.Typer(no_args_is_help=True, help="List, show and forget actors, or withdraw consent.")

Name = Annotated[
    str, typer.Argument(help="Actor package: a folder, or its name without .actor.", show_default=False)
]


@command.command("list")
def list_(
    folder: Annotated[Path, typer.Argument(help="Where to look.")] = Path(), json: Json = False
) -> None:
    """The actor packages in a folder."""
    from visualdub.actor.library import list_actors
    from visualdub.actor.record import ActorRecord

    found = list(list_actors(folder))
    if json:
        print_json(
            {
                "actors": [
                    {"path": str(p), **(r.to_json() if isinstance(r, ActorRecord) else {"error": str(r)})}
                    for p, r in found
                ]
            }
        )
        return
    table = Table("actor", "frames", "steps", "consent", "package", box=None)
    for path, record in found:
        if isinstance(record, ActorRecord):
            consent = record.consent
            said = (
                f"withdrawn {consent.withdrawn}"
                if consent.withdrawn
                else f"{consent.who}, {consent.when}, {consent.scope}"
            )
            frames = sum(f.frame_count for f in record.frames)
            table.add_row(record.name, str(frames), str(record.steps), said, str(path))
        else:
            table.add_row("?", "", "", str(record), str(path))
    out.print(table if found else f"no actor packages in {folder.resolve()}")


@command.command()
def show(name: Name, json: Json = False) -> None:
    """Everything an actor's record says."""
    from visualdub.actor.library import find_actor
    from visualdub.actor.record import load_record

    path = find_actor(name)
    values = {"path": str(path), **load_record(path).to_json()}
    if json:
        print_json(values)
        return
    table = Table("", "", box=None, show_header=False)
    for key, value in values.items():
        table.add_row(key, _plain(value))
    out.print(table)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in value.items() if v is not None
        )
    if isinstance(value, list | tuple):
        return "; ".join(_plain(v) for v in value)
    return str(value)


@command.command()
def detail(
    name: Name,
    clips: Annotated[
        list[Path],
        typer.Argument(metavar="CLIP...", help="Clips that it was adapted on.", show_default=False),
    ],
    face: Face = None,
) -> None:
    """Keep frames of the actor's footage in the package, whose fine detail the drawn mouth then shows.

    vdub adapt does so by itself; this is for packages of earlier versions. Only frames that the actor was
    adapted on are kept.
    """
    from visualdub.actor.footage import add_detail, footage_of
    from visualdub.actor.library import find_actor
    from visualdub.actor.record import load_record
    from visualdub.face.tracker import cached_track

    path = find_actor(name)
    record = load_record(path)
    with shown_progress() as progress:
        footage = [
            part
            for clip in clips
            for part in footage_of(record, clip, cached_track(clip, face=face, progress=progress)[0])
        ]
        frames = add_detail(path, footage, progress)
    size = sum(len(p) for p in frames.pictures) / 2**20
    out.print(f"{path}: {len(frames)} frames lend their detail, {size:.1f} MiB")


@command.command()
def withdraw(name: Name) -> None:
    """Record that the person withdrew consent: nothing is rendered from the actor any more."""
    from visualdub.actor.library import find_actor
    from visualdub.actor.library import withdraw as withdraw_consent

    path = find_actor(name)
    record = withdraw_consent(path)
    out.print(f"{path}: consent of {record.consent.who} is withdrawn as of {record.consent.withdrawn}")


@command.command()
def forget(
    name: Name,
    dataset: Annotated[
        list[Path] | None,
        typer.Option(
            "--dataset",
            metavar="DIR",
            help="A dataset of vdub train prepare: the shards of the actor's clips go too. May be repeated.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the package and what is kept of the clips it was adapted on: their tracks and hashes in the
    cache, checkpoints and previews of stopped adaptations beside the package, their shards in each --dataset.

    Movies that were dubbed, their records, the clips themselves, datasets that are not named and priors that
    were trained on such datasets stay.
    """
    from visualdub.actor.library import find_actor, kept_of
    from visualdub.actor.library import forget as forget_actor

    path, datasets = find_actor(name), dataset or []
    if not yes:
        for kept in (*kept_of(path, datasets), path):
            err.print(str(kept))
        try:
            sure = typer.confirm(f"Delete {path} and all that is listed above?", err=True)
        except typer.Abort as e:
            raise BadInput(f"{path} is not deleted: nobody answered; --yes deletes without asking") from e
        if not sure:
            err.print("nothing deleted")
            raise typer.Exit(1)
    for removed in forget_actor(path, datasets):
        out.print(f"removed {removed}")

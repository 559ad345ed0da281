"""The service's library of actors."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from daemon.access import Roots
from visualdub.actor.library import find_actor, forget, list_actors, withdraw
from visualdub.actor.package import SUFFIX, load_actor
from visualdub.actor.record import ActorRecord, Consent, load_record
from visualdub.errors import ActorError, BadInput
from visualdub.render.quality import DRAFT
from visualdub.wire import schema


class Library:
    """The actor packages in `folder`. roots: folders that a package may be copied from."""

    def __init__(self, folder: Path, roots: Roots) -> None:
        self.folder, self.roots = folder, roots

    def handle(self, request: Any) -> list[dict[str, Any]] | None:
        """Do what a request asks for; records to answer with, or None where there are none.

        Raises `ActorError` and `BadInput` for what cannot be done.
        """
        if isinstance(request, schema.ActorList):
            return [_shown(path, record) for path, record in list_actors(self.folder)]
        if isinstance(request, schema.ActorAdd):
            return [self.add(request.path)]
        path = self.find(request.actor)
        if isinstance(request, schema.ActorWithdraw):
            return [_shown(path, withdraw(path))]
        if isinstance(request, schema.ActorRemove):
            forget(path)
            return None
        return [_shown(path, load_record(path))]

    def find(self, name: str) -> Path:
        """The package with this name. Raises `ActorError`, and `BadInput` for what is no name."""
        if name != os.path.basename(name) or name in (".", ".."):
            raise BadInput(f"{name!r} is no name of an actor; expected one of the library")
        return find_actor(str(self.folder / name), self.folder)

    def add(self, text: str) -> dict[str, Any]:
        """Copy the package at `text`, whole or not at all, after it was read and found to be one."""
        source = self.roots.readable(text)
        linked = next((p for p in source.rglob("*") if p.is_symlink()), None)
        if linked is not None:  # it could lead out of the service's folders
            raise ActorError(f"{linked} is a link; expected a package of files")
        record = load_actor(source).record
        target = self.folder / f"{source.name.removesuffix(SUFFIX)}{SUFFIX}"
        if target.exists():
            raise ActorError(f"{target.stem} is an actor of the library already; remove it first")
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            shutil.copytree(source, partial, symlinks=False)
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return _shown(target, record)


def _shown(path: Path, record: ActorRecord | ActorError) -> dict[str, Any]:
    if isinstance(record, ActorRecord):
        return {"path": str(path), **record.to_json()}
    return {"path": str(path), "error": str(record)}


def drafted_consent(asked: dict[str, Any], quality: str) -> Consent:
    """The consent to a draft without an actor. Raises `BadInput` where there is none, and for a final."""
    if quality != DRAFT:
        raise BadInput("no actor is given; a final needs one (vdub adapt), a draft the person's consent")
    if not asked.get("consent"):
        raise BadInput('no actor is given; a draft needs consent, "who, when, scope"')
    return Consent.parse(asked["consent"])

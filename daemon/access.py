"""Who may ask and for which files: allowed keys, and folders that media may lie in."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from visualdub.errors import BadInput
from visualdub.storage import write_json

KEYS = "keys.json"  # in the service's folder: names of clients and their public keys
SERVER = "server.json"  # its own pair of keys
KEY_LENGTH = 40  # characters of a key in Z85


class OutsideRoots(BadInput):
    """A path that the service does not touch for clients."""


# ---- folders -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Roots:
    """The folders that media, actors and results of clients may lie in, links resolved."""

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, folders: list[Path]) -> Roots:
        """Raises `BadInput` for one that is no folder."""
        for folder in folders:
            if not folder.is_dir():
                raise BadInput(f"--root {folder} is not a folder")
        return cls(tuple(Path(os.path.realpath(f)) for f in folders))

    def readable(self, text: str) -> Path:
        """The file or folder that `text` names, links resolved.

        Raises `OutsideRoots` for one that lies elsewhere, and `BadInput` for one that is missing or is a
        device or a pipe.
        """
        path = self._inside(text)
        try:
            mode = path.stat().st_mode
        except OSError as e:
            raise BadInput(f"{text} cannot be read: {e.strerror or e}") from e
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise BadInput(f"{text} is a device or a pipe; expected a file")
        return path

    def writable(self, text: str) -> Path:
        """The file that `text` names, which may be written, links resolved. Raises `OutsideRoots`."""
        return self._inside(text)

    def _inside(self, text: str) -> Path:
        if "\0" in text or not os.path.isabs(text):
            raise OutsideRoots(f"{text!r} is no absolute path; expected one, paths are the service's")
        try:
            path = Path(os.path.realpath(text))
        except (OSError, ValueError) as e:
            raise OutsideRoots(f"{text!r} is no path: {e}") from e
        if not any(path.is_relative_to(folder) for folder in self.folders):
            names = ", ".join(map(str, self.folders)) or "none"
            raise OutsideRoots(
                f"{text} lies outside the folders of the service ({names}); see vdub serve --root"
            )
        return path


# ---- keys --------------------------------------------------------------------------------------------------


def new_pair() -> dict[str, str]:
    """A pair of keys: `public_key`, `secret_key`, in Z85."""
    public, secret = zmq.curve_keypair()
    return {"public_key": public.decode(), "secret_key": secret.decode()}


def write_secret(path: Path, values: dict[str, Any]) -> None:
    """Write a file that its owner alone may read. Raises `BadInput` where there is one already."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError as e:
        raise BadInput(f"{path} is there already; a key is never written over, give another name") from e
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(values, file, indent=1)


def server_pair(folder: Path) -> dict[str, str]:
    """The service's own pair of keys, made when it is first asked for."""
    path = folder / SERVER
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(BadInput):  # another process was faster
            write_secret(path, new_pair())
    values = _read(path)
    if not {"public_key", "secret_key"} <= set(values):
        raise BadInput(f"{path} lacks a key; move it away to make new ones, which every client needs then")
    return {name: str(values[name]) for name in ("public_key", "secret_key")}


class AllowList:
    """The clients that may connect over TCP: names and public keys, in the file `folder`/keys.json."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / KEYS
        self._stamp: tuple[int, int] | None = None
        self._names: dict[str, str] = {}  # by public key

    def reload(self) -> bool:
        """Read the file where it was changed since; whether it was. A file that is gone allows nobody."""
        try:
            found = self.path.stat()
            stamp = (found.st_mtime_ns, found.st_size)
        except OSError:
            changed, self._names, self._stamp = bool(self._names), {}, None
            return changed
        if stamp == self._stamp:
            return False
        self._names = {key: name for name, key in _read(self.path).items()}
        self._stamp = stamp
        return True

    def name_of(self, public_key: str) -> str | None:
        """The name of the client with this key; None where it is not allowed."""
        return self._names.get(public_key)

    def names(self) -> dict[str, str]:
        """Public keys by name."""
        return {name: key for key, name in self._names.items()}

    def allow(self, name: str, public_key: str) -> None:
        """Raises `BadInput` for what is no key, and for a name that has another one."""
        if len(public_key) != KEY_LENGTH:
            raise BadInput(f"{public_key!r} is no public key; expected the {KEY_LENGTH} characters of one")
        self.reload()
        names = self.names()
        if names.get(name, public_key) != public_key:
            raise BadInput(f"{name} has another key; vdub keys revoke {name} first")
        self._write({**names, name: public_key})

    def revoke(self, name: str) -> None:
        """Raises `BadInput` for a name that is not in the list."""
        self.reload()
        names = self.names()
        if name not in names:
            raise BadInput(
                f"{name} is no client of {self.path}; expected one of: {', '.join(names) or 'none'}"
            )
        del names[name]
        self._write(names)

    def _write(self, names: dict[str, str]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, names)
        self.reload()


def _read(path: Path) -> dict[str, str]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise BadInput(f"{path} cannot be read ({e}); expected keys as vdub keys writes them") from e
    if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
        raise BadInput(f"{path} holds something else; expected keys as vdub keys writes them")
    return values

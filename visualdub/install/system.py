"""The machine that is installed on: which system, whose home, where programs keep a user's files."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class System:
    """A user's account on one of the three systems, in plain values: each can be looked at from any other."""

    platform: str  # as `sys.platform` has it: linux, darwin or win32
    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def this(cls) -> System:
        """The account that this process runs in."""
        return cls(sys.platform, Path.home(), dict(os.environ))

    @property
    def application_data(self) -> Path:
        """Where programs keep what is the user's: `~/.local/share`, Application Support or %APPDATA%."""
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        if self.platform == "win32":
            return self._folder("APPDATA", self.home / "AppData" / "Roaming")
        return self._folder("XDG_DATA_HOME", self.home / ".local" / "share")

    @property
    def ours(self) -> Path:
        """Visual Dub's own folder for what is installed into hosts; `$VISUALDUB_HOSTS` overrides it."""
        return self._folder("VISUALDUB_HOSTS", self.application_data / "visualdub" / "hosts")

    def _folder(self, variable: str, usual: Path) -> Path:
        value = self.environment.get(variable, "")
        return Path(value) if value else usual

"""Input features that are computed once and stored in a folder, for experiments that train on them again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.speech.features import FeatureKind, Level
from visualdub.storage import atomic_path


@dataclass(frozen=True)
class StoredFeatures(FeatureKind):
    """The features of `kind`, as float16 in `folder`, one file for each stretch of a recording."""

    kind: FeatureKind
    folder: Path

    @classmethod
    def of(cls, kind: FeatureKind, folder: Path) -> StoredFeatures:
        """The features of `kind`, stored in `folder`, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(kind.name, kind.width, kind, folder)

    def features(
        self, audio: NDArray[np.float32], level: Level, first: int, count: int
    ) -> NDArray[np.float32]:
        """As `FeatureKind.features`, to the precision of float16."""
        what = f"{self.name} {level.gain!r} {first} {count} ".encode()
        digest = hashlib.blake2b(what + np.ascontiguousarray(audio).tobytes(), digest_size=16).hexdigest()
        file = self.folder / f"{digest}.npy"
        if not file.is_file():
            rows = self.kind.features(audio, level, first, count).astype(np.float16)
            with atomic_path(file) as temporary, temporary.open("wb") as f:
                np.save(f, rows)
        return np.asarray(np.load(file, allow_pickle=False), np.float32)

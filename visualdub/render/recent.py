"""Windows and their inputs that the frames asked for last needed: the next ones may need them, too."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Latest(Generic[Key, Value]):
    """The `most` values that were put or got last, by key; may be used from several threads."""

    def __init__(self, most: int) -> None:
        self.most, self._values = most, OrderedDict[Key, Value]()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """The value of `key`; None where it is not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def holds(self, key: Key) -> bool:
        """Whether the value of `key` is kept."""
        with self._lock:
            return key in self._values

    def put(self, key: Key, value: Value) -> None:
        """Keep the value of `key`, and let go of the one that nobody asked for the longest."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self.most:
                self._values.popitem(last=False)

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            self._values.clear()


@dataclass
class Recent(Generic[Value]):
    """Of one shot with one performance: 60 MiB of pictures, and of inputs about 120 MiB in HD."""

    pictures: Latest[int, NDArray[np.float32]] = field(
        default_factory=lambda: Latest(16)
    )  # by a window's start
    inputs: Latest[int, Value] = field(default_factory=lambda: Latest(32))  # by frame, without its planes

    def clear(self) -> None:
        """Let go of all."""
        self.pictures.clear()
        self.inputs.clear()

"""Windows and their inputs that the frames asked for last needed: the next ones may need them, too."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value")


class Latest(Generic[Value]):
    """The `most` values that were put or got last, by number; may be used from several threads."""

    def __init__(self, most: int) -> None:
        self.most, self._values = most, OrderedDict[int, Value]()
        self._lock = threading.Lock()

    def get(self, number: int) -> Value | None:
        """The value of `number`; None where it is not kept."""
        with self._lock:
            if number in self._values:
                self._values.move_to_end(number)
            return self._values.get(number)

    def holds(self, number: int) -> bool:
        """Whether the value of `number` is kept."""
        with self._lock:
            return number in self._values

    def put(self, number: int, value: Value) -> None:
        """Keep the value of `number`, and let go of the one that nobody asked for the longest."""
        with self._lock:
            self._values[number] = value
            self._values.move_to_end(number)
            while len(self._values) > self.most:
                self._values.popitem(last=False)

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            self._values.clear()


@dataclass
class Recent(Generic[Value]):
    """Of one shot with one performance: 60 MiB of pictures, and of inputs about 120 MiB in HD."""

    pictures: Latest[NDArray[np.float32]] = field(default_factory=lambda: Latest(16))  # by a window's start
    inputs: Latest[Value] = field(default_factory=lambda: Latest(32))  # by frame, without its planes

    def clear(self) -> None:
        """Let go of all."""
        self.pictures.clear()
        self.inputs.clear()

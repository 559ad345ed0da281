"""The actor's network, ready to run: it takes one window of frames and renders the same frames."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import ActorError, BadInput, InternalError
from visualdub.render.aligned_references import CHANNELS
from visualdub.render.providers import (
    EXACT_HERE,
    Execution,
    RuntimeChoice,
    candidates,
    library_of,
    model_file,
)
from visualdub.render.sessions import NotStarted, Session, open_session

INPUTS = {"frame": 5, "uv": 5, "mask": 4}  # name -> number of axes
ALIGNED = "aligned"  # of a network that takes aligned references; 5 axes
OUTPUT = "rgb"
log = logging.getLogger(__name__)


class Renderer:
    """One loaded `renderer.onnx`. It renders one window per call, always with batch 1, so that the bits of a
    frame never depend on a batch.

    model_path: the file exported with the actor; the fast mode reads those that were exported beside it.
    threads: on CPUs, None = one per core. choice: what it runs on, see `providers`.
    Raises `ActorError` where the file is missing, is no ONNX graph or does not have the inputs and outputs of
    a renderer, `BadInput` where it cannot run as `choice` has it.
    """

    def __init__(
        self, model_path: Path, threads: int | None = None, choice: RuntimeChoice = EXACT_HERE
    ) -> None:
        if not Path(model_path).is_file():
            raise ActorError(f"{model_path} is missing; expected the renderer of an actor package")
        self.execution, self.model_path, self._session = _open(Path(model_path), threads, choice)
        self.window, self.size = self._contract()
        where = f"{self.providers}, {self.execution.describe()}"
        log.debug("%s: %d frames of %d pixels on %s", self.model_path, self.window, self.size, where)

    def _contract(self) -> tuple[int, int]:
        """Check the graph's inputs and output; return (T, crop size in pixels)."""
        inputs, outputs = self._session.inputs, self._session.outputs
        if (
            set(inputs) - {ALIGNED} != set(INPUTS)
            or OUTPUT not in outputs
            or any(len(inputs[k]) != n for k, n in INPUTS.items())
            or len(inputs.get(ALIGNED, (1,) * 5)) != 5
        ):
            raise ActorError(
                f"{self.model_path} takes {inputs} and gives {sorted(outputs)}; "
                f"expected inputs frame (N,T,3,S,S), uv (N,T,S,S,2), mask (N,T,S,S), perhaps {ALIGNED}"
                f" (N,T,4,S,S), and output {OUTPUT}"
            )
        meta, shape = self._session.metadata, inputs["mask"]
        try:
            window, size = int(meta.get("window", shape[1])), int(meta.get("size", shape[3]))
        except (TypeError, ValueError) as e:
            raise ActorError(
                f"{self.model_path} does not say its window and size; expected metadata or fixed axes"
            ) from e
        fixed = [(shape[1], window), (shape[2], size), (shape[3], size)]
        if any(isinstance(axis, int) and axis != said for axis, said in fixed) or window < 2 or size < 1:
            raise ActorError(
                f"{self.model_path} says window {window} and size {size}, its mask input is {shape}; "
                f"expected them to agree"
            )
        return window, size

    @property
    def takes_aligned(self) -> bool:
        """Whether the network takes aligned references, see `visualdub.render.aligned_references`."""
        return ALIGNED in self._session.inputs

    @property
    def at_once(self) -> int:
        """How many windows may be rendered at the same time, each in a thread of its own."""
        return self._session.at_once

    @property
    def providers(self) -> list[str]:
        """Execution providers in use, fastest first."""
        return self._session.providers

    def render(
        self,
        frames: NDArray[np.uint8] | NDArray[np.float32],
        uv: NDArray[np.float32],
        mask: NDArray[np.float32],
        aligned: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.float32]:
        """Render one window.

        frames: (T, S, S, 3) full-range R'G'B' crops, code values 0..255, uint8 or float32. uv: (T, S, S, 2)
        texture coordinates 0..1, u right, v down, -1 off the mesh. mask: (T, S, S) 0/1, the region to draw.
        aligned: (T, S, S, 4) aligned references, codes 0..255; None: none.
        Returns (T, S, S, 3) float32 R'G'B' in 0..1. Raises `InternalError` on other shapes.
        """
        t, s = self.window, self.size
        if aligned is None:
            aligned = np.zeros((t, s, s, CHANNELS), np.uint8)
        wanted = {"frames": (t, s, s, 3), "uv": (t, s, s, 2), "mask": (t, s, s), ALIGNED: (t, s, s, CHANNELS)}
        shapes = frames.shape, uv.shape, mask.shape, aligned.shape
        for (name, want), got in zip(wanted.items(), shapes, strict=True):
            if got != want:
                raise InternalError(f"{name} of a window is {got}; {self.model_path.name} expects {want}")
        feed = {
            "frame": channels_first(frames),
            "uv": np.ascontiguousarray(uv, dtype=np.float32)[None],
            "mask": np.ascontiguousarray(mask, dtype=np.float32)[None],
        }
        if self.takes_aligned:
            feed[ALIGNED] = channels_first(aligned)
        rgb = self._session.run(feed, OUTPUT)[0]
        return np.ascontiguousarray(rgb.transpose(0, 2, 3, 1), dtype=np.float32).clip(0.0, 1.0)


def channels_first(codes: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Codes (T, S, S, C) 0..255 as values 0..1, (1, T, C, S, S)."""
    return np.ascontiguousarray(codes.transpose(0, 3, 1, 2), dtype=np.float32)[None] / np.float32(255)


def _open(renderer: Path, threads: int | None, choice: RuntimeChoice) -> tuple[Execution, Path, Session]:
    """The first of the providers in question that starts, with the file that it runs."""
    refused = []
    for name, precision in candidates(choice, renderer):
        execution, path = Execution(name, precision, library_of(name)), model_file(renderer, precision)
        try:
            return execution, path, open_session(path, execution, threads)
        except NotStarted as e:
            refused.append(f"{name}: {e}")
            log.debug("%s does not start here: %s", name, e)
        except Exception as e:  # ONNX Runtime's own exceptions share no public base
            reason = str(e).splitlines()[0][:160]
            raise ActorError(f"{path} is not a renderer that {execution.library} can load: {reason}") from e
    raise BadInput(
        f"no provider of this machine starts ({'; '.join(refused)}); expected another --provider, or none"
    )

"""The actor's network under ONNX Runtime: it takes one window of frames and renders the same frames."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from visualdub.errors import ActorError, InternalError
from visualdub.storage import name_or_bytes

INPUTS = {"frame": 5, "uv": 5, "mask": 4}  # name -> number of axes
OUTPUT = "rgb"
log = logging.getLogger(__name__)
PREFERRED_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


class Renderer:
    """One loaded `renderer.onnx`. It renders one window per call, always with batch 1, so that the bits of a
    frame never depend on a batch.

    model_path: the file exported with the actor. threads: threads of ONNX Runtime, None = one per core.
    Raises `ActorError` where the file is missing, is no ONNX graph or does not have the inputs and outputs of
    a renderer.
    """

    def __init__(self, model_path: Path, threads: int | None = None) -> None:
        self.model_path = Path(model_path)
        if not self.model_path.is_file():
            raise ActorError(f"{self.model_path} is missing; expected the renderer of an actor package")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # decode and encode run beside it and need the cores
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = [p for p in PREFERRED_PROVIDERS if p in ort.get_available_providers()]
        try:
            self._session = ort.InferenceSession(name_or_bytes(self.model_path), options, providers=providers)
        except Exception as e:  # ONNX Runtime's own exceptions share no public base
            reason = str(e).splitlines()[0][:160]
            raise ActorError(
                f"{self.model_path} is not a renderer that ONNX Runtime can load: {reason}"
            ) from e
        self.window, self.size = self._contract()
        log.debug("%s: %d frames of %d pixels on %s", model_path, self.window, self.size, self.providers)

    def _contract(self) -> tuple[int, int]:
        """Check the graph's inputs and output; return (T, crop size in pixels)."""
        inputs = {i.name: i.shape for i in self._session.get_inputs()}
        outputs = {o.name for o in self._session.get_outputs()}
        if (
            set(inputs) != set(INPUTS)
            or OUTPUT not in outputs
            or any(len(inputs[k]) != n for k, n in INPUTS.items())
        ):
            raise ActorError(
                f"{self.model_path} takes {inputs} and gives {sorted(outputs)}; "
                f"expected inputs frame (N,T,3,S,S), uv (N,T,S,S,2), mask (N,T,S,S) and output {OUTPUT}"
            )
        meta = self._session.get_modelmeta().custom_metadata_map
        shape = inputs["mask"]
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
    def providers(self) -> list[str]:
        """Execution providers in use, fastest first."""
        return list(self._session.get_providers())

    def render(
        self,
        frames: NDArray[np.uint8] | NDArray[np.float32],
        uv: NDArray[np.float32],
        mask: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Render one window.

        frames: (T, S, S, 3) full-range R'G'B' crops, code values 0..255, uint8 or float32. uv: (T, S, S, 2)
        texture coordinates 0..1, u right, v down, -1 off the mesh. mask: (T, S, S) 0/1, the region to draw.
        Returns (T, S, S, 3) float32 R'G'B' in 0..1. Raises `InternalError` on other shapes.
        """
        t, s = self.window, self.size
        wanted = {"frames": (t, s, s, 3), "uv": (t, s, s, 2), "mask": (t, s, s)}
        for (name, want), got in zip(wanted.items(), (frames.shape, uv.shape, mask.shape), strict=True):
            if got != want:
                raise InternalError(f"{name} of a window is {got}; {self.model_path.name} expects {want}")
        feed = {
            "frame": np.ascontiguousarray(frames.transpose(0, 3, 1, 2), dtype=np.float32)[None]
            / np.float32(255),
            "uv": np.ascontiguousarray(uv, dtype=np.float32)[None],
            "mask": np.ascontiguousarray(mask, dtype=np.float32)[None],
        }
        rgb: NDArray[np.float32] = self._session.run([OUTPUT], feed)[0][0]
        return np.ascontiguousarray(rgb.transpose(0, 2, 3, 1), dtype=np.float32).clip(0.0, 1.0)

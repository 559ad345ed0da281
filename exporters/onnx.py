"""Torch to ONNX, checked against PyTorch in eager mode before the file gets its name."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import Tensor

from training.renderer.actor_renderer import ActorRenderer
from visualdub.errors import VisualDubError
from visualdub.storage import atomic_path, name_or_bytes

OPSET = 17
SCHEMA = 1  # of inputs, outputs and metadata of renderer.onnx
TOLERANCE = (
    2e-3  # largest difference in 0..1 allowed against eager PyTorch; tests/exporters says what was measured
)


@dataclass(frozen=True)
class Parity:
    """How far ONNX Runtime is from eager PyTorch on the probe windows, R'G'B' in 0..1."""

    worst: float
    mean: float


def export_renderer(renderer: ActorRenderer, path: Path) -> Parity:
    """Write `path` (DESIGN.md 2.3; inputs `frame`, `uv`, `mask`, output `rgb`, dynamic N) and check it.

    The file appears only when ONNX Runtime gives the same pictures as eager PyTorch. Raises `VisualDubError`
    when it does not.
    """
    renderer = renderer.float().cpu().eval()
    config = renderer.network.config
    with atomic_path(path) as temporary:
        _trace(renderer, temporary)
        _describe(temporary, config.window, config.size, config.width)
        parity = check_parity(renderer, temporary)
        if not parity.worst <= TOLERANCE:
            raise VisualDubError(
                f"{path.name}: ONNX Runtime differs from PyTorch by {parity.worst:.2g}; "
                f"expected at most {TOLERANCE}"
            )
    return parity


def probe_inputs(renderer: ActorRenderer, count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Random frames, a UV map with holes and a mask that both have an edge inside the picture: `count`
    windows.
    """
    config = renderer.network.config
    t, s = config.window, config.size
    rng = torch.Generator().manual_seed(seed)
    frames = torch.rand(count, t, 3, s, s, generator=rng)
    line = (torch.arange(s) + 0.5) / s
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).expand(count, t, s, s, 2)
    uv = (grid + 0.01 * torch.randn(count, t, 1, 1, 2, generator=rng)).clamp(0, 1).clone()
    uv[:, :, : s // 8] = -1
    mask = torch.zeros(count, t, s, s)
    mask[:, :, 2 * s // 5 : s - 4, s // 5 : s - s // 5] = 1
    return frames, uv, mask


def check_parity(renderer: ActorRenderer, path: Path) -> Parity:
    """Run both on batches of one and two windows and compare."""
    session = ort.InferenceSession(name_or_bytes(path), providers=["CPUExecutionProvider"])
    differences = []
    for count in (1, 2):
        inputs = probe_inputs(renderer, count, seed=count)
        with torch.no_grad():
            expected = renderer(*inputs).numpy()
        feed = {name: x.numpy() for name, x in zip(("frame", "uv", "mask"), inputs, strict=True)}
        got = session.run(["rgb"], feed)[0]
        if got.shape != expected.shape:
            raise VisualDubError(f"{path.name}: ONNX Runtime gives {got.shape}; expected {expected.shape}")
        differences.append(np.abs(got - expected).ravel())
    joined = np.concatenate(differences)
    return Parity(float(joined.max()), float(joined.mean()))


def _trace(renderer: ActorRenderer, path: Path) -> None:
    dynamic = {name: {0: "N"} for name in ("frame", "uv", "mask", "rgb")}
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # the tracing exporter announces its successor, which wants one more package
        torch.onnx.export(
            renderer,
            probe_inputs(renderer, 1),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["frame", "uv", "mask"],
            output_names=["rgb"],
            dynamic_axes=dynamic,
            do_constant_folding=True,
        )


def _describe(path: Path, window: int, size: int, width: float) -> None:
    """Check the graph and write what a runtime has to know into its metadata."""
    model = onnx.load(str(path))
    onnx.checker.check_model(model)
    onnx.helper.set_model_props(
        model, {"schema": str(SCHEMA), "window": str(window), "size": str(size), "width": str(width)}
    )
    onnx.save(model, str(path))

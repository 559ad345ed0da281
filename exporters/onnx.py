"""Torch to ONNX: traced, simplified, described, and checked against PyTorch before the file gets its name."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch

from exporters.crops import Window, held_out, random_windows
from exporters.parity import (
    OUTPUT,
    Parity,
    compare,
    eager_pictures,
    most_error,
    onnx_pictures,
    require_bound,
)
from exporters.precision import most_int8, to_float16
from training.renderer.actor_renderer import ActorRenderer
from visualdub.errors import BadInput
from visualdub.render.providers import BF16, FP16, FP32, INT8
from visualdub.storage import atomic_path

OPSET = 17
SCHEMA = 1  # of inputs, outputs and metadata of renderer.onnx
PRECISIONS = (FP32, FP16, INT8)
LEAST_HALVED = 65536  # bytes of a constant that is worth a node of its own
HALF_RANGE = (-65504.0, 65504.0)


@dataclass(frozen=True)
class Export:
    """A file that was written and checked."""

    parity: Parity
    nodes_traced: int  # as PyTorch wrote them
    nodes: int  # after simplification

    def describe(self) -> str:
        """In words."""
        return f"{self.parity.describe()}; {self.nodes_traced} nodes traced, {self.nodes} once simplified"


def export_renderer(
    renderer: ActorRenderer,
    path: Path,
    windows: Sequence[Window] = (),
    about: Mapping[str, str] | None = None,
    precision: str = FP32,
) -> Export:
    """Write `path` (DESIGN.md 2.3; inputs `frame`, `uv`, `mask` and, of a network with aligned references,
    `aligned`, output `rgb`, one window) and check it.

    windows: of the actor; int8 is calibrated on three of four, and every check is made on the others. Random
    ones where there are none. about: what else its metadata says. The file appears only when it keeps the
    bound of its precision against PyTorch in eager mode. Raises `VisualDubError` with what was measured when
    it does not, `BadInput` for another precision.
    """
    model, done = checked_graph(renderer, windows, about, precision, path.name)
    with atomic_path(path) as temporary:
        onnx.save(model, str(temporary))
    return done


def checked_graph(
    renderer: ActorRenderer,
    windows: Sequence[Window],
    about: Mapping[str, str] | None,
    precision: str,
    name: str,
    tensorrt: bool = False,
) -> tuple[onnx.ModelProto, Export]:
    """The graph that `export_renderer` writes. name: of the file, for messages. tensorrt: int8 as
    TensorRT takes it.
    """
    if precision == BF16:
        raise BadInput(
            "--precision bf16 needs no file of its own: OpenVINO computes renderer.onnx in it where a core"
            f" can (--provider openvino --fast); expected {', '.join(PRECISIONS)}"
        )
    if precision not in PRECISIONS:
        raise BadInput(f"--precision {precision!r} is none; expected {', '.join(PRECISIONS)}")
    renderer = renderer.float().cpu().eval()
    config = renderer.network.config
    windows = list(windows) or list(random_windows(config.window, config.size, 2, aligned=config.aligned))
    facts = {"window": config.window, "size": config.size, "width": config.width, "precision": precision}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        traced = _trace(renderer, file)
        model = simplify(file)
        nodes = len(model.graph.node)
        checked = held_out(windows)
        expected, masks = eager_pictures(renderer, checked), [w.feed["mask"] for w in checked]

        def parity_of(graph: onnx.ModelProto) -> Parity:
            onnx.save(graph, str(file))
            return compare(expected, onnx_pictures(file, checked), masks)

        if precision == FP32:
            keep_in_half(model)
        elif precision == FP16:
            model = to_float16(model)
        elif precision == INT8:
            model = most_int8(model, windows, tensorrt, lambda g: parity_of(g).error, most_error())
        parity = parity_of(model)
    require_bound(name, parity, precision)
    _describe(model, {**facts, **(about or {}), **_measured(parity)})
    return model, Export(parity, traced, nodes)


def simplify(path: Path) -> onnx.ModelProto:
    """The graph in `path` with constants folded into initialisers, without what cancels out: ONNX Runtime's
    basic optimisations, which leave the operators of the standard.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "simple.onnx")
        ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        model = onnx.load(options.optimized_model_filepath)
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    onnx.checker.check_model(model)
    return model


def keep_in_half(model: onnx.ModelProto) -> None:
    """Keep large constants whose values are whole in half precision, as an actor's texture is, in half
    precision, in place; a `Cast` gives every runtime the same single precision values that were there.
    """
    for initializer in model.graph.initializer:
        if initializer.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(initializer)
        half = values.clip(*HALF_RANGE).astype(np.float16)
        if values.nbytes < LEAST_HALVED or not np.array_equal(half.astype(np.float32), values):
            continue
        name = initializer.name
        initializer.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}_half"))
        cast = onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT)
        model.graph.node.insert(0, cast)
    onnx.checker.check_model(model)


def _trace(renderer: ActorRenderer, path: Path) -> int:
    """Write the graph to `path` as PyTorch traces it; return how many nodes it has."""
    config = renderer.network.config
    (probe,) = random_windows(config.window, config.size, 1, aligned=config.aligned)
    inputs = {name: torch.from_numpy(values) for name, values in probe.feed.items()}
    with warnings.catch_warnings():
        # the tracing exporter announces its successor, which wants one more package
        warnings.simplefilter("ignore")
        torch.onnx.export(
            renderer,
            tuple(inputs.values()),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=[OUTPUT],
            do_constant_folding=True,
        )
    return len(onnx.load(str(path)).graph.node)


def _measured(parity: Parity) -> dict[str, str]:
    return {"worst_pixel": f"{parity.worst:.3g}", "psnr_mask_db": f"{parity.psnr_mask:.1f}"}


def _describe(model: onnx.ModelProto, facts: Mapping[str, object]) -> None:
    """Write what a runtime has to know of the graph into its metadata."""
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    values = {"schema": SCHEMA, "opset": opset, **facts}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {k: str(v) for k, v in values.items()})

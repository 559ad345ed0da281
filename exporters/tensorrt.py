"""ONNX to a TensorRT engine: built ahead of time without a GPU to check it, or for the GPU of this machine.

Speed and accuracy of an engine were not run on hardware; building one was, on a machine without a GPU.
"""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
import torch

from exporters.actor import load_trained
from exporters.crops import Window, held_out
from exporters.onnx import checked_graph
from exporters.parity import OUTPUT, Picture, compare, eager_pictures, require_bound
from visualdub.actor.package import RENDERER, seal
from visualdub.errors import BadInput, VisualDubError
from visualdub.records import digest
from visualdub.render.providers import FP32, INT8
from visualdub.stages import Progress
from visualdub.storage import atomic_path, entry, write_json

ENGINE = "renderer.engine"
MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")  # the first one that is installed is used
INSTALL = "pip install --no-deps tensorrt-rtx-cu12-bindings tensorrt-rtx-cu12-libs"
MIB = 1 << 20


@dataclass(frozen=True)
class EngineKey:
    """What an engine is good for: one that was built for anything else is built again."""

    gpu: str  # name and compute capability
    driver: str
    tensorrt: str  # module and version
    precision: str
    renderer: str  # SHA-256 of the weights and of the texture


@dataclass(frozen=True)
class Built:
    """An engine that was built."""

    data: bytes
    layers: int  # of the parsed network
    seconds: float


def export_engine(folder: Path, progress: Progress, precision: str = FP32, write: bool = True) -> str:
    """Write `renderer.engine` into the actor package `folder`, for this machine's GPU; what was done, in
    words. write: False builds one ahead of time and leaves the package as it is, which needs no GPU.

    An engine of the same GPU, driver, TensorRT, precision and weights is kept. Raises `BadInput` where
    TensorRT or, to write, a GPU is missing, and `VisualDubError` for a graph that TensorRT refuses or an
    engine that is beyond the bound of its precision.
    """
    trt = load_tensorrt(ahead_of_time=not write)
    gpu = this_gpu() if write else ("", "")
    progress.check()
    trained = load_trained(folder)
    weights = f"{trained.about['weights_sha256']} {trained.about['texture_sha256']}"
    key = EngineKey(*gpu, f"{trt.__name__} {trt.__version__}", precision, weights)
    target = folder / ENGINE
    if write and read_key(target) == key:
        return f"{ENGINE} is up to date for {key.gpu}, driver {key.driver}, {key.tensorrt}"
    model, done = checked_graph(
        trained.renderer, trained.windows, trained.about, precision, RENDERER, tensorrt=precision == INT8
    )
    progress.check()
    built = build_engine(trt, model, precision, timing_cache=timing_cache(key) if write else None)
    size = f"{len(built.data) / MIB:.0f} MiB, {built.layers} layers, {built.seconds:.1f} s"
    if not write:
        return (
            f"{done.describe()}; {key.tensorrt} parsed it and built an engine ahead of time ({size});"
            " not run on a GPU"
        )
    windows = held_out(trained.windows)
    pictures = engine_pictures(trt, built.data, windows)
    parity = compare(eager_pictures(trained.renderer, windows), pictures, [w.feed["mask"] for w in windows])
    require_bound(ENGINE, parity, precision)
    with atomic_path(target) as temporary:
        temporary.write_bytes(built.data)
    write_json(key_path(target), asdict(key))
    seal(folder)
    return f"{ENGINE} for {key.gpu}, {key.tensorrt}: {size}; {parity.describe()}"


def load_tensorrt(ahead_of_time: bool = False) -> Any:
    """TensorRT's Python module. ahead_of_time: one that builds without a GPU.

    Raises `BadInput` where it is not installed.
    """
    for name in MODULES[1:] if ahead_of_time else MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise BadInput(f"TensorRT is not installed; {INSTALL}")


def this_gpu() -> tuple[str, str]:
    """Name with compute capability, and driver, of the first GPU. Raises `BadInput` where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise BadInput("an engine is built for this machine's GPU and there is none; expected --check")
    query = [program, "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=60)
    fields = [f.strip() for f in done.stdout.splitlines()[0].split(",")] if done.stdout.strip() else []
    if done.returncode or len(fields) != 3:
        raise BadInput(f"{program} names no GPU ({done.stderr.strip()[:80]}); expected --check, or a GPU")
    return f"{fields[0]}, compute capability {fields[1]}", fields[2]


def key_path(engine: Path) -> Path:
    """The file beside an engine that says what it is good for."""
    return engine.with_name(engine.name + ".json")


def read_key(engine: Path) -> EngineKey | None:
    """What the engine is good for; None where there is none, or nothing is known of it."""
    try:
        values = json.loads(key_path(engine).read_text(encoding="utf-8"))
        return EngineKey(**values) if engine.is_file() else None
    except (OSError, ValueError, TypeError):
        return None


def timing_cache(key: EngineKey) -> Path:
    """Where measured times of kernels are kept, by everything they depend on."""
    path = entry("compiled", digest(key.gpu, key.driver, key.tensorrt), "", ".timing")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


# ---- building ----------------------------------------------------------------------------------------------


def build_engine(trt: Any, model: onnx.ModelProto, precision: str, timing_cache: Path | None = None) -> Built:
    """Parse `model` and build an engine in the types of its tensors; TF32 is off.

    timing_cache: a file that is read where it exists, and written. Raises `VisualDubError` that names the
    operator TensorRT refuses.
    """
    begun, logger = time.perf_counter(), _logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model.SerializeToString()):
        reason = str(parser.get_error(0).desc()).splitlines()[0] if parser.num_errors else "no reason given"
        node = parser.get_error(0).node_name() if parser.num_errors else "?"
        raise VisualDubError(f"TensorRT refuses the graph at {node}: {reason}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    if timing_cache is not None:
        known = timing_cache.read_bytes() if timing_cache.is_file() else b""
        config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise VisualDubError(f"TensorRT builds no engine: {logger.worst or 'no reason given'}")
    if timing_cache is not None:
        with atomic_path(timing_cache) as temporary:
            temporary.write_bytes(bytes(config.get_timing_cache().serialize()))
    return Built(bytes(plan), network.num_layers, time.perf_counter() - begun)


def _logger(trt: Any) -> Any:
    """A logger that keeps the last error and says nothing."""

    class Quiet(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.worst = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.worst = message.splitlines()[0][:160]

    return Quiet()


# ---- running -----------------------------------------------------------------------------------------------


def engine_pictures(trt: Any, engine: bytes, windows: Sequence[Window]) -> list[Picture]:
    """What an engine renders of each window, on the GPU through PyTorch's memory. Not run on hardware."""
    runtime = trt.Runtime(_logger(trt))
    loaded = runtime.deserialize_cuda_engine(engine)
    if loaded is None:
        raise VisualDubError("TensorRT does not load the engine that it built")
    context, stream, pictures = loaded.create_execution_context(), torch.cuda.current_stream(), []
    for window in windows:
        tensors = {name: torch.from_numpy(values).cuda() for name, values in window.feed.items()}
        tensors[OUTPUT] = torch.empty_like(tensors["frame"])
        torch.cuda.synchronize()
        for name, tensor in tensors.items():
            context.set_tensor_address(name, tensor.data_ptr())
        if not context.execute_async_v3(stream.cuda_stream):
            raise VisualDubError("TensorRT does not run the engine that it built")
        stream.synchronize()
        pictures.append(tensors[OUTPUT].cpu().numpy())
    return pictures

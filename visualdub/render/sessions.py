"""An ONNX file opened on one execution provider: the options of each, and the cache of compiled models."""

from __future__ import annotations

import hashlib
import io
import json
import os
import queue
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from visualdub.render.providers import (
    BF16,
    FP16,
    FP32,
    PROVIDERS,
    Execution,
    has_openvino_package,
    openvino_core,
    openvino_plugin_devices,
)
from visualdub.storage import cached, entry, name_or_bytes

COMPILED, COMPILED_SUFFIX = "compiled", ".model"  # folder of the cache, and suffix of its entries
Arrays = Mapping[str, NDArray[np.float32]]


class Session(Protocol):
    """A network that is ready to run, always with a batch of 1."""

    inputs: dict[str, list[int | str]]  # axes by name; a text where the file leaves one open
    outputs: set[str]
    metadata: dict[str, str]
    providers: list[str]  # as ONNX Runtime or OpenVINO call them, the one that computes first
    at_once: int  # calls of `run` that may go on at the same time, each in a thread of its own

    def run(self, feed: Arrays, output: str) -> NDArray[np.float32]:
        """One output of the network, float32."""


class NotStarted(Exception):
    """A provider is installed and does not run on this machine."""


def open_session(path: Path, execution: Execution, threads: int | None = None) -> Session:
    """The network in `path` as `execution` has it. threads: on CPUs, None = one per core.

    Raises `NotStarted` where the provider does not run here, and what ONNX Runtime or OpenVINO raise for a
    file that is no network.
    """
    if execution.provider == "openvino" and has_openvino_package():
        return OpenVinoSession(path, execution, threads)
    return OrtSession(path, execution, threads)


def compiled_entry(path: Path, execution: Execution, detail: str = "", suffix: str = COMPILED_SUFFIX) -> Path:
    """Where the cache keeps what `path` is compiled to: by the bytes of the file, library and precision.

    detail: what else it depends on.
    """
    with path.open("rb") as f:
        model = hashlib.file_digest(f, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    what = f"{execution.provider} {execution.precision} {execution.library} {detail}"
    return entry(COMPILED, model, what, suffix)


# ---- ONNX Runtime ------------------------------------------------------------------------------------------


class OrtSession:
    """A session of ONNX Runtime."""

    def __init__(self, path: Path, execution: Execution, threads: int | None) -> None:
        import onnxruntime as ort

        provider = PROVIDERS[execution.provider]
        options = ort.SessionOptions()
        on_cores = execution.provider == "cpu" and threads is None
        self.at_once, options.intra_op_num_threads = shared_cores() if on_cores else (1, threads or 0)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_free_dimension_override_by_name("N", 1)
        # decode and encode run beside it and need the cores
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if execution.provider == "directml":
            options.enable_mem_pattern = False  # DirectML asks for it
        if execution.provider == "openvino":
            settings = {"CPU": openvino_settings(execution, threads)}
            devices = list(openvino_plugin_devices()[:1])
            options.add_provider_for_devices(devices, {"load_config": json.dumps(settings)})
            self._session = ort.InferenceSession(name_or_bytes(path), options)
        else:
            chosen: list[Any] = [(provider.ort_name, ort_options(path, execution)), "CPUExecutionProvider"]
            chosen = chosen[1:] if execution.provider == "cpu" else chosen
            self._session = ort.InferenceSession(name_or_bytes(path), options, providers=chosen)
        self.providers = list(self._session.get_providers())
        if self.providers[0] != provider.ort_name:
            raise NotStarted(f"ONNX Runtime fell back to {self.providers[0]}")
        self.inputs = {i.name: list(i.shape) for i in self._session.get_inputs()}
        self.outputs = {o.name for o in self._session.get_outputs()}
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, feed: Arrays, output: str) -> NDArray[np.float32]:
        """One output of the network, float32."""
        result: NDArray[np.float32] = self._session.run([output], dict(feed))[0]
        return result


def shared_cores() -> tuple[int, int]:
    """How many windows are rendered at once on this machine's cores, and the threads of each.

    Two windows that share nothing keep the cores busier than one that all of them share: they never wait for
    each other at the end of a layer. More than two would only take more memory.
    """
    import psutil

    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    at_once = min(2, cores)
    return at_once, cores // at_once


def ort_options(path: Path, execution: Execution) -> dict[str, str]:
    """ONNX Runtime's options of a provider, so that it computes in the precision of `execution` and keeps
    what it compiles. Not run on hardware: CUDA, TensorRT, CoreML.
    """
    exact = execution.precision == FP32
    if execution.provider == "cuda":
        return {"use_tf32": "0" if exact else "1"}
    if execution.provider == "tensorrt":
        if exact:
            os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # TensorRT's own switch; the provider has none
        kept = compiled_entry(path, execution, suffix="")
        kept.parent.mkdir(parents=True, exist_ok=True)
        return {
            "trt_fp16_enable": str(int(execution.precision == FP16)),
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(kept.parent),
            "trt_engine_cache_prefix": kept.name,
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(kept.parent),
        }
    if execution.provider == "coreml":
        return {
            "ModelFormat": "MLProgram",
            "MLComputeUnits": "CPUOnly" if exact else "ALL",  # the others compute in fp16
            "RequireStaticInputShapes": "1",
        }
    return {}


# ---- OpenVINO ----------------------------------------------------------------------------------------------


def openvino_settings(execution: Execution, threads: int | None, at_once: int = 1) -> dict[str, str]:
    """OpenVINO's settings. The precision is always said: by itself it takes bf16 where a core has it.

    at_once: windows that are rendered at the same time.
    """
    hint = "bf16" if execution.precision == BF16 else "f32"
    return {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": str(threads or os.cpu_count() or 1),
        "NUM_STREAMS": str(at_once),
    }


class OpenVinoSession:
    """A network compiled by the package `openvino`, from the cache where it was compiled before."""

    def __init__(self, path: Path, execution: Execution, threads: int | None) -> None:
        core = openvino_core()
        self.at_once = shared_cores()[0] if threads is None else 1
        settings = openvino_settings(execution, threads, self.at_once)
        source = name_or_bytes(path)
        model = core.read_model(io.BytesIO(source) if isinstance(source, bytes) else source)
        self.inputs = {i.any_name: _axes(i.partial_shape) for i in model.inputs}
        self.outputs = {o.any_name for o in model.outputs}
        self.metadata = _framework_metadata(model)

        def make() -> Any:
            model.reshape({name: [1, *axes[1:]] for name, axes in self.inputs.items()})
            return core.compile_model(model, "CPU", settings)

        def load(file: BinaryIO) -> Any:
            return core.import_model(file.read(), "CPU", settings)

        def save(compiled: Any, file: BinaryIO) -> None:
            buffer = io.BytesIO()
            compiled.export_model(buffer)
            file.write(buffer.getvalue())

        processor = core.get_property("CPU", "FULL_DEVICE_NAME")
        capabilities = " ".join(sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")))
        where = compiled_entry(path, execution, f"{processor} {capabilities} {settings}")
        compiled, self.from_cache = cached(where, load, make, save)
        self.precision = str(compiled.get_property("INFERENCE_PRECISION_HINT"))
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()  # requests that nobody uses
        for _ in range(self.at_once):
            self._idle.put(compiled.create_infer_request())
        self.providers = ["OpenVINO CPU"]

    def run(self, feed: Arrays, output: str) -> NDArray[np.float32]:
        """One output of the network, float32."""
        request = self._idle.get()
        try:
            # a copy: the next call writes over OpenVINO's own
            return np.array(request.infer(dict(feed))[output], np.float32)
        finally:
            self._idle.put(request)


def _axes(shape: Any) -> list[int | str]:
    return [axis.get_length() if axis.is_static else "?" for axis in shape]


def _framework_metadata(model: Any) -> dict[str, str]:
    """The metadata of an ONNX file as OpenVINO keeps it."""
    info = model.get_rt_info()
    return {k: str(v.value) for k, v in info["framework"].items()} if "framework" in info else {}

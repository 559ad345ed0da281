"""Where an actor's network can run: the execution providers of this machine, and which of them is taken."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from visualdub.errors import BadInput

FP32, FP16, BF16, INT8 = "fp32", "fp16", "bf16", "int8"
EXACT, FAST = "exact", "fast"
EXACT_BOUND = 1e-3  # largest difference in 0..1 from eager PyTorch that a renderer in fp32 may have
FAST_BOUND_DB = 60.0  # least PSNR inside the mask against eager PyTorch of a renderer in another precision
OPENVINO_PACKAGE, OPENVINO_PLUGIN = "openvino", "onnxruntime_ep_openvino"
MACHINE_DEPENDENT = "fast mode: the bits of a drawn frame may differ on another machine"


@dataclass(frozen=True)
class Provider:
    """What a network can run on."""

    name: str  # as --provider takes it
    ort_name: str  # as ONNX Runtime calls it
    fast: tuple[str, ...]  # the precisions of the fast mode, the preferred one first


PROVIDERS = {
    p.name: p
    for p in (
        Provider("tensorrt", "TensorrtExecutionProvider", (FP16,)),
        Provider("cuda", "CUDAExecutionProvider", (FP16,)),
        Provider("directml", "DmlExecutionProvider", (FP16,)),
        Provider("coreml", "CoreMLExecutionProvider", (FP16,)),
        Provider("openvino", "OpenVINOExecutionProvider", (INT8, BF16)),
        Provider("cpu", "CPUExecutionProvider", (INT8,)),
    )
}
# What is tried without --provider, in this order. On CPUs OpenVINO's fp32 is about as fast as ONNX Runtime's,
# and the bits of a frame should not change with what else is installed.
EXACT_ORDER = ("cuda", "directml", "cpu")
FAST_ORDER = tuple(PROVIDERS)


@dataclass(frozen=True)
class RuntimeChoice:
    """What the user asked for. Raises `BadInput` for a provider that there is none of."""

    provider: str | None = None  # a name of `PROVIDERS`; None: the fastest one of this machine
    fast: bool = False  # at least FAST_BOUND_DB inside the mask, instead of within EXACT_BOUND everywhere

    def __post_init__(self) -> None:
        if self.provider is not None and self.provider not in PROVIDERS:
            raise BadInput(f"--provider {self.provider!r} is none; expected one of {', '.join(PROVIDERS)}")


EXACT_HERE = RuntimeChoice()


@dataclass(frozen=True)
class Execution:
    """What a renderer runs on: part of the report and of the provenance."""

    provider: str  # a name of `PROVIDERS`
    precision: str  # FP32, FP16, BF16 or INT8
    library: str  # name and version

    @property
    def mode(self) -> str:
        """EXACT or FAST."""
        return EXACT if self.precision == FP32 else FAST

    def as_dict(self) -> dict[str, str]:
        """Plain values; of the fast mode with a note that says what it costs."""
        note = {} if self.mode == EXACT else {"note": MACHINE_DEPENDENT}
        return {**asdict(self), "mode": self.mode, **note}

    def describe(self) -> str:
        """In words."""
        return f"{self.mode}: {self.precision} on {self.provider} ({self.library})"


def model_file(renderer: Path, precision: str) -> Path:
    """The file that a renderer in `precision` is read from: `renderer.onnx`, or one that was exported beside
    it.
    """
    return renderer if precision in (FP32, BF16) else renderer.with_suffix(f".{precision}.onnx")


def candidates(choice: RuntimeChoice, renderer: Path) -> list[tuple[str, str]]:
    """(provider, precision) pairs in the order in which they are tried for the actor's file `renderer`.

    Raises `BadInput` where the provider that was asked for is not installed, and where the fast mode needs an
    export that the actor lacks.
    """
    require_installed(choice)
    there = available()
    order = (choice.provider,) if choice.provider else FAST_ORDER if choice.fast else EXACT_ORDER
    names = [name for name in order if name in there]
    if not choice.fast:
        return [(name, FP32) for name in names]
    pairs = [(name, precision) for name in names for precision in _fast_precisions(name)]
    usable = [(name, precision) for name, precision in pairs if model_file(renderer, precision).is_file()]
    if not usable:
        precision = pairs[0][1] if pairs else INT8
        raise BadInput(
            f"{renderer.parent} holds no {model_file(renderer, precision).name}, which the fast mode needs"
            f" here; vdub export {renderer.parent} --precision {precision} writes it"
        )
    return usable


def require_installed(choice: RuntimeChoice) -> None:
    """Raise `BadInput` where the provider that was asked for is not installed."""
    there = available()
    if choice.provider is not None and choice.provider not in there:
        raise BadInput(
            f"--provider {choice.provider} is not installed; expected one of {', '.join(there)} (vdub doctor)"
        )


def _fast_precisions(name: str) -> list[str]:
    """The precisions of the fast mode that this machine computes in."""
    return [p for p in PROVIDERS[name].fast if p != BF16 or openvino_has_bf16()]


@cache
def available() -> tuple[str, ...]:
    """Names of the providers that are installed, in the order of `PROVIDERS`; whether one starts is known
    once it did.
    """
    import onnxruntime as ort

    built_in = set(ort.get_available_providers())
    return tuple(
        p.name for p in PROVIDERS.values() if p.ort_name in built_in or (p.name == "openvino" and _openvino())
    )


def _openvino() -> bool:
    return has_openvino_package() or bool(openvino_plugin_devices())


def has_openvino_package() -> bool:
    """Whether the package `openvino` is installed: it is used where ONNX Runtime's plugin is there, too."""
    return importlib.util.find_spec(OPENVINO_PACKAGE) is not None


@cache
def openvino_plugin_devices() -> tuple[object, ...]:
    """ONNX Runtime's devices of the wheel `onnxruntime-ep-openvino`, CPUs first; it offers none on processors
    of other makers than Intel.
    """
    if importlib.util.find_spec(OPENVINO_PLUGIN) is None:
        return ()
    import onnxruntime as ort
    import onnxruntime_ep_openvino as plugin

    ort.register_execution_provider_library(OPENVINO_PLUGIN, plugin.get_library_path())
    found = [d for d in ort.get_ep_devices() if d.ep_name == plugin.get_ep_name()]
    return tuple(d for d in found if d.device.type == ort.OrtHardwareDeviceType.CPU)


@cache
def openvino_core() -> Any:
    """OpenVINO in this process, without its telemetry, which reports every import over the network unasked.

    There is one for as long as the process runs. Each sets a stack for signals, and puts back the one before
    when it ends; of two that overlap, the second puts back one that is gone, and the next Ctrl-C would be a
    segmentation fault.
    """
    # `import openvino_telemetry` now raises ImportError, upon which openvino sends nothing.
    sys.modules.setdefault("openvino_telemetry", cast(ModuleType, None))
    import openvino

    return openvino.Core()


@cache
def openvino_has_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this processor."""
    if not has_openvino_package():
        return False
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def library_of(name: str) -> str:
    """The library that runs provider `name`, and its version."""
    import onnxruntime as ort

    if name == "openvino" and has_openvino_package():
        return f"OpenVINO {importlib.metadata.version(OPENVINO_PACKAGE)}"
    if name == "openvino":
        version = importlib.metadata.version("onnxruntime-ep-openvino")
        return f"ONNX Runtime {ort.__version__}, onnxruntime-ep-openvino {version}"
    return f"ONNX Runtime {ort.__version__}"

"""`vdub doctor`: what this machine has for Visual Dub, and what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.table import Table

from visualdub.console import Json, out, print_json

# ---- the command -------------------------------------------------------------------------------------------

SIGN = {True: "ok", False: "BROKEN", None: ""}


def command(
    host: Annotated[
        str | None,
        typer.Argument(
            metavar="[HOST]", help="A host application, as vdub install takes it.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Check this machine: packages, models, encoders, memory and disk; or the path from a host application to
    the service. Exit status 1 where something is broken.
    """
    from dataclasses import asdict

    findings = examine() if host is None else examine_host(host)
    if json:
        print_json({"healthy": healthy(findings), "findings": [asdict(f) for f in findings]})
    else:
        table = Table("", "", "", box=None, show_header=False)
        for f in findings:
            table.add_row(f.name, SIGN[f.ok], f.detail)
        out.print(table)
    if not healthy(findings):
        raise typer.Exit(1)


# ---- what is looked at -------------------------------------------------------------------------------------

NEEDED = (
    "numpy",
    "scipy",
    "numba",
    "threadpoolctl",
    "av",
    "mediapipe",
    "opencv-contrib-python",
    "onnxruntime",
    "safetensors",
    "typer",
    "rich",
    "psutil",
    "pillow",
    "matplotlib",
)
OPTIONAL = {
    "torch": "vdub adapt, vdub train, vdub export (extra: training)",
    "onnx": "vdub export, vdub train speech (extras: training, exporters)",
    "pocketsphinx": "vdub train speech (extra: training)",
    "openvino": "vdub dub --provider openvino, --fast (extra: openvino)",
}
ALTERNATIVES = {  # distributions that install the same files: the one that is asked for first
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino"),
    "opencv-contrib-python": (
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
        "opencv-python",
        "opencv-python-headless",
    ),
}
LEAST_DISK_GIB, LEAST_MEMORY_GIB = 2.0, 3.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `ok` False: something asked for will not work; None: only for information."""

    name: str
    ok: bool | None
    detail: str


def examine() -> list[Finding]:
    """Look at everything; never raises, never changes anything outside the cache folder."""
    return [
        _python(),
        *map(_needed, NEEDED),
        *(_optional(n, use) for n, use in OPTIONAL.items()),
        _checked("face model", _face_model),
        _checked("face detector", _face_detector),
        _checked("speech model", _speech_model),
        _checked("inference", _providers),
        _checked("encoders", _encoders),
        _gpu(),
        _memory(),
        _cache(),
    ]


def examine_host(name: str) -> list[Finding]:
    """Look at what is installed into a host, and try its path to the service. Raises `BadInput`."""
    from visualdub.install import System, host_named
    from visualdub.install.files import examine_files

    system, host = System.this(), host_named(name)
    checks = [*examine_files(system, host.installation(system)), *host.examine(system)]
    return [Finding(c.name, c.ok, c.detail) for c in checks]


def _python() -> Finding:
    version = platform.python_version()
    return Finding(
        "python",
        (3, 11) <= sys.version_info[:2] <= (3, 12),
        f"{version} on {platform.platform()}; 3.11 or 3.12 needed",
    )


def _needed(name: str) -> Finding:
    """A distribution that the core needs, or one of those that stand in for it."""
    return judge(name, {n: v for n in ALTERNATIVES.get(name, (name,)) if (v := _version(n))})


def judge(name: str, installed: dict[str, str]) -> Finding:
    """What `installed`, names and versions of distributions that serve as `name`, means.

    ONNX Runtime's are different builds that overwrite each other. OpenCV's hold the same code in the same
    files, so that two of one version do no harm.
    """
    if not installed:
        return Finding(name, False, "not installed; pip install visualdub brings it")
    detail = ", ".join(v if n == name else f"{n} {v}" for n, v in installed.items())
    alike = name != "onnxruntime" and len(set(installed.values())) == 1
    if len(installed) > 1 and not alike:
        advice = f"pip uninstall {' '.join(installed)}, then pip install the one that is wanted"
        return Finding(name, False, f"{detail}: they overwrite each other's files; {advice}")
    return Finding(name, True, detail)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _optional(name: str, use: str) -> Finding:
    version = _version(name)
    return Finding(name, None, f"{version}: {use}" if version else f"not installed; needed for {use}")


def _checked(name: str, look: Callable[[], str]) -> Finding:
    """Run `look`; what it raises is the finding."""
    begun = time.perf_counter()
    try:
        detail = look()
    except Exception as e:  # a doctor reports what is broken, whatever it is
        return Finding(
            name, False, f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else 'no reason given'}"
        )
    return Finding(name, True, f"{detail} ({time.perf_counter() - begun:.1f} s)")


def _face_model() -> str:
    from visualdub.face.models import DEFAULT_FACE_MODEL, face_model

    model = face_model(DEFAULT_FACE_MODEL)
    return f"{model.name}, {model.vertex_count} vertices, {model.n_expression} components"


def _face_detector() -> str:
    import numpy as np

    from visualdub.face.mediapipe_models import Detector

    detector = Detector()
    found = detector.boxes(np.zeros((64, 64, 3), np.uint8))
    detector.close()
    return f"MediaPipe runs, {len(found)} faces in a black picture"


def _speech_model() -> str:
    from fractions import Fraction

    import numpy as np

    from visualdub.speech.predict import predict_motion

    motion = predict_motion(np.zeros(16000, np.float32), Fraction(25), 25)
    return f"{len(motion)} frames of motion for one second"


def _providers() -> str:
    import onnxruntime

    from visualdub.render.providers import EXACT_ORDER, available, library_of

    found = [library_of(p) if p == "openvino" else p for p in available()]
    first = next(p for p in EXACT_ORDER if p in available())
    unused = "cuda" not in found and _has_nvidia()
    hint = "; to use the GPU: pip uninstall onnxruntime, then pip install onnxruntime-gpu" if unused else ""
    return f"ONNX Runtime {onnxruntime.__version__}, on {first}; --provider takes {', '.join(found)}{hint}"


def _encoders() -> str:
    import av

    missing = [name for name in ("ffv1", "prores_aw", "libx264") if name not in av.codecs_available]
    if missing:
        raise RuntimeError(f"PyAV lacks {', '.join(missing)}")
    return f"ffv1, prores, h264 in PyAV {av.__version__}"


def _gpu() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("gpu", None, "torch is not installed, so adaptation cannot run here")
    return Finding(
        "gpu",
        None,
        "an NVIDIA driver is here"
        if _has_nvidia()
        else f"none found; adaptation runs on {os.cpu_count()} CPU cores",
    )


def _has_nvidia() -> bool:
    return shutil.which("nvidia-smi") is not None


def _memory() -> Finding:
    import psutil

    free = psutil.virtual_memory().available / 2**30
    return Finding("memory", free >= LEAST_MEMORY_GIB, f"{free:.1f} GiB free; {LEAST_MEMORY_GIB:g} needed")


def _cache() -> Finding:
    from visualdub.storage import cache_folder

    folder = cache_folder()
    there = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(there).free / 2**30
    writable = os.access(there, os.W_OK)
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 2**20 if folder.is_dir() else 0.0
    detail = f"{folder}, {size:.0f} MiB used, {free:.1f} GiB free" + ("" if writable else ", not writable")
    return Finding("cache", writable and free >= LEAST_DISK_GIB, detail)


def healthy(findings: list[Finding]) -> bool:
    """Nothing that was looked at is broken."""
    return all(f.ok is not False for f in findings)

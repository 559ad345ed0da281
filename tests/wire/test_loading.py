"""What the clients load, and which Python they run on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import vermin

ROOT = Path(__file__).resolve().parents[2]
WIRE = ROOT / "visualdub" / "wire"
BRIDGE = ("__init__", "errors", "picture", "places", "requests", "bridge_client", "hosted")  # Python 3.7
ON_THE_WAY = ("__init__", "errors")  # of visualdub, that are loaded before
HEAVY = {"numpy", "torch", "av", "onnxruntime", "cv2", "scipy"}


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sorted(n.split('.')[0] for n in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())


def test_the_client_loads_nothing_heavy() -> None:
    loaded = loaded_after("import visualdub.wire.client, visualdub.wire.schema, visualdub.wire.bridge")
    assert {"zmq", "msgpack", "msgspec"} <= loaded and not HEAVY & loaded


def test_the_client_needs_no_msgspec() -> None:
    assert "msgspec" not in loaded_after("from visualdub.wire import Client")


def test_the_client_of_a_bridge_loads_the_standard_library_alone() -> None:
    before, after = loaded_after(""), loaded_after("from visualdub.wire import BridgeClient")
    foreign = {n for n in after - before if n not in sys.stdlib_module_names}
    assert foreign == {"visualdub"}


def oldest_python(path: Path) -> tuple[int, int]:
    """The oldest Python 3 that has all that a module uses."""
    _, python_3 = vermin.detect(path.read_text(encoding="utf-8"))
    return python_3 or (3, 0)


@pytest.mark.parametrize("name", BRIDGE)
def test_what_a_bridge_client_loads_is_python_3_7(name: str) -> None:
    assert oldest_python(WIRE / f"{name}.py") <= (3, 7)


@pytest.mark.parametrize("name", ON_THE_WAY)
def test_what_is_loaded_on_the_way_is_python_3_7(name: str) -> None:
    assert oldest_python(ROOT / "visualdub" / f"{name}.py") <= (3, 7)


def test_the_client_is_python_3_9() -> None:
    assert oldest_python(WIRE / "client.py") <= (3, 9)

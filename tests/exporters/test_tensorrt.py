"""TensorRT parses and builds on a machine without a GPU, where its wheels are installed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

import exporters.tensorrt as engines
from exporters.tensorrt import EngineKey, build_engine, key_path, load_tensorrt, read_key, this_gpu
from visualdub.errors import BadInput, VisualDubError


@pytest.fixture
def trt() -> Any:
    try:
        return load_tensorrt(ahead_of_time=True)
    except BadInput as e:
        pytest.skip(str(e))


def graph_of(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """`x` (1, 8, 16, 16) to `y`, through a convolution of weights `w`."""
    values = [helper.make_tensor_value_info(k, TensorProto.FLOAT, [1, 8, 16, 16]) for k in ("x", "y")]
    weights = helper.make_tensor("w", TensorProto.FLOAT, [8, 8, 3, 3], [0.01] * 576)
    graph = helper.make_graph(list(nodes), "g", values[:1], values[1:], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_an_engine_is_built_without_a_gpu(trt: Any) -> None:
    convolve = helper.make_node("Conv", ["x", "w"], ["y"], "convolve", pads=[1, 1, 1, 1])
    built = build_engine(trt, graph_of(convolve), "fp32")
    assert built.layers >= 1 and len(built.data) > 1000


def test_an_operator_that_tensorrt_lacks_is_named(trt: Any) -> None:
    """`Det` of ONNX; the graph is checked by TensorRT alone."""
    convolve = helper.make_node("Conv", ["x", "w"], ["c"], "convolve", pads=[1, 1, 1, 1])
    refused = helper.make_node("Det", ["c"], ["y"], "determinant")
    with pytest.raises(VisualDubError, match="TensorRT refuses the graph at determinant: ") as e:
        build_engine(trt, graph_of(convolve, refused), "fp32")
    assert "\n" not in str(e.value)


def test_an_engine_of_another_driver_is_not_taken(tmp_path: Path) -> None:
    engine = tmp_path / "renderer.engine"
    key = EngineKey("NVIDIA L4, compute capability 8.9", "570.86", "tensorrt 10.9", "fp32", "abc")
    assert read_key(engine) is None
    key_path(engine).write_text(json.dumps(asdict(key)))
    assert read_key(engine) is None  # a key without its engine
    engine.write_bytes(b"engine")
    assert read_key(engine) == key
    key_path(engine).write_text(json.dumps({**asdict(key), "driver": "580.1"}))
    assert read_key(engine) != key
    key_path(engine).write_text("[]")
    assert read_key(engine) is None


def test_without_tensorrt_or_a_gpu_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "MODULES", ("no_such_module", "nor_this_one"))
    with pytest.raises(BadInput, match="pip install --no-deps tensorrt-rtx-cu12-bindings"):
        load_tensorrt()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadInput, match="expected --check"):
        this_gpu()

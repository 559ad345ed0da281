"""The renderer's contract with its ONNX file, on a tiny graph that honours it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from visualdub.errors import ActorError, InternalError
from visualdub.render.runtime import Renderer

T, S = 5, 8


def tiny_model(
    path: Path,
    window: str | None = str(T),
    size: str | None = str(S),
    output: str = "rgb",
    axes: int | str = S,
) -> Path:
    """rgb = frame * (1 - mask) + mask * u, with u the first texture coordinate."""
    shape = {"frame": ["N", T, 3, axes, axes], "uv": ["N", T, axes, axes, 2], "mask": ["N", T, axes, axes]}
    inputs = [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shape.items()]
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape["frame"])
    constants = [
        helper.make_tensor("two", TensorProto.INT64, [1], [2]),
        helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("zero", TensorProto.INT64, [], [0]),
    ]
    nodes = [
        helper.make_node("Unsqueeze", ["mask", "two"], ["m"]),
        helper.make_node("Gather", ["uv", "zero"], ["u4"], axis=4),
        helper.make_node("Unsqueeze", ["u4", "two"], ["u"]),
        helper.make_node("Sub", ["one", "m"], ["keep"]),
        helper.make_node("Mul", ["frame", "keep"], ["outside"]),
        helper.make_node("Mul", ["u", "m"], ["inside"]),
        helper.make_node("Add", ["outside", "inside"], [output]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", inputs, [result], constants),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    model.ir_version = 8
    for key, value in (("window", window), ("size", size), ("schema", "1"), ("width", "0.25")):
        if value is not None:
            helper.set_model_props(model, {**{p.key: p.value for p in model.metadata_props}, key: value})
    onnx.save(model, str(path))
    return path


def test_one_window_by_hand(tmp_path: Path) -> None:
    renderer = Renderer(tiny_model(tmp_path / "renderer.onnx"), threads=1)
    assert (renderer.window, renderer.size) == (T, S)
    frames = np.zeros((T, S, S, 3), np.uint8)
    frames[2, 1, 3] = (255, 51, 0)
    uv, mask = np.full((T, S, S, 2), 0.25, np.float32), np.zeros((T, S, S), np.float32)
    mask[4, 0, 7] = 1
    out = renderer.render(frames, uv, mask)
    assert out.shape == (T, S, S, 3) and out.dtype == np.float32
    assert out[2, 1, 3].tolist() == pytest.approx(
        [1.0, 0.2, 0.0], abs=1e-6
    )  # channels and axes are where they were
    assert out[4, 0, 7].tolist() == [0.25, 0.25, 0.25]
    assert out.sum() == pytest.approx(1.2 + 0.75, abs=1e-5)


def test_the_log_says_what_is_run_and_where(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "visualdub.render"):
        renderer = Renderer(tiny_model(tmp_path / "renderer.onnx"), threads=1)
    assert f"renderer.onnx: {T} frames of {S} pixels on {renderer.providers}" in caplog.text


def test_output_is_held_to_0_1(tmp_path: Path) -> None:
    renderer = Renderer(tiny_model(tmp_path / "renderer.onnx"), threads=1)
    out = renderer.render(
        np.zeros((T, S, S, 3), np.uint8),
        np.full((T, S, S, 2), 3.0, np.float32),
        np.ones((T, S, S), np.float32),
    )
    assert out.max() == 1.0


def test_dynamic_axes_take_their_size_from_the_metadata(tmp_path: Path) -> None:
    assert Renderer(tiny_model(tmp_path / "r.onnx", axes="S"), threads=1).size == S
    with pytest.raises(ActorError, match="does not say its window and size"):
        Renderer(tiny_model(tmp_path / "q.onnx", axes="S", size=None), threads=1)


def test_wrong_shapes_are_named(tmp_path: Path) -> None:
    renderer = Renderer(tiny_model(tmp_path / "renderer.onnx"), threads=1)
    good = (
        np.zeros((T, S, S, 3), np.uint8),
        np.zeros((T, S, S, 2), np.float32),
        np.zeros((T, S, S), np.float32),
    )
    with pytest.raises(InternalError, match="uv of a window is"):
        renderer.render(good[0], good[1][:, :4], good[2])


def test_missing_and_foreign_files_get_one_line(tmp_path: Path) -> None:
    with pytest.raises(ActorError, match="is missing"):
        Renderer(tmp_path / "renderer.onnx")
    text = tmp_path / "text.onnx"
    text.write_text("not a graph")
    with pytest.raises(ActorError, match="not a renderer") as e:
        Renderer(text)
    assert "\n" not in str(e.value)
    with pytest.raises(ActorError, match="output rgb"):
        Renderer(tiny_model(tmp_path / "other.onnx", output="depth"))
    with pytest.raises(ActorError, match="expected them to agree"):
        Renderer(tiny_model(tmp_path / "lying.onnx", size="16"))

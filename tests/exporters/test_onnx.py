"""ONNX against PyTorch in eager mode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

import exporters.onnx as room
from exporters.onnx import check_parity, export_renderer, probe_inputs
from training.core.config import GeneratorConfig
from training.renderer.actor_renderer import ActorRenderer
from training.renderer.generator import Generator
from visualdub.errors import VisualDubError
from visualdub.render.runtime import Renderer


def renderer_of(width: float) -> ActorRenderer:
    torch.manual_seed(0)
    config = GeneratorConfig(width=width)
    network = Generator(config)
    for p in network.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.05)  # so that every layer counts
    return ActorRenderer(network, torch.rand(1, 16, 256, 256), torch.rand(1, 3, 3, 256, 256)).eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[ActorRenderer, Path]:
    path = tmp_path_factory.mktemp("export") / "renderer.onnx"
    renderer = renderer_of(0.25)
    export_renderer(renderer, path)
    return renderer, path


@pytest.mark.slow
def test_small_agrees_with_eager_pytorch(exported: tuple[ActorRenderer, Path]) -> None:
    parity = check_parity(*exported)
    assert parity.worst < 1e-4  # worst measured 3e-6 of 0..1, AMD EPYC, ONNX Runtime 1.2x


@pytest.mark.slow
def test_the_contract(exported: tuple[ActorRenderer, Path]) -> None:
    model = onnx.load(str(exported[1]))
    assert {p.key: p.value for p in model.metadata_props} == {
        "schema": "1",
        "window": "5",
        "size": "256",
        "width": "0.25",
    }
    assert [i.name for i in model.graph.input] == ["frame", "uv", "mask"] and [
        o.name for o in model.graph.output
    ] == ["rgb"]
    assert model.opset_import[0].version >= 17
    session = ort.InferenceSession(str(exported[1]))
    assert [i.shape for i in session.get_inputs()] == [
        ["N", 5, 3, 256, 256],
        ["N", 5, 256, 256, 2],
        ["N", 5, 256, 256],
    ]
    assert (Renderer(exported[1]).window, Renderer(exported[1]).size) == (5, 256)


def test_nothing_under_the_mask_reaches_the_graphs_output(exported: tuple[ActorRenderer, Path]) -> None:
    session = ort.InferenceSession(str(exported[1]))
    frame, uv, mask = (x.numpy() for x in probe_inputs(exported[0], 1))
    other = np.where(mask[:, :, None] > 0, 1 - frame, frame)
    a, b = (session.run(["rgb"], {"frame": f, "uv": uv, "mask": mask})[0] for f in (frame, other))
    assert np.array_equal(a, b)


@pytest.mark.slow
def test_a_graph_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "TOLERANCE", -1.0)
    with pytest.raises(VisualDubError, match="differs"):
        export_renderer(renderer_of(0.0625), tmp_path / "renderer.onnx")
    assert not list(tmp_path.iterdir())

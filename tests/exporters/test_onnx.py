"""ONNX against PyTorch in eager mode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

import exporters.parity as bounds
from exporters.crops import random_windows
from exporters.onnx import Export, export_renderer, simplify
from exporters.parity import MOST_DB, Parity, compare, eager_pictures, onnx_pictures, require_bound
from exporters.precision import following, most_int8, wide_convolutions
from training.core.config import GeneratorConfig
from training.renderer.actor_renderer import ActorRenderer
from training.renderer.generator import Generator
from visualdub.errors import BadInput, VisualDubError
from visualdub.render.runtime import Renderer


def renderer_of(width: float) -> ActorRenderer:
    torch.manual_seed(0)
    config = GeneratorConfig(width=width)
    network = Generator(config)
    for p in network.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.05)  # so that every layer counts
    return ActorRenderer(
        network, torch.rand(1, 16, 256, 256).half().float(), torch.rand(1, 3, 3, 256, 256)
    ).eval()


def dequantised(model: onnx.ModelProto) -> set[str]:
    return {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[ActorRenderer, Path, Export]:
    path = tmp_path_factory.mktemp("export") / "renderer.onnx"
    renderer = renderer_of(0.0625)
    return renderer, path, export_renderer(renderer, path, about={"actor": "ada"})


def test_the_file_agrees_with_eager_pytorch(exported: tuple[ActorRenderer, Path, Export]) -> None:
    renderer, path, done = exported
    windows = list(random_windows(5, 256, 1, seed=7, aligned=True))
    masks = [w.feed["mask"] for w in windows]
    parity = compare(eager_pictures(renderer, windows), onnx_pictures(path, windows), masks)
    assert parity.worst < 1e-4  # worst measured 3e-6 of 0..1, AMD EPYC, ONNX Runtime 1.2x
    assert parity.psnr_mask > 100 and done.parity.windows == 2


@pytest.mark.slow
def test_small_agrees_with_eager_pytorch(tmp_path: Path) -> None:
    done = export_renderer(renderer_of(0.25), tmp_path / "renderer.onnx")
    assert done.parity.worst < 1e-4  # worst measured 3e-6 of 0..1, AMD EPYC, ONNX Runtime 1.2x


def test_the_contract(exported: tuple[ActorRenderer, Path, Export]) -> None:
    model = onnx.load(str(exported[1]))
    facts = {p.key: p.value for p in model.metadata_props}
    assert float(facts.pop("worst_pixel")) < 1e-4 and float(facts.pop("psnr_mask_db")) > 100
    assert facts == {
        "schema": "1",
        "window": "5",
        "size": "256",
        "width": "0.0625",
        "opset": "17",
        "precision": "fp32",
        "actor": "ada",
    }
    assert [i.name for i in model.graph.input] == ["frame", "uv", "mask", "aligned"] and [
        o.name for o in model.graph.output
    ] == ["rgb"]
    assert [(e.domain, e.version) for e in model.opset_import] == [("", 17)]
    session = ort.InferenceSession(str(exported[1]))
    assert [i.shape for i in session.get_inputs()] == [
        [1, 5, 3, 256, 256],
        [1, 5, 256, 256, 2],
        [1, 5, 256, 256],
        [1, 5, 4, 256, 256],
    ]
    assert (Renderer(exported[1]).window, Renderer(exported[1]).size) == (5, 256)


def test_the_graph_is_simplified(exported: tuple[ActorRenderer, Path, Export]) -> None:
    """Measured on the small network: 628 nodes traced, 307 left; with a dynamic batch it were 848."""
    nodes = [n for n in onnx.load(str(exported[1])).graph.node if not n.input[0].endswith("_half")]
    assert len(nodes) == exported[2].nodes < 0.6 * exported[2].nodes_traced
    assert [n.op_type for n in nodes if n.op_type in ("Constant", "Shape", "Identity")] == []
    assert {n.domain for n in nodes} == {""}
    assert len(simplify(exported[1]).graph.node) == len(nodes)  # nothing is left to do


def test_the_texture_is_kept_in_half_precision(exported: tuple[ActorRenderer, Path, Export]) -> None:
    renderer, path, _ = exported
    model = onnx.load(str(path))
    halves = {i.name: i for i in model.graph.initializer if i.data_type == onnx.TensorProto.FLOAT16}
    (name,) = halves
    values = onnx.numpy_helper.to_array(halves[name]).astype(np.float32)
    np.testing.assert_array_equal(values, renderer.texture.numpy())
    (cast,) = (n for n in model.graph.node if n.input[0] == name)
    assert cast.op_type == "Cast" and name == f"{cast.output[0]}_half"


def test_nothing_under_the_mask_reaches_the_graphs_output(
    exported: tuple[ActorRenderer, Path, Export],
) -> None:
    session = ort.InferenceSession(str(exported[1]))
    (window,) = random_windows(5, 256, 1, aligned=True)
    frame, mask = window.feed["frame"], window.feed["mask"]
    other = np.where(mask[:, :, None] > 0, 1 - frame, frame)
    a, b = (session.run(["rgb"], {**window.feed, "frame": f})[0] for f in (frame, other))
    assert np.array_equal(a, b)


@pytest.mark.slow
def test_a_graph_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "EXACT_BOUND", -1.0)
    with pytest.raises(VisualDubError, match=r"differs from PyTorch by .*; expected at most"):
        export_renderer(renderer_of(0.0625), tmp_path / "renderer.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_int8_computes_its_wide_convolutions_in_int8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights need not keep the bound; the file must be in int8 and draw about the same."""
    renderer, path = renderer_of(0.0625), tmp_path / "renderer.int8.onnx"
    monkeypatch.setattr(bounds, "FAST_BOUND_DB", 0.0)
    done = export_renderer(renderer, path, precision="int8")
    model = onnx.load(str(path))
    int8 = [w for w in model.graph.initializer if w.data_type == onnx.TensorProto.INT8 and len(w.dims) == 4]
    assert int8 and {w.dims[1] % 8 for w in int8} == {0}
    assert "Resize" in {n.op_type for n in model.graph.node if n.input[0] in dequantised(model)}
    assert 20 < done.parity.psnr_mask < MOST_DB


def test_beyond_its_bound_a_graph_is_refused_with_what_was_measured() -> None:
    with pytest.raises(VisualDubError, match=r"int8 reaches 59\.9 dB inside the mask.*at least 60 dB"):
        require_bound("renderer.int8.onnx", Parity(0.5, 59.9, 1), "int8")
    with pytest.raises(VisualDubError, match=r"differs from PyTorch by 0\.0011; expected at most 0\.001"):
        require_bound("renderer.onnx", Parity(1.1e-3, 90.0, 1), "fp32")
    require_bound("renderer.int8.onnx", Parity(0.5, 60.0, 1), "int8")
    require_bound("renderer.onnx", Parity(1e-3, 90.0, 1), "fp32")


@pytest.mark.slow
def test_the_convolutions_that_cost_most_stay_in_fp32_where_the_bound_asks_for_it(tmp_path: Path) -> None:
    """Every one costs 1, one of them 10; each graph really is in int8."""
    config = renderer_of(0.0625)
    export_renderer(config, tmp_path / "renderer.onnx")
    model = simplify(tmp_path / "renderer.onnx")
    names = wide_convolutions(model)
    assert len(names) > 4

    def error_of(graph: onnx.ModelProto) -> float:
        return sum(10.0 if name == names[2] else 1.0 for name in in_int8(graph))

    windows = list(random_windows(5, config.network.config.size, 2, aligned=True))
    everything = len(names) + 9.0
    for bound, left in ((everything, []), (everything - 1, [names[2]]), (len(names) / 4, [])):
        kept = in_int8(most_int8(model, windows, False, error_of, bound))
        assert kept == set(names) - set(left), bound  # beyond half, whoever asks has to refuse


def in_int8(graph: onnx.ModelProto) -> set[str]:
    """Names of the convolutions whose weights are whole numbers."""
    scaled = {n.output[0] for n in graph.graph.node if n.op_type == "DequantizeLinear"}
    return {n.name for n in graph.graph.node if n.op_type == "Conv" and n.input[1] in scaled}


def test_what_follows_a_wide_convolution_stays_in_int8() -> None:
    """x -> wide -> LeakyRelu -> Resize -> Add, and beside it one convolution that is too narrow, one of 20
    channels and one of groups.
    """
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["x", "w16"], ["a"], "wide"),
        node("LeakyRelu", ["a"], ["b"], "leaky"),
        node("Resize", ["b", "", "s"], ["c"], "resize"),
        node("Add", ["c", "z"], ["d"], "add"),
        node("Add", ["b", "z"], ["e"], "another"),
        node("Conv", ["x", "w8"], ["f"], "narrow"),
        node("Conv", ["x", "w20"], ["g"], "odd"),
        node("Conv", ["x", "w16"], ["h"], "grouped", group=2),
        node("LeakyRelu", ["f"], ["i"], "leaky of the narrow one"),
    ]
    weights = [
        onnx.helper.make_tensor(f"w{n}", onnx.TensorProto.FLOAT, [16, n, 1, 1], [0.0] * 16 * n)
        for n in (8, 16, 20)
    ]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [], weights))
    assert wide_convolutions(model) == ["wide"]
    assert following(model, ["wide"]) == ["leaky", "resize", "add"]


def test_a_precision_that_no_file_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="OpenVINO computes"):
        export_renderer(renderer_of(0.0625), tmp_path / "renderer.onnx", precision="bf16")
    with pytest.raises(BadInput, match="'fp12' is none; expected fp32, fp16, int8"):
        export_renderer(renderer_of(0.0625), tmp_path / "renderer.onnx", precision="fp12")


def test_compare_by_hand() -> None:
    """Half of the masked samples are off by 0.2: a mean square of 0.02, 17 dB."""
    want, have = np.zeros((1, 1, 3, 2, 2), np.float32), np.zeros((1, 1, 3, 2, 2), np.float32)
    mask = np.array([[[[1, 1], [0, 0]]]], np.float32)
    have[..., 0, 0], have[..., 1, 1] = 0.2, 0.5
    parity = compare([want], [have], [mask])
    assert parity.worst == 0.5 and parity.psnr_mask == pytest.approx(-10 * np.log10(0.02), abs=1e-4)
    assert compare([want], [want], [mask]).psnr_mask == pytest.approx(MOST_DB)

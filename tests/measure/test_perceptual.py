"""LPIPS and FID by networks from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.linalg import sqrtm

from visualdub.actor.package import load_actor
from visualdub.dub import track_shot
from visualdub.edit import plan_shot
from visualdub.errors import BadInput
from visualdub.measure.evaluate import evaluate
from visualdub.measure.perceptual import PerceptualMeasures, PerceptualNetworks, frechet_distance
from visualdub.timing import FrameRange

FREE = [1, 3, None, None]


def saved(path: Path, nodes: list[onnx.NodeProto], inputs: list[str], weight: NDArray[np.float32]) -> Path:
    """A network from `inputs` to `out`, whose nodes may use the constant `w`."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, FREE) for name in inputs],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture
def lpips(tmp_path: Path) -> Path:
    """The mean squared difference of one convolution's features of two pictures."""
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["a", "w"], ["fa"]),
        helper.make_node("Conv", ["b", "w"], ["fb"]),
        helper.make_node("Sub", ["fa", "fb"], ["d"]),
        helper.make_node("Mul", ["d", "d"], ["dd"]),
        helper.make_node("ReduceMean", ["dd"], ["out"], keepdims=1),
    ]
    return saved(tmp_path / "lpips.onnx", nodes, ["a", "b"], weight)


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """The mean R'G'B' of a picture as its features."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["a"], ["m"]),
        helper.make_node("Add", ["m", "w"], ["out"]),
    ]
    return saved(tmp_path / "fid.onnx", nodes, ["a"], np.zeros(1, np.float32))


def crops(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), np.uint8)


def test_lpips_is_the_networks_number_of_pictures_in_minus_one_to_one(lpips: Path) -> None:
    measures = PerceptualMeasures(PerceptualNetworks.open(lpips, None))
    (a, b), weight = crops(2, 1), numpy_helper.to_array(onnx.load(lpips).graph.initializer[0])
    measures.add(a, b)
    difference = (a.astype(np.float64) - b) * (2 / 255)
    features = sum(
        np.einsum("yxc,kc->kyx", difference[i : i + 14, j : j + 14], weight[:, :, i, j])
        for i in range(3)
        for j in range(3)
    )
    expected = np.square(features).mean()
    assert measures.table() == {"lpips": pytest.approx(expected, rel=1e-4)}


def test_fid_is_of_features_of_pictures_in_zero_to_one(colours: Path) -> None:
    measures = PerceptualMeasures(PerceptualNetworks.open(None, colours))
    drawn, real = crops(6, 2), crops(6, 3)
    for a, b in zip(drawn, real, strict=True):
        measures.add(a, b)
    means = [x.mean((1, 2)) / 255 for x in (drawn, real)]
    covariances = [np.cov(x, rowvar=False) for x in means]
    root = np.real(np.trace(sqrtm(covariances[0] @ covariances[1])))
    expected = (
        np.square(means[0].mean(0) - means[1].mean(0)).sum() + sum(map(np.trace, covariances)) - 2 * root
    )
    assert measures.table() == {"fid": pytest.approx(expected, rel=1e-3)}


def test_fewer_pictures_than_features_have_a_distance() -> None:
    features = np.random.default_rng(4).standard_normal((5, 64))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features, features + 0.5) == pytest.approx(64 * 0.25)


def test_one_picture_has_no_fid(colours: Path) -> None:
    measures = PerceptualMeasures(PerceptualNetworks.open(None, colours))
    measures.add(*crops(2, 5))
    assert np.isnan(measures.table()["fid"])


def test_wrong_networks_are_refused_in_one_line(tmp_path: Path, lpips: Path, colours: Path) -> None:
    with pytest.raises(BadInput, match="takes 2 inputs; expected 1"):
        PerceptualNetworks.open(None, lpips)
    with pytest.raises(BadInput, match="takes 1 inputs; expected 2"):
        PerceptualNetworks.open(colours, None)
    text = tmp_path / "text.onnx"
    text.write_text("no network")
    with pytest.raises(BadInput, match="is not a network of LPIPS"):
        PerceptualNetworks.open(text, None)


@pytest.mark.slow
def test_an_evaluation_measures_with_the_networks_it_is_given(
    talking: Path, flat_actor: Path, lpips: Path, colours: Path
) -> None:
    tracked, actor = track_shot(plan_shot(talking)), load_actor(flat_actor)
    networks = PerceptualNetworks.open(lpips, colours)
    table = evaluate(tracked, FrameRange(20, 26), actor, FrameRange(0, 6), networks=networks)
    assert table["reenactment"]["perceptual"]["lpips"] > 0 and table["reenactment"]["perceptual"]["fid"] > 0
    assert "perceptual" not in table["driven"]  # another performance is no picture to compare with

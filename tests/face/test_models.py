"""The registry of face models, and landmarks on a mesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from visualdub.errors import BadInput
from visualdub.face import models
from visualdub.face.landmarks import LANDMARK_COUNT, lip_opening
from visualdub.face.models import (
    DEFAULT_FACE_MODEL,
    face_model,
    posed_landmarks,
    posed_openings,
    register_face_model,
)
from visualdub.face.models.embedding import LandmarkEmbedding
from visualdub.face.models.face468 import Face468, read_built_in

ROOT = Path(__file__).resolve().parents[2]
CORE = ("visualdub", "training", "exporters", "benchmarks")


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names registered here are forgotten afterwards."""
    monkeypatch.setattr(models, "_loaders", dict(models._loaders))


def test_the_built_in_model_is_read_once_and_bears_its_name() -> None:
    assert face_model(DEFAULT_FACE_MODEL) is face_model(DEFAULT_FACE_MODEL)
    assert face_model(DEFAULT_FACE_MODEL).name == "face468-1"


def test_an_unknown_model_is_named_with_those_there_are() -> None:
    with pytest.raises(BadInput, match=r"face model 'flame-2020' is not known; expected .*face468-1"):
        face_model("flame-2020")


def test_a_loader_runs_when_its_model_is_first_needed() -> None:
    calls: list[str] = []

    def load() -> Face468:
        calls.append("load")
        return read_built_in("again-1")

    register_face_model("again-1", load)
    assert not calls
    assert face_model("again-1") is face_model("again-1") and calls == ["load"]


def test_a_name_stands_for_one_model() -> None:
    with pytest.raises(ValueError, match="'face468-1' is registered already"):
        register_face_model(DEFAULT_FACE_MODEL, lambda: read_built_in(DEFAULT_FACE_MODEL))
    register_face_model("misnamed-1", lambda: read_built_in("other-1"))
    with pytest.raises(ValueError, match=r"'other-1' was loaded for 'misnamed-1'"):
        face_model("misnamed-1")


def test_no_line_outside_the_registry_asks_for_a_global_model_or_the_built_in_class() -> None:
    allowed = ("visualdub/face/models", "training/face", "training/experiments/speakers.py")  # who build one
    texts = {p.relative_to(ROOT).as_posix(): p.read_text() for f in CORE for p in (ROOT / f).rglob("*.py")}
    assert len(texts) > 50
    assert not [name for name, text in texts.items() if "load_face_model" in text]
    assert not [n for n, t in texts.items() if "models.face468" in t and not n.startswith(allowed)]


def test_the_built_in_models_landmarks_are_its_first_vertices() -> None:
    model = face_model(DEFAULT_FACE_MODEL)
    mesh = np.random.default_rng(0).normal(0, 1, (2, model.vertex_count, 3))
    assert np.array_equal(model.landmarks(mesh), mesh[:, :LANDMARK_COUNT])
    assert np.array_equal(model.landmarks(model.neutral_mesh(mesh[0, :468])), mesh[0, :468])


def test_an_embedded_landmark_lies_between_its_vertices() -> None:
    corners = np.zeros((LANDMARK_COUNT, 3), np.int64)
    weights = np.tile([1.0, 0.0, 0.0], (LANDMARK_COUNT, 1))
    corners[7], weights[7] = (1, 2, 3), (0.5, 0.25, 0.25)
    mesh = np.array([[9.0, 9, 9], [4, 0, 0], [0, 8, 0], [0, 0, 12]])
    found = LandmarkEmbedding(corners, weights).landmarks(np.stack([mesh, 2 * mesh]))
    assert found.shape == (2, LANDMARK_COUNT, 3)
    np.testing.assert_allclose(found[:, 7], [[2, 2, 3], [4, 4, 6]])
    np.testing.assert_allclose(found[:, 8], [[9, 9, 9], [18, 18, 18]])


def test_landmarks_on_vertices() -> None:
    mesh = np.random.default_rng(0).normal(0, 1, (500, 3))
    numbers = np.arange(LANDMARK_COUNT)[::-1] + 30
    assert np.array_equal(LandmarkEmbedding.on_vertices(numbers).landmarks(mesh), mesh[numbers])


@pytest.mark.parametrize(
    ("corners", "weights", "message"),
    [
        (np.zeros((105, 3), int), np.ones((468, 3)) / 3, r"corners have the shape \(105, 3\)"),
        (np.zeros((468, 3), int), np.ones((468, 2)) / 2, r"weights have the shape \(468, 2\)"),
        (np.full((468, 3), -1), np.ones((468, 3)) / 3, "vertex -1"),
        (np.zeros((468, 3), int), np.ones((468, 3)), "landmark 0 sum to 3"),
    ],
)
def test_an_embedding_that_is_none(corners: np.ndarray, weights: np.ndarray, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        LandmarkEmbedding(corners, weights)


def test_landmarks_in_blocks_are_those_of_all_meshes(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rng = face_model(DEFAULT_FACE_MODEL), np.random.default_rng(0)
    jaw, expression = rng.normal(0, 0.1, 10), rng.normal(0, 1, (10, model.n_expression))
    whole = model.landmarks(model.vertices(model.template, jaw, expression))
    monkeypatch.setattr(models, "BLOCK", 4)
    blocks = list(posed_landmarks(model, model.template, jaw, expression))
    assert [len(range(*rows.indices(10))) for rows, _ in blocks] == [4, 4, 2]
    np.testing.assert_allclose(np.concatenate([b for _, b in blocks]), whole, atol=1e-12)
    openings = posed_openings(model, model.template, jaw, expression)
    np.testing.assert_allclose(openings, lip_opening(whole), atol=1e-12)
    assert posed_openings(model, model.template, jaw[:0], expression[:0]).shape == (0,)

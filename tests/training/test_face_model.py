"""Building `face468` from clips, on clips acted by the shipped model, and the shipped file's own record."""

import json
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from training.face.build_face_model import HELD_OUT, build, keep_signs, mirror_map, procrustes, upright
from training.face.topology import JAW_LINE, folded, tessellation
from visualdub.face.landmarks import face_width, lip_opening
from visualdub.face.models import DEFAULT_FACE_MODEL
from visualdub.face.models.face468 import DATA, read_built_in


@pytest.fixture(scope="module")
def clips() -> dict[str, NDArray[np.float64]]:
    """Three people (the template stretched three ways) who talk and turn, in pixels."""
    model, rng = read_built_in(DEFAULT_FACE_MODEL), np.random.default_rng(0)
    out = {}
    for k in range(3):
        n = 50
        shape = model.neutral_mesh(model.template[:468] * np.array([1 + 0.05 * (k - 1), 1, 1 + 0.05 * k]))
        expression = np.zeros((n, model.n_expression))
        expression[:, :4] = rng.normal(0, 0.7, (n, 4))
        jaw = np.abs(rng.normal(0, 0.08, n))
        turn = Rotation.from_euler("yx", rng.normal(0, 6, (n, 2)), degrees=True).as_matrix()
        out[f"person{k}.mp4"] = (
            200 * np.einsum("nij,nvj->nvi", turn, model.vertices(shape, jaw, expression)[:, :468]) + 256
        )
    return out


def test_tessellation_uses_every_directed_edge_once() -> None:
    triangles = tessellation(read_built_in(DEFAULT_FACE_MODEL).template[:468])
    edges = Counter((int(t[i]), int(t[(i + 1) % 3])) for t in triangles for i in range(3))
    assert len(triangles) == 852 and set(edges.values()) == {1}


def test_procrustes_undoes_a_similarity() -> None:
    template = read_built_in(DEFAULT_FACE_MODEL).template[:468]
    moved = 3 * template @ Rotation.from_euler("xyz", [10, -20, 5], degrees=True).as_matrix() + [4, 5, 6]
    assert procrustes(moved[None], template, np.arange(0, 468, 7))[0] == pytest.approx(template, abs=1e-9)


def test_built_model_opens_downward_is_symmetric_and_unfolded(clips: dict[str, NDArray[np.float64]]) -> None:
    arrays, record = build(clips)
    assert record["folded_triangles"] == 0 and set(record["clips"]) == set(clips)
    weights = np.asarray(arrays["jaw_weights"])
    assert weights[152] > 0.8 and weights[10] == 0 and weights[13] < 0.5 * weights[14]
    mirror = mirror_map(np.asarray(arrays["template"])[:468])
    assert weights[:468] == pytest.approx(weights[:468][mirror], abs=1e-6)
    assert not folded(arrays["triangles"], np.asarray(arrays["uv"])).any()
    mask = np.asarray(arrays["mask_weight"])
    assert (mask[[13, 14, 61, 291, 152]] > 0).all() and (mask[[10, 33, 263, 4]] <= 0).all()
    assert record["speech_variance_kept"] > 0.9


def test_upright_is_one_face_width_wide_with_the_chin_below() -> None:
    template = read_built_in(DEFAULT_FACE_MODEL).template[:468]
    turned = 7 * template @ Rotation.from_euler("y", 15, degrees=True).as_matrix() + 3
    mesh = upright(turned, mirror_map(template))
    assert face_width(mesh) == pytest.approx(1) and mesh[152, 1] > mesh[10, 1] and mesh[454, 0] > mesh[234, 0]


def test_shipped_model_holds_no_validation_speaker_and_opens_with_the_jaw() -> None:
    record = json.loads(DATA.with_suffix(".json").read_text())
    assert not any(held in name for name in record["clips"] for held in HELD_OUT) and record["clips"]
    model = read_built_in(DEFAULT_FACE_MODEL)
    opening = lip_opening(
        model.vertices(model.template, np.linspace(0, model.jaw_limit, 5), np.zeros((5, model.n_expression)))
    )
    assert (np.diff(opening) > 0).all() and opening[-1] > 5 * opening[0]


def test_skirt_bottom_stays_while_the_chin_moves() -> None:
    model = read_built_in(DEFAULT_FACE_MODEL)
    rest, wide = model.vertices(model.template, np.array([0.0, 0.15]), np.zeros((2, model.n_expression)))
    skirt = np.flatnonzero(model.parts == 1)
    assert np.array_equal(rest[skirt[-len(JAW_LINE) :]], wide[skirt[-len(JAW_LINE) :]])
    assert wide[152, 1] - rest[152, 1] > 0.05


def test_a_new_build_keeps_the_signs_of_the_one_before() -> None:
    rng = np.random.default_rng(0)
    earlier = rng.normal(0, 1, (3, 5, 3))
    turned = earlier * np.array([1, -1, 1])[:, None, None] + 0.01
    assert keep_signs(turned, earlier) == pytest.approx(earlier, abs=0.02)

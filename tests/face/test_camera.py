"""Projection by hand-worked numbers, and the camera in a track's file."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from visualdub.errors import BadInput
from visualdub.face.camera import (
    PERSPECTIVE,
    WEAK_PERSPECTIVE,
    Camera,
    Pose,
    procrustes,
    project,
    unproject,
)
from visualdub.face.crop import stable_crop
from visualdub.face.geometry import to_crop
from visualdub.face.models import DEFAULT_FACE_MODEL, face_model
from visualdub.face.track import Track

CAMERA = Camera(1000.0, (320.0, 240.0))
# two model units to the right, one up, half a unit nearer than the origin; and the origin itself
POINTS = np.array([[2.0, -1.0, -0.5], [0.0, 0.0, 0.0]])


def pose(count: int = 1, turn: float = 0.0) -> Pose:
    rotation = np.tile(Rotation.from_euler("y", turn, degrees=True).as_matrix(), (count, 1, 1))
    return Pose(np.full(count, 100.0), rotation, np.tile([420.0, 240.0, 0.0], (count, 1)))


def track(camera: Camera, count: int = 3) -> Track:
    model, head = face_model(DEFAULT_FACE_MODEL), pose(count, turn=20.0)
    landmarks = np.full((count, 478, 3), 1.0, np.float32)
    zeros = np.zeros((count, model.n_expression))
    confidence = np.ones(count, np.float32)
    return Track(
        "x",
        "",
        (640, 480),
        Fraction(25),
        0,
        landmarks,
        confidence,
        head.scale,
        head.rotation,
        head.translation[:, :2],
        model.template,
        zeros[:, 0],
        zeros,
        model.name,
        camera,
    )


def test_weak_perspective_scales_and_shifts() -> None:
    expected = [[[620.0, 140.0, -50.0], [420.0, 240.0, 0.0]]]
    np.testing.assert_allclose(project(POINTS, pose()), expected)


def test_perspective_by_hand() -> None:
    """Focal length 1000 and scale 100: the origin is 10 units away, and (420 - 320) / 100 = 1 to the right.

    The point is then at (3, -1, 9.5): 320 + 1000 * 3 / 9.5 and 240 - 1000 / 9.5, 50 pixels nearer.
    """
    expected = [[[320 + 3000 / 9.5, 240 - 1000 / 9.5, -50.0], [420.0, 240.0, 0.0]]]
    np.testing.assert_allclose(project(POINTS, pose(), CAMERA), expected)


def test_a_quarter_turn_moves_depth_into_the_picture() -> None:
    """About y by 90 degrees x becomes -z: the point of depth -0.5 is 2 units nearer and half a unit left."""
    expected = [320 + 1000 * (1 - 0.5) / 8, 240 - 1000 / 8, -200.0]
    np.testing.assert_allclose(project(POINTS, pose(turn=90.0), CAMERA)[0, 0], expected)


def test_a_far_camera_is_a_weak_one() -> None:
    far = Camera(1e9, (320.0, 240.0))
    np.testing.assert_allclose(project(POINTS, pose(), far), project(POINTS, pose()), atol=1e-4)


@pytest.mark.parametrize("camera", [WEAK_PERSPECTIVE, CAMERA])
def test_unproject_undoes_project(camera: Camera) -> None:
    mesh = np.random.default_rng(0).normal(0, 1, (4, 9, 3))
    head = pose(4, turn=30.0)
    np.testing.assert_allclose(unproject(project(mesh, head, camera), head, camera), mesh, atol=1e-12)


def test_a_point_at_the_camera_or_behind_has_no_place_in_the_picture() -> None:
    seen = CAMERA.converge(np.array([[1.0, 2.0, -1000.0], [1.0, 2.0, -1200.0], [1.0, 2.0, -999.0]]))
    assert np.isnan(seen[:2, :2]).all() and np.isfinite(seen[2]).all()


def test_procrustes_recovers_a_similarity() -> None:
    mesh = np.random.default_rng(1).normal(0, 1, (20, 3))
    true = pose(3, turn=25.0)
    fitted = procrustes(project(mesh, true), mesh)
    for a, b in zip(vars(fitted).values(), vars(true).values(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


@pytest.mark.parametrize("camera", [WEAK_PERSPECTIVE, CAMERA])
def test_crop_pixels_are_the_affine_of_clip_pixels(camera: Camera) -> None:
    shot = track(camera)
    crop, mesh = stable_crop(shot), shot.identity
    clip = project(mesh, shot.pose, camera)[1]
    points = to_crop(mesh, shot, crop, 1)
    np.testing.assert_allclose(points[:, :2], clip[:, :2] @ crop.affine[1][:, :2].T + crop.affine[1][:, 2])
    np.testing.assert_allclose(points[:, 2], clip[:, 2] * crop.scale[1])
    near, far = clip[:, 2].argmin(), clip[:, 2].argmax()
    assert clip[near, 2] < clip[far, 2] and points[near, 2] < points[far, 2]


def test_the_box_holds_the_face_as_the_camera_sees_it() -> None:
    near = Camera(250.0, (0.0, 0.0))  # 2.5 face widths away: the nose is much larger than from afar
    shot = track(near)
    crop = stable_crop(shot)
    face = to_crop(shot.model.landmarks(shot.identity), shot, crop, 0)
    assert face[:, :2].min() > 0 and face[:, :2].max() < crop.size
    assert abs(stable_crop(track(WEAK_PERSPECTIVE)).scale[0] / crop.scale[0] - 1) > 0.05


@pytest.mark.parametrize("camera", [WEAK_PERSPECTIVE, CAMERA])
def test_a_track_keeps_its_camera(camera: Camera, tmp_path: Path) -> None:
    track(camera).save(tmp_path / "t.npz")
    again = Track.load(tmp_path / "t.npz")
    assert again.camera == camera and again.span(again.frames).camera == camera


def rewritten(path: Path, **changes: Any) -> Path:
    """The track's file at `path` with other entries; None leaves one out."""
    with np.load(path) as z:
        values = {k: z[k] for k in z.files} | changes
    np.savez_compressed(path, **{k: v for k, v in values.items() if v is not None})
    return path


def test_a_track_of_format_1_is_weak_perspective(tmp_path: Path) -> None:
    track(CAMERA).save(tmp_path / "t.npz")
    assert Track.load(rewritten(tmp_path / "t.npz", format=1, camera=None)).camera == WEAK_PERSPECTIVE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 5}, "format 5; this version reads 1 to 4"),
        ({"format": 0}, "format 0"),
        ({"camera": '{"kind": "fisheye"}'}, "'fisheye'; expected weak_perspective or perspective"),
        ({"camera": '{"kind": "perspective"}'}, "focal_length|principal_point"),
        ({"camera": "[]"}, "camera of kind None"),
        ({"camera": "{"}, "not a track"),
    ],
)
def test_a_camera_that_cannot_be_read_is_bad_input(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    track(CAMERA).save(tmp_path / "t.npz")
    with pytest.raises(BadInput, match=rf"t\.npz.*({message})"):
        Track.load(rewritten(tmp_path / "t.npz", **changes))


@pytest.mark.parametrize("focal_length", [0.0, -5.0, float("nan"), float("inf")])
def test_no_camera_has_such_a_focal_length(focal_length: float) -> None:
    with pytest.raises(BadInput, match="focal length"):
        Camera(focal_length)


def test_the_file_names_kind_focal_length_and_principal_point() -> None:
    assert json.loads(json.dumps(CAMERA.to_json())) == {
        "kind": PERSPECTIVE,
        "focal_length": 1000.0,
        "principal_point": [320.0, 240.0],
    }
    assert WEAK_PERSPECTIVE.to_json() == {"kind": "weak_perspective"}

"""The whole-shot fit on shots made from the model itself, where the truth is known."""

import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from visualdub.face.camera import Pose, project
from visualdub.face.crop import SIZE, stable_crop, warp_crop
from visualdub.face.fit import Fit, close_mouth, fit_shot, smooth_pose, whittaker
from visualdub.face.geometry import clip_to_view, filmed_mesh, frame_geometry, to_crop
from visualdub.face.landmarks import face_width, lip_opening
from visualdub.face.models import DEFAULT_FACE_MODEL, face_model
from visualdub.face.quality import track_figures
from visualdub.face.track import Performance, Track
from visualdub.face.tracker import RESIDUAL_LIMIT, confidence_of, yaw_pitch
from visualdub.speech.activity import tracked_opening
from visualdub.speech.closure import lip_offsets
from visualdub.speech.style import speech_parameters

N, MODEL = 60, face_model(DEFAULT_FACE_MODEL)


def acted(noise: float = 0.0, yaw: float = 12.0) -> tuple[NDArray[np.float32], NDArray[np.float64], Pose]:
    """Landmarks (N, 478, 3) of a face that talks and turns, with the opening that was acted."""
    rng = np.random.default_rng(1)
    t = np.arange(N)
    jaw = 0.06 * (1 + np.sin(t * 0.9))
    expression = np.zeros((N, MODEL.n_expression))
    expression[:, 0] = 0.5 * np.sin(t * 0.5)
    mesh = MODEL.landmarks(MODEL.vertices(MODEL.template, jaw, expression))
    turn = Rotation.from_euler(
        "yxz", np.stack([yaw * np.sin(t / 15), 5 * np.cos(t / 11), 3 * np.sin(t / 20)], 1), degrees=True
    )
    pose = Pose(
        150 + 5 * np.sin(t / 25),
        turn.as_matrix(),
        np.stack([256 + t / 4, 240 - t / 8, 0 * t], 1).astype(float),
    )
    points = np.full((N, 478, 3), 1.0)
    points[:, :468] = project(mesh, pose) + rng.normal(0, noise, (N, 468, 3))
    return points.astype(np.float32), lip_opening(mesh), pose


def as_track(landmarks: NDArray[np.float32]) -> Track:
    fit = fit_shot(MODEL, landmarks)
    seen = ~np.isnan(landmarks[:, 0, 0])
    return Track(
        "x",
        "",
        (512, 512),
        Fraction(25),
        0,
        landmarks,
        confidence_of(MODEL, fit, seen),
        fit.pose.scale,
        fit.pose.rotation,
        fit.pose.translation[:, :2],
        fit.identity,
        fit.jaw,
        fit.expression,
        "face468-1",
    )


def test_whittaker_is_symmetric_keeps_lines_and_bridges_gaps() -> None:
    line = np.arange(20.0)[:, None] * 3 + 1
    weights = np.ones(20)
    weights[7:12] = 0
    broken = np.where(weights[:, None] > 0, line, 999.0)
    assert whittaker(broken, weights, 5.0) == pytest.approx(line, abs=1e-4)
    bump = np.zeros((21, 1))
    bump[10] = 1
    smooth = whittaker(bump, np.ones(21), 5.0)[:, 0]
    assert smooth == pytest.approx(smooth[::-1]) and smooth.argmax() == 10


def test_smoothing_keeps_a_still_head_still() -> None:
    side = Rotation.from_euler("y", 20, degrees=True).as_matrix()
    pose = Pose(np.full(9, 100.0), np.tile(side, (9, 1, 1)), np.tile([5.0, 6, 0], (9, 1)))
    smooth = smooth_pose(pose, np.array([0.1, 0.2, 0.3]), np.ones(9), 2.0)
    assert smooth.rotation == pytest.approx(pose.rotation) and smooth.translation == pytest.approx(
        pose.translation
    )


def test_fit_follows_lips_without_lag_and_keeps_their_amplitude() -> None:
    points, opening, _ = acted(noise=0.3)
    fit = fit_shot(MODEL, points)
    mesh = MODEL.landmarks(MODEL.vertices(fit.identity, fit.jaw, fit.expression))
    fitted = lip_opening(mesh)
    assert 0.95 <= fitted.std() / opening.std() <= 1.05
    lags = [np.corrcoef(fitted[3 + k : N - 3 + k], opening[3 : N - 3])[0, 1] for k in range(-3, 4)]
    assert int(np.argmax(lags)) - 3 == 0 and max(lags) > 0.99
    assert fit.residual.mean() < 0.015


def test_fit_halves_the_jitter_of_the_forehead() -> None:
    points, _, _ = acted(noise=0.5)
    fit = fit_shot(MODEL, points)
    mesh = project(MODEL.landmarks(MODEL.vertices(fit.identity, fit.jaw, fit.expression)), fit.pose)
    forehead = [10, 151, 9, 108, 337]

    def jitter(p: NDArray[np.floating[Any]]) -> float:
        return float(np.abs(np.diff(p[:, forehead, :2], 2, axis=0)).mean())

    assert jitter(mesh) <= 0.5 * jitter(points)


def test_missing_frames_keep_their_place_and_get_no_confidence() -> None:
    points, _, pose = acted()
    points[20:25] = np.nan
    track = as_track(points)
    assert len(track) == N and (track.confidence[20:25] == 0).all() and (track.confidence[:20] > 0.5).all()
    assert track.scale[22] == pytest.approx(pose.scale[22], rel=0.02)
    assert np.isfinite(track.expression).all() and np.isfinite(track.rotation).all()


def test_identity_comes_out_with_its_lips_closed() -> None:
    mesh = MODEL.vertices(MODEL.template, np.array(0.08), np.zeros(MODEL.n_expression))
    open_face = MODEL.landmarks(mesh)
    assert lip_opening(open_face) > 0.1
    assert lip_opening(close_mouth(MODEL, open_face)) == pytest.approx(0.012, abs=0.01)


def test_yaw_sign_a_face_looking_to_the_pictures_right_is_positive() -> None:
    # forward is -z; a turn about y that moves forward towards +x
    rotation = Rotation.from_euler("y", -30, degrees=True).as_matrix()
    assert yaw_pitch(rotation[None])[0] == pytest.approx([30, 0], abs=1e-6)


def test_profile_gets_no_confidence() -> None:
    fit = fit_shot(MODEL, acted()[0])
    side = Rotation.from_euler("y", 80, degrees=True).as_matrix()
    turned = Pose(fit.pose.scale, np.tile(side, (N, 1, 1)), fit.pose.translation)
    confidence = confidence_of(
        MODEL, type(fit)(turned, fit.identity, fit.jaw, fit.expression, fit.residual), np.ones(N, bool)
    )
    assert (confidence == 0).all()


def test_box_does_not_know_whether_the_mouth_is_open() -> None:
    points, opening, _ = acted()
    track = as_track(points)
    size = 1 / stable_crop(track).scale
    assert np.corrcoef(size, opening)[0, 1] ** 2 < 0.05


def test_mask_is_the_same_for_every_performance_and_holds_the_whole_mouth() -> None:
    track = as_track(acted()[0])
    crop = stable_crop(track)
    own, wide = Performance.of_track(track), Performance.of_track(track)
    wide.jaw[:] = 0.18
    a, b = frame_geometry(track, crop, own, 5), frame_geometry(track, crop, wide, 5)
    assert (a.mask == b.mask).all() and not np.array_equal(a.uv, b.uv)
    assert 0.15 < a.mask.mean() < 0.35 and set(np.unique(a.mask)) == {0.0, 1.0}
    lips = track.landmarks[5, [0, 17, 61, 291, 152], :2] @ crop.affine[5][:, :2].T + crop.affine[5][:, 2]
    assert all(a.mask[int(y), int(x)] == 1 for x, y in lips)
    assert a.mask[[0, -1]].sum() == 0  # never cut by the crop's edge


def test_a_performance_moves_the_lips_and_leaves_the_outline_where_it_leaves_the_mask() -> None:
    track = as_track(acted()[0])
    crop, wide = stable_crop(track), Performance.of_track(track)
    wide.jaw[:] = 0.18
    wide.expression[:, 0] += 1.5
    model, filmed = track.model, filmed_mesh(track, crop, 5)
    mesh = frame_geometry(track, crop, wide, 5).mesh
    free = to_crop(model.vertices(track.identity, wide.jaw[5], wide.expression[5]), track, crop, 5)
    mouth, sides = [0, 13, 14, 17, 61, 291, 152], [132, 361, 58, 288]  # with the chin; below the ears
    landmarks = {
        name: model.landmarks(m) for name, m in (("as it was", filmed), ("now", mesh), ("free", free))
    }
    assert np.abs(landmarks["free"] - landmarks["as it was"])[mouth + sides].max(1).min() > 0.5
    assert np.allclose(landmarks["now"][mouth], landmarks["free"][mouth], atol=0.1)
    assert np.allclose(landmarks["now"][sides], landmarks["as it was"][sides])


def test_warp_crop_shifts_by_whole_pixels_exactly_and_centres_at_half() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (300, 320, 3), dtype=np.uint8)
    affine = np.array([[1.0, 0, -7], [0, 1, -11]])
    assert np.array_equal(warp_crop(picture, affine), picture[11 : 11 + SIZE, 7 : 7 + SIZE])
    ramp = np.repeat(np.linspace(0, 255, 600)[None, :, None], 600, 0).repeat(3, 2).astype(np.uint8)
    half = warp_crop(
        ramp, np.array([[0.5, 0, 0], [0, 0.5, 0]])
    )  # crop pixel x covers clip pixels 2x and 2x + 1
    expected = ramp[0, : 2 * SIZE, 0].reshape(SIZE, 2).mean(1)
    assert np.abs(half[100, 4:-4, 0].astype(float) - expected[4:-4]).max() <= 1


def test_track_survives_a_round_trip(tmp_path: Path) -> None:
    track = as_track(acted()[0])
    track.save(tmp_path / "t.npz")
    again = Track.load(tmp_path / "t.npz")
    assert again.rate == Fraction(25) and again.size == (512, 512) and len(again) == N
    assert np.array_equal(again.landmarks, track.landmarks) and np.array_equal(
        again.expression, track.expression
    )
    assert again.span(again.frames).confidence.tolist() == track.confidence.tolist()
    assert [p.name for p in tmp_path.iterdir()] == ["t.npz"]


def test_face_width_of_the_template_is_one() -> None:
    assert face_width(MODEL.landmarks(MODEL.template)) == pytest.approx(1.0, abs=0.02)


def test_a_mask_never_leaves_the_renderers_view() -> None:
    inside = clip_to_view(np.ones((SIZE, SIZE), np.uint8))
    assert inside.sum() == (256 - 112) * (224 - 32) and inside[112:256, 32:224].all()


# ---- long shots --------------------------------------------------------------------------------------------


def acted_long(count: int) -> NDArray[np.float32]:
    """Landmarks (count, 478, 3): the acted face over and over, each frame with noise of its own."""
    points = np.concatenate([acted()[0]] * -(-count // N))[:count]
    return points + np.random.default_rng(2).normal(0, 0.3, points.shape).astype(np.float32)


def test_a_fit_in_blocks_is_the_whole_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """One identity, one smoothing over the whole shot: the blocks' borders cannot be seen. Frames that nobody
    sees lie inside and across them.
    """
    points = acted_long(3 * N)
    points[[0, 44, 45, 46, 101]] = np.nan
    whole = fit_shot(MODEL, points)
    monkeypatch.setattr("visualdub.face.fit.BLOCK", 45)
    blocks = fit_shot(MODEL, points)
    for a, b in zip(vars(whole.pose).values(), vars(blocks.pose).values(), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-10)  # worst measured 2e-13 pixels
    for name in ("identity", "jaw", "expression", "residual"):
        np.testing.assert_allclose(getattr(blocks, name), getattr(whole, name), atol=1e-9, err_msg=name)


def peak_bytes(work: Callable[[], object]) -> int:
    """What Python and NumPy hold at most during `work` beyond what they held before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def growth(work: Callable[[NDArray[np.float32]], object], short: int = 200, long: int = 800) -> float:
    """Bytes a frame by which the peak of `work` on landmarks grows with length."""
    peaks = [peak_bytes(partial(work, acted_long(n))) for n in (short, long)]
    return (peaks[1] - peaks[0]) / (long - short)


MESH_BYTES = MODEL.vertex_count * 3 * 8  # of one frame, and a fit held seven of them


@pytest.mark.slow
def test_the_fits_memory_does_not_grow_by_meshes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visualdub.face.fit.BLOCK", 100)
    assert growth(lambda points: fit_shot(MODEL, points)) < 0.5 * MESH_BYTES  # 5 KiB measured


@pytest.mark.slow
def test_no_measure_of_a_track_holds_the_meshes_of_all_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = (as_track(acted_long(n)) for n in (200, 800))
    measures: tuple[Callable[[Track], Any], ...] = (
        lambda track: stable_crop(track).affine,
        track_figures,
        tracked_opening,
        lambda track: lip_offsets(MODEL, track.identity, speech_parameters(track, 1 + MODEL.n_speech)),
    )
    whole = [measure(long) for measure in measures]
    for module in ("face.models", "face.crop", "speech.activity"):
        monkeypatch.setattr(f"visualdub.{module}.BLOCK", 100)
    for measure, expected in zip(measures, whole, strict=True):
        assert measure(long) == pytest.approx(expected, abs=1e-9)  # worst measured 2e-16
        a, b = (peak_bytes(partial(measure, track)) for track in (short, long))
        assert (b - a) / 600 < 0.25 * MESH_BYTES
    assert np.array_equal(stable_crop(long).affine, whole[0])  # pixels depend on it: to the bit


def test_confidence_falls_linearly_and_below_its_floor_to_nothing() -> None:
    """A frontal face 100 pixels wide whose mesh lies 0, 15, 80 and 90 % of the limit away from its
    landmarks.
    """
    share = np.array([0.0, 0.15, 0.8, 0.9])
    pose = Pose(np.full(4, 100.0), np.tile(np.eye(3), (4, 1, 1)), np.zeros((4, 3)))
    fit = Fit(pose, MODEL.template, np.zeros(4), np.zeros((4, MODEL.n_expression)), share * RESIDUAL_LIMIT)
    confidence = confidence_of(MODEL, fit, np.array([True, True, True, True]))
    np.testing.assert_allclose(confidence, [1, 0.85, 0.2, 0], atol=1e-6)  # the floor is 0.15
    assert confidence_of(MODEL, fit, np.array([False, True, True, True]))[0] == 0

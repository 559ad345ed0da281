"""The whole pipeline with a face model of 200 vertices: nothing counts the vertices of the built-in one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import lumas_of, write_flat_actor, write_wav
from numpy.typing import NDArray
from tiny_model import TINY, TINY_VERTICES, tiny_model

from visualdub.actor import load_actor
from visualdub.dub import Output, TrackedShot, dub_shot
from visualdub.edit import plan_shot
from visualdub.errors import BadInput
from visualdub.face.camera import project
from visualdub.face.crop import stable_crop
from visualdub.face.fit import fit_shot
from visualdub.face.geometry import Geometry, frame_geometry
from visualdub.face.landmarks import LIPS_INNER, face_width
from visualdub.face.models import face_model, posed_openings, register_face_model
from visualdub.face.overlay import MESH, draw_overlay
from visualdub.face.quality import track_figures
from visualdub.face.track import Performance, Track
from visualdub.face.tracker import track_clip
from visualdub.media.source import open_source
from visualdub.media.yuv import frame_rgb
from visualdub.records import read_provenance
from visualdub.speech.performance_file import read_performance_file
from visualdub.speech.sync import lip_basis

register_face_model(TINY, tiny_model)


@pytest.fixture(scope="module")
def tracks(talking: Path) -> tuple[Track, Track]:
    """The same clip tracked with the tiny model and with the built-in one."""
    return track_clip(talking, model=TINY), track_clip(talking)


def _opening(track: Track) -> NDArray[np.float64]:
    return posed_openings(track.model, track.identity, track.jaw, track.expression)


def _geometry(track: Track, i: int) -> Geometry:
    return frame_geometry(track, stable_crop(track), Performance.of_track(track), i)


def test_the_tiny_models_vertices_carry_no_landmarks_number() -> None:
    model = face_model(TINY)
    assert model is face_model(TINY) and model.vertex_count == TINY_VERTICES
    own = model.landmarks(model.template)
    assert not any(np.allclose(own[i], model.template[i], atol=1e-3) for i in range(TINY_VERTICES))
    assert model.triangles.max() == TINY_VERTICES - 1


def test_it_tracks_the_mouth_as_the_built_in_model_does(tracks: tuple[Track, Track]) -> None:
    tiny, fine = tracks
    assert tiny.identity.shape == (TINY_VERTICES, 3) and tiny.face_model == TINY
    assert (tiny.confidence > 0.5).all()
    a, b = _opening(tiny), _opening(fine)
    assert np.corrcoef(a, b)[0, 1] > 0.99 and a.std() / b.std() == pytest.approx(1, abs=0.1)
    figures = track_figures(tiny)
    assert figures["lip_lag_frames"] == 0 and float(figures["reprojection_percent"] or 9) < 1.5


def test_its_crop_and_mask_lie_where_the_built_in_models_do(tracks: tuple[Track, Track]) -> None:
    tiny, fine = tracks
    corners = np.abs(stable_crop(tiny).affine - stable_crop(fine).affine)
    assert corners[..., 2].max() < 8  # crop pixels; a coarse outline is smaller
    a, b = (_geometry(t, 12).mask > 0 for t in tracks)
    assert (a & b).sum() / (a | b).sum() > 0.85
    uv = _geometry(tiny, 12).uv
    assert (uv[..., 0] >= 0).sum() > 0.9 * (_geometry(fine, 12).uv[..., 0] >= 0).sum()


def test_the_fits_residual_counts_landmarks_by_the_models_trust(tracks: tuple[Track, Track]) -> None:
    model, landmarks = face_model(TINY), tracks[0].landmarks
    assert set(model.landmark_trust) == {0.5, 1.0}
    fit = fit_shot(model, landmarks)
    mesh = project(model.landmarks(model.vertices(fit.identity, fit.jaw, fit.expression)), fit.pose)
    apart = np.linalg.norm(mesh[..., :2] - landmarks[:, :468, :2], axis=-1)
    width = fit.pose.scale * float(face_width(model.landmarks(fit.identity)))
    expected = apart @ model.landmark_trust / model.landmark_trust.sum() / width
    np.testing.assert_allclose(fit.residual, expected)


def test_the_overlay_draws_its_lines_and_none_inside_the_mouth(
    tracks: tuple[Track, Track], talking: Path
) -> None:
    with open_source(talking) as source:
        pictures = [frame_rgb(f) for f in source.frames()]
    for track in tracks:
        i = int(_opening(track).argmax())
        drawn = draw_overlay(pictures[i], track, stable_crop(track), i).astype(int)
        lines = np.abs(drawn - MESH).max(-1) < 30
        mesh = track.model.vertices(track.identity, track.jaw[i], track.expression[i])
        lips = project(track.model.landmarks(mesh), track.pose[i : i + 1])[0, list(LIPS_INNER), :2]
        hole = np.zeros(lines.shape, np.uint8)
        cv2.fillPoly(hole, [lips.round().astype(np.int32)], 1)
        inside = cv2.erode(hole, np.ones((5, 5), np.uint8)) > 0  # not the lips' own line
        assert lines.sum() > 500 and inside.sum() > 20 and not lines[inside].any()


def test_the_lips_directions_come_from_its_own_mesh(tracks: tuple[Track, Track], tmp_path: Path) -> None:
    tiny, _ = tracks
    style = load_actor(write_flat_actor(tmp_path / "a.actor", tiny)).style
    moves = [np.linalg.norm(lip_basis(t.identity, style, t.model), axis=1) for t in tracks]
    assert np.corrcoef(*moves)[0, 1] > 0.99


@pytest.mark.slow
def test_a_dub_with_it_draws_the_mouth_and_nothing_else(
    tracks: tuple[Track, Track], talking: Path, tmp_path: Path
) -> None:
    tiny, _ = tracks
    actor = load_actor(write_flat_actor(tmp_path / "tiny.actor", tiny))
    output = Output(
        tmp_path / "out.mkv",
        matte=tmp_path / "matte.mkv",
        performance=tmp_path / "mouth.json",
        watermark=False,
    )
    shot = TrackedShot(plan_shot(talking), tiny)
    report = dub_shot(shot, write_wav(tmp_path / "new.wav", 1.2), actor, output)
    assert report.drawn == report.frames == 40
    assert read_provenance(output.path).actor == "tiny" and actor.record.face_model == TINY
    source, dubbed, matte = (lumas_of(p) for p in (talking, output.path, tmp_path / "matte.mkv"))
    for a, b, m in zip(source, dubbed, matte, strict=True):
        np.testing.assert_array_equal(a[m == 0], b[m == 0])
    lips = tiny.landmarks[12, [13, 14, 61, 291, 17, 152], :2].astype(int)
    assert all(matte[12][y, x] == 255 for x, y in lips)
    luma = dubbed[12][matte[12] == 255].astype(int)
    assert len(luma) > 2000 and luma.std() < 12  # flat skin: no lip, tooth or dark gap is left
    curves = read_performance_file(tmp_path / "mouth.json")
    assert curves.face_model == TINY and curves.mouth.shape == (40, 1 + face_model(TINY).n_speech)


def test_a_track_of_another_model_does_not_take_the_actor(
    tracks: tuple[Track, Track], talking: Path, tmp_path: Path
) -> None:
    tiny, fine = tracks
    actor = load_actor(write_flat_actor(tmp_path / "tiny.actor", tiny))
    shot = TrackedShot(plan_shot(talking), fine)
    with pytest.raises(BadInput, match=rf"{TINY}.*face468-1"):
        dub_shot(shot, write_wav(tmp_path / "new.wav", 1.2), actor, Output(tmp_path / "out.mkv"))

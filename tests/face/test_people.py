"""Who is who: joined faces, an actor among them, and faces that are turned."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.face.appearance import distance, face_texels, joined_likeness, plain_texels, texel_count
from visualdub.face.camera import roll
from visualdub.face.detect import FaceTrack
from visualdub.face.mediapipe_models import turned_back
from visualdub.face.people import ClipFaces, join_faces
from visualdub.face.recognise import only_frames_of, people_like
from visualdub.face.seen import Likeness, SeenFace, faces_to_arrays, read_faces, shifted
from visualdub.face.shots import Change
from visualdub.face.track import Performance, Track
from visualdub.face.tracker import choose_people
from visualdub.records import ANOTHER_PERSON, BOTH_SILENT, NO_FACE, TURNED, pass_reasons


def somebody(person: int, moment: int = 0, count: int = 20, moves: float = 0.4) -> Likeness:
    """A made-up person; other moments of theirs look a little different."""
    looks = np.random.default_rng(person).normal(0, 0.2, (texel_count(), 3))
    noise = np.random.default_rng(1000 + 100 * person + moment).normal(0, 0.2, looks.shape)
    texels = (looks + moves * noise).astype(np.float32)
    return Likeness(np.zeros((468, 3), np.float32), texels, count)


# ---- distance ----------------------------------------------------------------------------------------------


def test_moments_of_one_person_are_near_and_others_far() -> None:
    assert distance(somebody(1), somebody(1)) == pytest.approx(0, abs=1e-9)
    assert distance(somebody(1), somebody(1, 1)) < 0.6 and distance(somebody(1), somebody(2)) > 1.5
    assert distance(somebody(1), somebody(2, 3)) == distance(somebody(2, 3), somebody(1))


def test_without_looks_the_shape_has_to_do() -> None:
    plain = replace(somebody(1), texels=None)
    wide = replace(plain, shape=plain.shape + np.float32(0.02))
    assert distance(plain, somebody(2)) == 0 and distance(wide, plain) == pytest.approx(0.02 / 0.016)


def test_light_does_not_count() -> None:
    rng = np.random.default_rng(0)
    skin = rng.integers(60, 120, (texel_count(), 3)).astype(np.float32)
    bright, tinted = (
        np.clip(skin * gain, 0, 255).astype(np.uint8) for gain in (1.8, np.array([0.6, 1.3, 1.0]))
    )
    known = plain_texels(skin.astype(np.uint8))
    for lit in (bright, tinted):
        assert np.corrcoef(plain_texels(lit).ravel(), known.ravel())[0, 1] > 0.98


def test_texels_are_taken_where_the_landmarks_are() -> None:
    """A picture whose red tells the column: texels of landmarks that are moved by 40 pixels are 40 higher."""
    ramp = np.zeros((200, 300, 3), np.uint8)
    ramp[..., 0] = np.arange(300).clip(0, 255)
    points = np.random.default_rng(0).uniform(20, 80, (468, 3))
    here, there = face_texels(ramp, points), face_texels(ramp, points + np.array([40, 0, 0]))
    assert here.shape == (texel_count(), 3)
    assert (there[:, 0].astype(int) - here[:, 0]).mean() == pytest.approx(40, abs=0.5)


def test_a_joined_likeness_is_weighed_by_frames() -> None:
    joined = joined_likeness([somebody(1, 0, count=30), somebody(1, 1, count=10)])
    assert joined.count == 40 and joined.texels is not None
    expected = (3 * somebody(1, 0).texels + somebody(1, 1).texels) / 4  # type: ignore[operator]
    np.testing.assert_allclose(joined.texels, expected, atol=1e-6)


# ---- joining -----------------------------------------------------------------------------------------------


def test_faces_are_joined_by_who_they_are() -> None:
    frames = [set(range(a, b)) for a, b in ((0, 20), (20, 50), (50, 60), (60, 75))]
    faces = [somebody(1), somebody(2), somebody(1, 1), somebody(2, 1)]
    assert join_faces(frames, faces) == [[1, 3], [0, 2]]


def test_two_faces_of_one_moment_are_two_people() -> None:
    frames = [set(range(20)), set(range(10, 30)), set(range(18, 40))]
    assert join_faces(frames, [somebody(1), somebody(1, 1), somebody(1, 2)]) == [[2, 0], [1]]


def test_a_face_found_where_it_was_lost_is_judged_mildly() -> None:
    frames, faces = [set(range(20)), set(range(40, 44))], [somebody(1), somebody(1, 1, moves=2.4)]
    assert 1 < distance(*faces) < 1.6
    assert join_faces(frames, faces) == [[0], [1]]
    assert join_faces(frames, faces, beside={(0, 1)}) == [[0, 1]]


def seen(start: int, end: int, person: int, who: Likeness) -> SeenFace:
    return SeenFace(start, end, end - start, person, start, (1.0, 2.0, 30.0, 40.0), who)


def test_people_who_are_merged_have_one_number() -> None:
    points = np.zeros((478, 3), np.float32)
    people = tuple(FaceTrack(dict.fromkeys(rows, points)) for rows in (range(5), range(5, 8), range(8, 10)))
    faces = (seen(0, 5, 0, somebody(1)), seen(5, 8, 1, somebody(2)), seen(8, 10, 2, somebody(1)))
    merged = ClipFaces(10, (Change(0.0, False),) * 10, people, faces).merged([0, 2])
    assert np.isfinite(merged.dense(0)[:, 0, 0]).tolist() == [True] * 5 + [False] * 3 + [True] * 2
    assert [f.person for f in merged.faces] == [0, 1, 0]
    assert choose_people(people, "0+2", "c") == [0, 2] and choose_people(people, "1", "c") == [1]
    with pytest.raises(BadInput, match="--face"):
        choose_people(people, "0+3", "c")


def test_faces_in_files() -> None:
    faces = (seen(3, 9, 0, somebody(1)), seen(9, 12, 1, somebody(2)))
    for one, other in zip(faces, read_faces(faces_to_arrays(faces)), strict=True):
        assert replace(one, likeness=other.likeness) == other
        assert one.likeness.texels is not None and other.likeness.texels is not None
        assert np.array_equal(one.likeness.texels, other.likeness.texels)
    assert read_faces(faces_to_arrays(())) == ()
    assert (shifted(faces[0], 5).start, shifted(faces[0], 5).end_exclusive, shifted(faces[0], 5).best) == (
        8,
        14,
        8,
    )


# ---- an actor in a track -----------------------------------------------------------------------------------


def track_of(*faces: SeenFace, person: int = 0, start: int = 10) -> Track:
    """Thirty frames of a track that shows its person wherever one of their faces is."""
    landmarks = np.full((30, 478, 3), np.nan, np.float32)
    for face in faces:
        if face.person == person:
            landmarks[face.start - start : face.end_exclusive - start] = 1
    shown = np.isfinite(landmarks[:, 0, 0])
    none, turn = np.zeros(30), np.tile(np.eye(3), (30, 1, 1))
    numbers = (
        shown.astype(np.float32),
        none,
        turn,
        np.zeros((30, 2)),
        np.zeros((641, 3)),
        none,
        np.zeros((30, 40)),
    )
    track = Track("c", "", (64, 64), Fraction(25), start, landmarks, *numbers, "face468-1")
    return replace(track, faces=faces, person=person)


def test_frames_of_somebody_else_are_taken_out_and_say_so() -> None:
    track = track_of(
        seen(10, 20, 0, somebody(1)), seen(20, 32, 1, somebody(2)), seen(35, 40, 0, somebody(1, 1))
    )
    assert only_frames_of(track, somebody(1, 5)) is track
    assert track.others.tolist() == [False] * 10 + [True] * 12 + [False] * 8
    reasons = pass_reasons(track, Performance.of_track(track))
    assert reasons == [None] * 10 + [ANOTHER_PERSON] * 12 + [NO_FACE] * 3 + [None] * 5
    stranger = only_frames_of(track, somebody(3))
    assert not stranger.usable.any() and stranger.others.tolist() == [True] * 22 + [False] * 3 + [True] * 5
    assert only_frames_of(stranger, somebody(3)).others.tolist() == stranger.others.tolist()


def test_one_face_that_was_joined_wrongly_is_taken_out_alone() -> None:
    track = track_of(seen(10, 30, 0, somebody(1, count=60)), seen(30, 40, 0, somebody(2, count=3)))
    kept = only_frames_of(track, somebody(1, 5))
    assert kept.usable.tolist() == [True] * 20 + [False] * 10 == (~kept.others).tolist()


def test_a_named_person_may_be_lit_otherwise() -> None:
    other_light = somebody(1, 1, moves=2.4)
    track = track_of(seen(10, 40, 0, other_light))
    assert 1 < distance(somebody(1), other_light) < 1.6
    assert not only_frames_of(track, somebody(1)).usable.any()
    assert only_frames_of(replace(track, named=True), somebody(1)).usable.all()
    assert not only_frames_of(replace(track, named=True), somebody(2)).usable.any()


def test_the_actor_is_looked_for_among_all_people() -> None:
    track = track_of(
        seen(10, 20, 0, somebody(2)), seen(20, 40, 1, somebody(1, 1)), seen(12, 18, 2, somebody(1, 2))
    )
    assert sorted(people_like(track, somebody(1))) == [1, 2] and people_like(track, somebody(2)) == [0]
    assert people_like(track, somebody(3)) == []
    beside = track_of(seen(10, 20, 0, somebody(1, 1)), seen(10, 20, 1, somebody(1, 2, moves=0.8)))
    assert people_like(beside, somebody(1)) == [0]


def test_a_track_that_knows_nobody_is_left_alone() -> None:
    assert people_like(track_of(), somebody(1)) == []
    old = track_of()
    assert only_frames_of(old, somebody(1)) is old


# ---- turned faces ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", range(4))
def test_points_are_turned_back(turn: int) -> None:
    picture = np.zeros((30, 50), np.uint8)
    picture[7, 41] = 1
    (y,), (x,) = np.nonzero(np.rot90(picture, turn))
    point = turned_back(np.array([[x + 0.5, y + 0.5, 9.0]]), turn, 50, 30)
    assert point.tolist() == [[41.5, 7.5, 9.0]]


def test_a_lying_face_is_named() -> None:
    def about_z(degrees: float) -> NDArray[np.float64]:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])

    turns = np.stack([about_z(d) for d in (0, 30, -90, 180)])
    assert roll(turns) == pytest.approx([0, 30, 90, 180])
    track = track_of(seen(10, 40, 0, somebody(1)))
    confidence = np.where(np.arange(30) < 15, 1, 0).astype(np.float32)
    lying = replace(track, rotation=np.tile(about_z(100), (30, 1, 1)), confidence=confidence)
    still = Performance(np.zeros(30), np.zeros((30, 40)), np.zeros(30))
    assert pass_reasons(lying, still) == [BOTH_SILENT] * 15 + [TURNED] * 15

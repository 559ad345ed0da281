"""The actor's style: statistics of a known track, pulled towards the generic style, and how it is stored."""

import numpy as np
import pytest
from speech_scene import scene_track

from visualdub.errors import BadInput
from visualdub.face.models import DEFAULT_FACE_MODEL, face_model
from visualdub.speech.predict import SpeechMotion, model_record
from visualdub.speech.style import GENERIC_SECONDS, SpeechStyle, fit_style, rest_of, rest_pose


def test_apply_by_hand() -> None:
    style = SpeechStyle((0.1, 1.0), (0.02, 3.0), 1.0, "m")
    motion = SpeechMotion(np.array([0.0, 1.0]), np.array([[-1.0], [0.5]]), np.ones(2), np.zeros(2))
    np.testing.assert_allclose(style.apply(motion), [[0.1, -2.0], [0.12, 2.5]])


def test_apply_refuses_another_model() -> None:
    with pytest.raises(BadInput, match="adapt again"):
        SpeechStyle((0.1,), (0.02,), 1.0, "m").apply(
            SpeechMotion(np.zeros(2), np.zeros((2, 4)), np.ones(2), np.zeros(2))
        )


def test_fit_weighs_the_actor_against_the_generic_style() -> None:
    opening = 0.15 + 0.1 * np.sin(np.arange(200))
    track = scene_track(opening)
    style = fit_style(track)
    assert style.seconds == pytest.approx(8.0)
    weight = 8.0 / (8.0 + GENERIC_SECONDS)
    generic = model_record()["generic"]
    rest = np.median(np.sort(track.jaw)[:20])
    assert style.mean[0] == pytest.approx(
        weight * track.jaw.mean() + (1 - weight) * (rest + generic["offset_from_rest"][0])
    )
    assert style.scale[0] == pytest.approx(
        np.sqrt(weight * track.jaw.var() + (1 - weight) * generic["scale"][0] ** 2)
    )
    assert len(style.scale) == 1 + face_model(DEFAULT_FACE_MODEL).n_speech


@pytest.mark.parametrize("usable", [True, False])
def test_without_speech_the_style_is_generic(usable: bool) -> None:
    style = fit_style(scene_track(np.full(50, 0.01), usable=np.full(50, usable)))
    generic = model_record()["generic"]
    assert style.seconds == 0
    assert style.scale == pytest.approx(generic["scale"])
    rest = 0.01 / 3 if usable else 0.0
    assert style.mean[0] == pytest.approx(rest + generic["offset_from_rest"][0])


def test_a_foreign_track_is_refused() -> None:
    track = scene_track(np.full(10, 0.1))
    object.__setattr__(track, "face_model", "flame-2020")
    with pytest.raises(BadInput, match=r"flame-2020.*face468"):
        fit_style(track)


def test_json_round_trip_and_refusals() -> None:
    style = SpeechStyle((0.1, 1.0), (0.02, 3.0), 1.5, "m")
    assert SpeechStyle.from_json(style.to_json()) == style
    with pytest.raises(BadInput, match="cannot be read"):
        SpeechStyle.from_json({"centre": [1.0]})
    with pytest.raises(BadInput, match="2 means and 1 scales"):
        SpeechStyle.from_json({"centre": [1.0, 2.0], "gain": [1.0], "seconds": 0, "face_model": "m"})


def test_rest_is_the_closed_tenth() -> None:
    values = np.column_stack([np.arange(30.0)[::-1], np.arange(30.0)])
    assert rest_of(values, np.arange(30.0)[::-1]).tolist() == [1.0, 28.0]


def test_rest_pose_is_where_the_lips_meet() -> None:
    opening = 0.15 + 0.1 * np.sin(np.arange(200))
    jaw, expression = rest_pose(scene_track(opening))
    assert jaw == pytest.approx(np.median(np.sort(opening)[:20]) / 3, abs=1e-6)
    assert expression == pytest.approx(np.full(face_model(DEFAULT_FACE_MODEL).n_expression, 0.25))


def test_nobody_rests_as_the_neutral_face() -> None:
    jaw, expression = rest_pose(scene_track(np.full(9, 0.1), usable=np.zeros(9, bool)))
    assert jaw == 0 and (expression == 0).all()

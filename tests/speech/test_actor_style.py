"""An actor's linear adapter: what it is fitted to, what it must not do, and when the generic style stays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from speech_scene import counting, scene_track

from training.speech.adapter import LEAST_SECONDS, actor_style, fit_linear_adapter, source_style, stretched
from visualdub.actor.package import _load_style, _save_style
from visualdub.face.track import Track
from visualdub.speech.predict import MODEL, model_hash, predict_motion
from visualdub.speech.style import SpeechStyle
from visualdub.timing import FrameRange


def talking_track(n: int = 125) -> Track:
    track = scene_track(0.2 + 0.1 * np.sin(np.arange(n) * 0.7))
    motion = predict_motion(counting(), track.rate, n)
    expression = track.expression.copy()
    expression[:, : motion.expression.shape[1]] = 0.5 * motion.expression
    return replace(track, jaw=0.05 + 0.02 * motion.jaw, expression=expression)


def test_stretching_moves_the_opening_alone() -> None:
    random = np.random.default_rng(0)
    motion, slope = random.normal(size=(500, 4)), np.array([1.0, 0.5, 0.0, -0.2])
    motion -= motion.mean(0)
    matrix = stretched(motion, slope, 1.5)
    np.testing.assert_allclose(motion @ matrix @ slope, 1.5 * motion @ slope, atol=1e-9)
    rest = motion - np.outer(motion @ slope, slope) / (slope @ slope)
    np.testing.assert_allclose(rest @ matrix, rest, atol=1e-9)


def test_an_adapter_learns_what_the_generic_layer_misses_and_keeps_the_opening() -> None:
    random = np.random.default_rng(0)
    hidden, last = random.normal(size=(400, 8)), random.normal(size=(9, 3))
    heard = np.column_stack([hidden, np.ones(400)])
    own = last + random.normal(size=(9, 3)) * 0.5
    motion = heard @ own + random.normal(size=(400, 3))  # half of it cannot be heard
    slope = np.array([1.0, 0.3, -0.1])
    layer = fit_linear_adapter(hidden, last, motion, 0.1, slope)
    adapted, generic = heard @ (last + layer), heard @ last
    assert ((adapted - motion) ** 2).sum() < 0.8 * ((generic - motion) ** 2).sum()
    assert (adapted @ slope).std() > 0.99 * (generic @ slope).std()
    held = fit_linear_adapter(hidden, last, motion, 1e6, slope)
    assert np.abs(held).max() < 1e-3


def test_an_actor_with_speech_gets_an_adapter_of_this_model() -> None:
    style, line = actor_style(talking_track(), counting())
    assert style.adapter and style.speech_model == model_hash(MODEL) and "learned from" in line
    assert style.usable_adapter() is not None
    again = SpeechStyle.from_json(style.to_json())
    assert again == style
    assert replace(style, speech_model="another").usable_adapter() is None


def test_too_little_speech_keeps_the_generic_style_and_says_so() -> None:
    style, line = actor_style(talking_track().span(FrameRange(0, 40)), counting())
    assert not style.adapter and f"under {LEAST_SECONDS:g} s" in line


def test_audio_that_is_not_the_actors_gives_no_adapter(tmp_path: Path) -> None:
    style, line = source_style(tmp_path / "x.mp4", talking_track(), None)
    assert not style.adapter and "could not be matched" in line


def test_a_package_keeps_the_adapter_to_the_last_bit(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = tuple(tuple(map(float, row)) for row in random.normal(size=(5, 3)))
    style = SpeechStyle((0.1, 0.2, 0.3), (1.0, 2.0, 3.0), 4.0, "face", rows, "0123456789abcdef")
    _save_style(style, tmp_path / "style.safetensors")
    assert _load_style(tmp_path / "style.safetensors") == style

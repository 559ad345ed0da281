"""Features: known tones, the same numbers however a recording is cut, silence, and the shipped encoder."""

from fractions import Fraction

import numpy as np
import pytest
from speech_scene import counting

from visualdub.errors import BadInput
from visualdub.speech import features
from visualdub.speech.features import WHISPER, feature_kind
from visualdub.speech.features.mel_filters import slaney_edges
from visualdub.speech.features.whisper import (
    FFT,
    FRAMES,
    KEPT,
    LOUDEST,
    MEL_HOP,
    RANGE,
    STEPS,
    encoder_session,
    whisper_filters,
    whisper_mel,
)
from visualdub.speech.predict import predict_motion


def test_a_tone_lies_in_its_band() -> None:
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)).astype(np.float32)
    edges = np.linspace(features.mel_of_hertz(60), features.mel_of_hertz(7600), features.BANDS + 2)
    nearest = int(np.abs(edges[1:-1] - features.mel_of_hertz(1000)).argmin())
    assert features.log_mel(tone, 10, 20).mean(0).argmax() == nearest


def test_mel_of_1000_hertz_is_1000() -> None:
    assert features.mel_of_hertz(1000.0) == pytest.approx(999.99, abs=0.01)


def test_every_band_has_a_filter() -> None:
    assert features.filterbank().sum(0) == pytest.approx(np.ones(features.BANDS), abs=1e-5)


@pytest.mark.parametrize(("samples", "count"), [(0, 0), (1, 1), (320, 1), (321, 2), (16000, 50)])
def test_feature_count(samples: int, count: int) -> None:
    assert features.feature_count(samples) == count


# ---- Whisper's spectrogram ---------------------------------------------------------------------------------


def test_slaneys_mel_is_linear_up_to_1_khz_and_logarithmic_above() -> None:
    """The 80 bands up to 8 kHz: 45.245 mel in all, so that edges are 0.5586 mel or 37.24 Hz apart below."""
    edges = slaney_edges(0.0, 8000.0, 80)
    assert edges[:3] == pytest.approx([0.0, 37.238, 74.477], abs=2e-3)
    assert edges[-1] == pytest.approx(8000.0) and edges[-1] / edges[-2] == pytest.approx(1.03916, abs=1e-4)
    filters = whisper_filters()
    assert filters.shape == (FFT // 2 + 1, 80)
    assert (filters.sum(0) * 16000 / FFT)[40:] == pytest.approx(np.ones(40), rel=0.1)  # unit area in hertz


def test_whispers_spectrogram_of_a_tone() -> None:
    """A sine of amplitude a at the centre of a bin has the power (a / 2 * 200)²; 200 is the window's sum."""
    tone = (0.1 * np.sin(2 * np.pi * 2000 * np.arange(160000) / 16000)).astype(np.float32)
    logs = whisper_mel(tone, 2.0, 0) * 4 - 4
    assert logs.shape == (80, FRAMES) and logs.min() == pytest.approx(LOUDEST - RANGE)
    power = np.array([20.0**2, 10.0**2, 10.0**2])  # Hann: the bins beside have half of the amplitude
    bins = np.array([50, 49, 51])
    expected = np.log10(np.maximum(power @ whisper_filters()[bins], 1e-10))
    assert logs[:, 500] == pytest.approx(np.maximum(expected, LOUDEST - RANGE), abs=0.02)


def test_a_window_begins_at_its_feature() -> None:
    click = np.zeros(80000, np.float32)
    click[40 * features.HOP] = 1.0
    loudest = whisper_mel(click, 1.0, 30).mean(0)
    assert loudest.argmax() in range(10 * features.HOP // MEL_HOP - 1, 10 * features.HOP // MEL_HOP + 2)
    assert whisper_mel(click, 1.0, 30)[:, 20].mean() == pytest.approx(loudest.max())


# ---- features ----------------------------------------------------------------------------------------------


def test_the_shipped_encoder_says_what_it_is() -> None:
    session = encoder_session(WHISPER.path)
    assert session.get_modelmeta().custom_metadata_map["name"] == WHISPER.name
    assert [o.shape for o in session.get_outputs()] == [[1, STEPS, WHISPER.width]]
    assert WHISPER.path.stat().st_size < 30e6


def test_features_do_not_depend_on_the_cut() -> None:
    audio = np.concatenate([counting(), counting()])
    level = WHISPER.level(audio)
    assert level is not None
    whole = WHISPER.features(audio, level, 0, 500)
    assert whole.shape == (500, WHISPER.width) and whole.dtype == np.float32 and np.isfinite(whole).all()
    np.testing.assert_array_equal(WHISPER.features(audio, level, KEPT - 20, 31), whole[KEPT - 20 : KEPT + 11])


def test_words_move_the_mouth_alike_wherever_they_lie_in_a_window() -> None:
    """The same words across the border of two windows and in the middle of one. Their features correlate by
    0.75, what the speech model makes of them by 0.96.
    """
    audio = np.concatenate([np.zeros(5 * 16000, np.float32), counting()])
    level = WHISPER.level(counting())
    assert level is not None
    spoken = WHISPER.audible(audio, level, 250, 240)
    across = predict_motion(audio, Fraction(50), 490).jaw[250:]
    within = predict_motion(audio[2 * 16000 :], Fraction(50), 390).jaw[150:]
    assert np.corrcoef(across[spoken], within[spoken])[0, 1] > 0.92


def test_features_outside_the_recording_are_zeros() -> None:
    audio = counting()
    level = WHISPER.level(audio)
    assert level is not None
    assert (WHISPER.features(audio, level, 250, 5) == 0).all()
    rows = WHISPER.features(audio, level, -4, 8)
    assert (rows[:4] == 0).all() and (rows[4:] != 0).all()
    assert not WHISPER.audible(audio, level, 260, 5).any() and not WHISPER.audible(audio, level, -9, 5).any()
    assert WHISPER.audible(audio, level, 0, 250).mean() > 0.3


def test_features_are_about_one_in_size() -> None:
    level = WHISPER.level(counting())
    assert level is not None
    rows = WHISPER.features(counting(), level, 0, 250)
    assert 0.15 < np.median(rows.std(0)) < 0.7 and np.percentile(np.abs(rows), 99) < 4


def test_gain_does_not_matter() -> None:
    audio = counting()
    loud, soft = (WHISPER.level(audio * g) for g in (1.0, 0.1))
    assert loud is not None and soft is not None
    a = WHISPER.features(audio, loud, 20, 100)
    b = WHISPER.features(audio * np.float32(0.1), soft, 20, 100)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.98


def test_features_of_another_version_are_refused() -> None:
    assert feature_kind(WHISPER.name) is WHISPER
    with pytest.raises(BadInput, match=r"'mel40\+phone42-2'; expected whisper-.*train it again"):
        feature_kind("mel40+phone42-2")


@pytest.mark.parametrize("level", [0.0, 1e-5])
def test_silence_has_no_level(level: float) -> None:
    noise = np.random.default_rng(0).normal(0, 1, 16000).astype(np.float32) * np.float32(level)
    assert features.recording_level(noise) is None


def test_audio_is_checked() -> None:
    with pytest.raises(BadInput, match="one channel"):
        features.check_audio(np.zeros((10, 2), np.float32))
    with pytest.raises(BadInput, match="not numbers"):
        features.check_audio(np.array([0.0, np.nan], np.float32))

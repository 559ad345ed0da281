"""Features: known tones, the same numbers however a recording is cut, and the phones of a known vowel."""

import numpy as np
import pytest
from speech_scene import counting

from visualdub.errors import BadInput
from visualdub.speech import features, phones


def test_a_tone_lies_in_its_band() -> None:
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)).astype(np.float32)
    edges = np.linspace(features.mel_of_hertz(60), features.mel_of_hertz(7600), features.BANDS + 2)
    nearest = int(np.abs(edges[1:-1] - features.mel_of_hertz(1000)).argmin())
    assert features.log_mel(tone, 10, 20).mean(0).argmax() == nearest


def test_mel_of_1000_hertz_is_1000() -> None:
    assert features.mel_of_hertz(1000.0) == pytest.approx(999.99, abs=0.01)


def test_every_band_hears_something() -> None:
    assert features.filterbank().sum(0) == pytest.approx(np.ones(features.BANDS), abs=1e-5)


@pytest.mark.parametrize(("samples", "count"), [(0, 0), (1, 1), (320, 1), (321, 2), (16000, 50)])
def test_feature_count(samples: int, count: int) -> None:
    assert features.feature_count(samples) == count


def test_features_do_not_depend_on_the_cut() -> None:
    audio = counting()
    level = features.recording_level(audio)
    assert level is not None
    whole = features.speech_features(audio, level, 0, 200)
    assert whole.shape == (200, features.WIDTH)
    piece = features.speech_features(audio, level, 60, 31)
    np.testing.assert_allclose(piece, whole[60:91], atol=2e-4)


def test_features_outside_the_recording_are_silence() -> None:
    audio = counting()
    level = features.recording_level(audio)
    assert level is not None
    after = features.speech_features(audio, level, 260, 5)
    assert (after[:, :features.BANDS] == -1).all()


def test_gain_does_not_matter() -> None:
    audio = counting()
    loud, soft = (features.recording_level(audio * g) for g in (1.0, 0.1))
    assert loud is not None and soft is not None
    a, b = features.speech_features(audio, loud, 20, 100), features.speech_features(audio * np.float32(0.1), soft, 20, 100)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("level", [0.0, 1e-5])
def test_silence_has_no_level(level: float) -> None:
    noise = np.random.default_rng(0).normal(0, 1, 16000).astype(np.float32) * np.float32(level)
    assert features.recording_level(noise) is None


def test_audio_is_checked() -> None:
    with pytest.raises(BadInput, match="one channel"):
        features.check_audio(np.zeros((10, 2), np.float32))
    with pytest.raises(BadInput, match="not numbers"):
        features.check_audio(np.array([0.0, np.nan], np.float32))


def test_phone_scores_are_those_of_the_gaussians() -> None:
    """One frame, by hand: every phone's best state, three streams, mixtures of Gaussians."""
    model = phones.acoustic_model()
    assert model.phones[2:5] == ("AA", "AE", "AH") and len(model.phones) == 42
    audio = counting()
    mean = phones.cepstra(audio, 0, 500).mean(0)
    c = phones.cepstra(audio, 97, 7) - mean
    streams = [c[3], c[5] - c[1], (c[6] - c[2]) - (c[4] - c[0])]
    total = np.zeros((42, 3))
    for x, quadratic, weights in zip(streams, model.quadratic, model.weights, strict=True):
        density = np.exp((np.concatenate([x * x, x, [1]]).astype(np.float64) @ quadratic).reshape(42, -1))
        total += np.log(np.einsum("pg,pgs->ps", density, weights))
    score = total.max(1) * phones.SCALE
    expected = score - score.max() - np.log(np.exp(score - score.max()).sum())
    np.testing.assert_allclose(phones.phone_scores(audio, 100, 1, mean)[0], np.maximum(expected, phones.FLOOR), atol=2e-3)


def test_a_synthetic_vowel_is_heard_as_one() -> None:
    """A buzz through the two formants of /a/ (730 and 1090 Hz) is more a vowel than a stop or a hiss."""
    model = phones.acoustic_model()
    time = np.arange(16000) / 16000
    harmonics = np.arange(1, 50) * 110.0
    gain = 1 / (1 + ((harmonics - 730) / 90) ** 2) + 1 / (1 + ((harmonics - 1090) / 110) ** 2) + 0.003
    buzz = (np.sin(2 * np.pi * time[:, None] * harmonics) * gain).sum(1).astype(np.float32)
    audio = np.concatenate([np.zeros(8000, np.float32), buzz / np.abs(buzz).max() * 0.5, np.zeros(8000, np.float32)])
    scores = np.exp(phones.phone_scores(audio, 60, 20, phones.cepstra(audio, 0, 200).mean(0))).mean(0)
    chance = dict(zip(model.phones, scores, strict=True))
    assert chance["AA"] + chance["AO"] + chance["AH"] + chance["AW"] > 5 * (chance["S"] + chance["T"] + chance["P"] + chance["F"])

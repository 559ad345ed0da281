"""Features: known tones, the same numbers however a recording is cut, and the phones of a known vowel."""

import numpy as np
import pytest
from speech_scene import counting

from visualdub.errors import BadInput
from visualdub.speech import features
from visualdub.speech.features import KINDS, NAMED, FeatureKind, feature_kind


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


@pytest.mark.parametrize("kind", NAMED.values(), ids=NAMED)
def test_features_do_not_depend_on_the_cut(kind: FeatureKind) -> None:
    audio = counting()
    level = kind.level(audio)
    assert level is not None
    whole = kind.features(audio, level, 0, 200)
    assert whole.shape == (200, kind.width) and whole.dtype == np.float32 and np.isfinite(whole).all()
    piece = kind.features(audio, level, 60, 31)
    np.testing.assert_allclose(piece, whole[60:91], atol=2e-4)


def test_features_outside_the_recording_are_silence() -> None:
    audio, kind = counting(), KINDS["both"]
    level = kind.level(audio)
    assert level is not None
    assert (kind.features(audio, level, 260, 5)[:, : kind.bands] == -1).all()
    assert not kind.audible(audio, level, 260, 5).any() and not kind.audible(audio, level, -9, 5).any()
    assert kind.audible(audio, level, 0, 250).mean() > 0.3


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_gain_does_not_matter(kind: FeatureKind) -> None:
    audio = counting()
    loud, soft = (kind.level(audio * g) for g in (1.0, 0.1))
    assert loud is not None and soft is not None
    a, b = kind.features(audio, loud, 20, 100), kind.features(audio * np.float32(0.1), soft, 20, 100)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.98


def test_digital_silence_around_a_recording_does_not_matter() -> None:
    audio, silence = counting(), np.zeros(80000, np.float32)
    longer = np.concatenate([silence, audio, silence])
    kind = feature_kind("phone")
    plain, within = kind.level(audio), kind.level(longer)
    assert plain is not None and within is not None
    a, b = kind.features(audio, plain, 0, 250), kind.features(longer, within, 250, 250)
    spoken = kind.audible(audio, plain, 0, 250)
    assert np.corrcoef(a[spoken].ravel(), b[spoken].ravel())[0, 1] > 0.98


def test_both_is_mel_and_then_phone() -> None:
    audio = counting()
    level = features.recording_level(audio)
    assert level is not None
    mel, phone, both = (feature_kind(k).features(audio, level, 50, 20) for k in ("mel", "phone", "both"))
    assert mel.shape == (20, 40) and phone.shape == (20, 42)
    np.testing.assert_array_equal(both, np.concatenate([mel, phone], 1))


def test_kinds_have_names_of_their_own_and_are_found_by_them() -> None:
    assert len(NAMED) == len(KINDS)
    assert all(feature_kind(name) is kind and kind.name == name for name, kind in NAMED.items())
    assert all(feature_kind(short) is kind for short, kind in KINDS.items())


def test_unknown_features_are_refused() -> None:
    with pytest.raises(
        BadInput, match=r"'mfcc'; expected one of phone, mel, both, wav2vec2, .*mel40\+phone42-2"
    ):
        feature_kind("mfcc")


@pytest.mark.parametrize("level", [0.0, 1e-5])
def test_silence_has_no_level(level: float) -> None:
    noise = np.random.default_rng(0).normal(0, 1, 16000).astype(np.float32) * np.float32(level)
    assert features.recording_level(noise) is None


def test_audio_is_checked() -> None:
    with pytest.raises(BadInput, match="one channel"):
        features.check_audio(np.zeros((10, 2), np.float32))
    with pytest.raises(BadInput, match="not numbers"):
        features.check_audio(np.array([0.0, np.nan], np.float32))

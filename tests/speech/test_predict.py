"""The shipped speech model as a dub runs it: length, silence, cuts, odd recordings, speed."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from speech_scene import counting, write_wav

from visualdub.errors import BadInput, MediaError
from visualdub.face.models import DEFAULT_FACE_MODEL, face_model
from visualdub.media.audio import read_audio
from visualdub.speech import features
from visualdub.speech.predict import BLOCK, CONTEXT, MODEL, RECORD, model_record, predict_motion

PAL = Fraction(25)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def test_the_record_belongs_to_the_model() -> None:
    record = json.loads(RECORD.read_text())
    assert record["face_model"] == DEFAULT_FACE_MODEL
    assert record["features"] == features.WHISPER.name
    assert record["size_bytes"] == MODEL.stat().st_size < 3_000_000
    assert (
        len(record["generic"]["scale"])
        == len(record["generic"]["offset_from_rest"])
        == 1 + face_model(DEFAULT_FACE_MODEL).n_speech
    )
    trained = {c["speaker"] for c in record["clips"].values()}
    assert trained and not trained & set(record["held_out_speakers"])


def test_speech_moves_the_mouth_and_pauses_are_silent() -> None:
    motion = predict_motion(np.concatenate([np.zeros(32000, np.float32), counting()]), PAL, 175)
    assert motion.jaw.shape == (175,) and motion.expression.shape == (
        175,
        face_model(DEFAULT_FACE_MODEL).n_speech,
    )
    assert motion.speech_activity.min() >= 0 and motion.speech_activity.max() == 1
    assert motion.jaw[motion.speech_activity == 1].std() > 0.3
    assert (motion.speech_activity[:30] == 0).all()  # until 0.8 s before the first sound


def test_silence_follows_a_short_recording() -> None:
    motion = predict_motion(counting(), PAL, 250)
    assert len(motion) == 250
    assert (motion.speech_activity[135:] == 0).all()


def test_a_long_recording_is_cut() -> None:
    audio = counting()
    motion = predict_motion(audio, PAL, 50)
    assert len(motion) == 50


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(0, np.float32),
        np.zeros(16000, np.float32),
        np.full(3200, 1e-5, np.float32),
        np.random.default_rng(0).normal(0, 1e-5, 32000).astype(np.float32),
    ],
)
def test_silence_is_silent(audio: np.ndarray) -> None:
    motion = predict_motion(audio, PAL, 60)
    assert (motion.speech_activity == 0).all() and np.isfinite(motion.jaw).all()


def test_steady_noise_is_not_speech() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 80000).astype(np.float32)
    assert predict_motion(noise, PAL, 125).speech_activity.mean() < 0.1


def test_a_fifth_of_a_second() -> None:
    motion = predict_motion(counting()[8000:11200], PAL, 5)
    assert len(motion) == 5 and np.isfinite(motion.expression).all()


def test_no_frames() -> None:
    motion = predict_motion(counting(), PAL, 0)
    assert len(motion) == 0 and motion.expression.shape == (0, face_model(DEFAULT_FACE_MODEL).n_speech)


def test_one_frame() -> None:
    assert len(predict_motion(counting(), PAL, 1)) == 1


def test_rates_agree_on_the_same_instants() -> None:
    slow, fast = (predict_motion(counting(), Fraction(r), r * 4) for r in (25, 50))
    np.testing.assert_allclose(fast.jaw[::2], slow.jaw, atol=1e-9)


def test_blocks_join_without_a_seam() -> None:
    """Thirty seconds across the border of two blocks equal the model run over the whole at once."""
    audio = np.tile(counting(), 6)
    motion = predict_motion(audio, Fraction(50), 1500)
    kind = features.feature_kind(model_record()["features"])
    level = kind.level(audio)
    assert level is not None and BLOCK < 1500
    session = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    inputs = kind.features(audio, level, -CONTEXT, 1500 + 2 * CONTEXT)
    (whole,) = session.run(["motion"], {"features": inputs[None]})
    np.testing.assert_allclose(motion.jaw, whole[0, CONTEXT:-CONTEXT, 0], atol=1e-3)


def test_8_khz_and_one_sided_stereo_speak_as_well(tmp_path: Path) -> None:
    audio = counting()
    whole = predict_motion(audio, PAL, 125)
    low = read_audio(write_wav(tmp_path / "low.wav", audio[::2], 8000))
    side = read_audio(write_wav(tmp_path / "side.wav", np.column_stack([audio, np.zeros_like(audio)]), 16000))
    spoken = whole.speech_activity == 1
    assert correlation(predict_motion(side, PAL, 125).jaw, whole.jaw) > 0.99
    assert correlation(predict_motion(low, PAL, 125).jaw[spoken], whole.jaw[spoken]) > 0.6


def test_clipped_and_soft_recordings_speak_as_well() -> None:
    audio = counting()
    whole = predict_motion(audio, PAL, 125)
    assert correlation(predict_motion(audio * np.float32(0.02), PAL, 125).jaw, whole.jaw) > 0.98
    assert correlation(predict_motion(np.clip(audio * 4, -1, 1), PAL, 125).jaw, whole.jaw) > 0.6


def test_what_is_not_audio_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "words.wav"
    text.write_text("hello\n")
    with pytest.raises(MediaError):
        read_audio(text)
    with pytest.raises(BadInput, match="one channel"):
        predict_motion(np.zeros((100, 2), np.float32), PAL, 10)
    with pytest.raises(BadInput, match="not numbers"):
        predict_motion(np.full(100, np.inf, np.float32), PAL, 10)
    with pytest.raises(BadInput, match="positive rate"):
        predict_motion(np.zeros(100, np.float32), Fraction(0), 10)


def test_a_foreign_model_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "model.onnx"
    text.write_text("hello\n")
    with pytest.raises(BadInput, match="not a speech model"):
        predict_motion(counting(), PAL, 10, text)


def test_the_record_says_how_well_unseen_speakers_are_followed() -> None:
    figures = model_record()["validation"]
    assert figures["correlation"] > 0.65 and 0.85 <= figures["deviation_ratio"] <= 1.15

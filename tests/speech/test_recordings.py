"""Recordings as they come: silent, one-sided, cancelling, 8 kHz, short, half an hour, clipped, no audio."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from scipy.signal import resample_poly
from speech_scene import counting, write_wav

from visualdub.actor.package import Actor, load_actor
from visualdub.dub import Output, TrackedShot, dub_shot, track_shot
from visualdub.edit import plan_shot
from visualdub.errors import BadInput, MediaError
from visualdub.media.audio import read_audio
from visualdub.records import DubReport
from visualdub.speech.features import WHISPER
from visualdub.speech.predict import ONNX_OUTPUTS, SpeechMotion, predict_motion
from visualdub.timing import FrameChoice

PAL = Fraction(25)


@pytest.fixture(scope="module")
def plain() -> SpeechMotion:
    """The mouth of the clean recording."""
    return predict_motion(counting(), PAL, 125)


def spoken(path: Path) -> SpeechMotion:
    return predict_motion(read_audio(path), PAL, 125)


def likeness(motion: SpeechMotion, plain: SpeechMotion) -> float:
    """Correlation of the jaw where the clean recording speaks."""
    speaking = plain.speech_activity == 1
    return float(np.corrcoef(motion.jaw[speaking], plain.jaw[speaking])[0, 1])


# ---- one speaker, two channels -----------------------------------------------------------------------------


def room_noise(loudness: float) -> NDArray[np.float32]:
    return (np.random.default_rng(0).normal(size=len(counting())) * loudness).astype(np.float32)


@pytest.mark.parametrize(
    "side", [0.0, -1.0, -0.9, 1.0], ids=["silence", "its opposite", "nearly its opposite", "itself"]
)
@pytest.mark.parametrize("left", [True, False])
def test_one_speaker_keeps_the_level_whatever_the_other_channel_holds(
    left: bool, side: float, tmp_path: Path
) -> None:
    audio = counting()
    pair = [audio, np.float32(side) * audio]
    found = read_audio(write_wav(tmp_path / "pair.wav", np.column_stack(pair if left else pair[::-1]), 16000))
    np.testing.assert_allclose(np.abs(found), np.abs(audio), atol=1e-4)


def test_room_noise_and_an_offset_in_the_other_channel_are_left_out(
    tmp_path: Path, plain: SpeechMotion
) -> None:
    audio = counting()
    for name, other in (("room", room_noise(0.1 * float(audio.std()))), ("offset", np.full_like(audio, 0.5))):
        found = read_audio(write_wav(tmp_path / f"{name}.wav", np.column_stack([other, audio]), 16000))
        np.testing.assert_allclose(found, audio, atol=1e-4, err_msg=name)
        assert likeness(predict_motion(found, PAL, 125), plain) > 0.99


def test_two_speakers_are_mixed(tmp_path: Path) -> None:
    pair = np.column_stack([counting("en"), np.resize(counting("fr"), len(counting("en")))])
    found = read_audio(write_wav(tmp_path / "pair.wav", pair, 16000))
    np.testing.assert_allclose(found, pair.mean(1), atol=1e-4)


# ---- poor sound --------------------------------------------------------------------------------------------


def test_8_khz_speaks_as_well(tmp_path: Path, plain: SpeechMotion) -> None:
    low = resample_poly(counting(), 1, 2).astype(np.float32)
    found = spoken(write_wav(tmp_path / "low.wav", low, 8000))
    assert (
        likeness(found, plain) > 0.8
        and abs(found.speech_activity.mean() - plain.speech_activity.mean()) < 0.1
    )


def test_clipped_sound_speaks_as_well(tmp_path: Path, plain: SpeechMotion) -> None:
    audio = counting()
    found = spoken(
        write_wav(tmp_path / "clipped.wav", audio / np.abs(audio).max() * 20, 16000)
    )  # most samples at full scale
    assert (
        likeness(found, plain) > 0.8
        and abs(found.speech_activity.mean() - plain.speech_activity.mean()) < 0.1
    )


@pytest.mark.parametrize("samples", [1, 319, 3200])
def test_the_shortest_recordings(samples: int, tmp_path: Path) -> None:
    audio = counting()[8000 : 8000 + samples]
    found = read_audio(write_wav(tmp_path / "short.wav", audio, 16000))
    assert len(found) == samples
    motion = predict_motion(found, PAL, 50)
    assert len(motion) == 50 and np.isfinite(motion.jaw).all() and (motion.speech_activity[30:] == 0).all()
    assert (motion.speech_activity.max() > 0) == (
        samples == 3200
    )  # 0.2 s of a vowel are speech, a click is not


def test_silence_in_a_file(tmp_path: Path) -> None:
    motion = spoken(write_wav(tmp_path / "silence.wav", np.zeros((16000, 2), np.float32), 16000))
    assert (motion.speech_activity == 0).all() and (motion.jaw == 0).all()


@pytest.mark.parametrize("name", ["words.wav", "words.mp3", "words.txt", "words"])
def test_text_is_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("One, two, three, four, five.\n" * 20)
    with pytest.raises(
        MediaError, match=f"{name} (cannot be read as media: it is a text file|is not a media file)"
    ):
        read_audio(tmp_path / name)


# ---- half an hour ------------------------------------------------------------------------------------------


def write_model(path: Path, kind_name: str, width: int) -> Path:
    """A speech model that was not trained: jaw, speech activity and closure are the features' mean."""
    nodes = [
        helper.make_node("MatMul", ["features", "mean"], ["motion"]),
        helper.make_node("Identity", ["motion"], ["hidden"]),
        *(
            helper.make_node("ReduceMean", ["features"], [k], axes=[2], keepdims=0)
            for k in ("voice", "contact")
        ),
    ]
    mean = onnx.numpy_helper.from_array(np.full((width, 3), 1 / width, np.float32), "mean")
    values = {
        k: helper.make_tensor_value_info(k, TensorProto.FLOAT, s)
        for k, s in {
            "features": ["N", "T", width],
            "motion": ["N", "T", 3],
            "voice": ["N", "T"],
            "contact": ["N", "T"],
            "hidden": ["N", "T", 3],
        }.items()
    }
    graph = helper.make_graph(
        nodes, "mean", [values["features"]], [values[k] for k in ONNX_OUTPUTS.values()], [mean]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"features": kind_name})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


@pytest.mark.slow
def test_minutes_in_bounded_memory(tmp_path: Path) -> None:
    """By a network that takes no time beside its features; every block runs the same code."""
    model = write_model(tmp_path / "mean.onnx", WHISPER.name, WHISPER.width)
    audio = read_audio(write_wav(tmp_path / "long.wav", np.tile(counting(), 48), 16000))
    assert len(audio) == 240 * 16000
    peaks = {}
    for seconds in (48, 240):
        tracemalloc.start()
        motion = predict_motion(audio[: seconds * 16000], PAL, seconds * 25, model)
        result = motion.jaw.nbytes + motion.expression.nbytes + motion.speech_activity.nbytes
        peaks[seconds] = tracemalloc.get_traced_memory()[1] - result
        tracemalloc.stop()
    assert len(motion) == 6000 and motion.jaw[:125].std() > 0
    # it says the same again, every 40 s, when windows and words begin together
    np.testing.assert_allclose(motion.jaw[4000:4100], motion.jaw[2000:2100], atol=1e-3)
    assert peaks[240] - peaks[48] < 4e6, peaks  # the audio alone is 12 MB longer, its features 4 MB


def test_a_model_for_unknown_or_other_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"odd\.onnx cannot be used: it takes the input features 'mfcc13-1'; expected whisper"
    ):
        predict_motion(counting(), PAL, 5, write_model(tmp_path / "odd.onnx", "mfcc13-1", 13))
    with pytest.raises(BadInput, match=r"wide\.onnx takes input features of 13 numbers; expected 96"):
        predict_motion(counting(), PAL, 5, write_model(tmp_path / "wide.onnx", WHISPER.name, 13))


# ---- a whole dub -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene(talking: Path, flat_actor: Path) -> tuple[TrackedShot, Actor]:
    shot = plan_shot(talking).choose(FrameChoice.parse(None, ["0:3"]))  # the rest passes through
    return track_shot(shot), load_actor(flat_actor)


def dubbed(
    scene: tuple[TrackedShot, Actor], folder: Path, channels: NDArray[np.float32], rate: int = 16000
) -> DubReport:
    shot, actor = scene
    return dub_shot(shot, write_wav(folder / "new.wav", channels, rate), actor, Output(folder / "out.mkv"))


@pytest.mark.slow
def test_dubs_of_odd_recordings(scene: tuple[TrackedShot, Actor], tmp_path: Path) -> None:
    """All frames come out; what cannot be used of a recording is in the notes."""
    audio = counting()
    silent = dubbed(scene, tmp_path, np.zeros(20000, np.float32))
    assert silent.frames == 40 and silent.notes == ["no speech is heard in new.wav; the mouth rests"]
    opposite = dubbed(scene, tmp_path, np.column_stack([audio, -audio]))
    assert opposite.frames == 40 and opposite.notes == [
        "new.wav is 3.40 s longer than the clip; its end is not heard"
    ]
    short = dubbed(scene, tmp_path, audio[8000:11200])
    assert short.frames == 40 and short.notes == []

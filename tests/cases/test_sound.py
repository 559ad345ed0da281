"""Dialogue of any container, channels and start time: heard by the mouth and written as one and the same."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly

import visualdub.demo
from visualdub.cli import run
from visualdub.dub import AUDIO_RATE, shot_audio
from visualdub.edit import plan_shot
from visualdub.edit.shot import DialogueCue
from visualdub.media.audio import read_audio
from visualdub.media.sound_decoder import DecodedSound
from visualdub.speech.predict import predict_motion

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = Path(visualdub.demo.__file__).parent / "data"
WORDS = {  # 0.35 s of a recording that counts, from seconds on
    "two": ("counting_en.wav", 1.09),
    "un": ("counting_fr.wav", 0.16),  # one vowel of one pitch: the mean of the word is the word
}


def dub(clip: Path, dialogue: Path, actor: Path, output: Path, *options: str) -> int:
    """The exit status of a dub that draws a few frames and has all of the sound."""
    named = ["--dialogue", str(dialogue), "--actor", str(actor), "-o", str(output)]
    return run(["dub", str(clip), *named, "--only", "0:3", *options])


def without_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks for a track fails the test."""

    def never(*_args: object, **_options: object) -> None:
        pytest.fail("the clip was tracked before its dialogue was refused")

    monkeypatch.setattr("visualdub.face.tracker.track_clip", never)
    monkeypatch.setattr("visualdub.dub.track_shot", never)


# ---- one origin --------------------------------------------------------------------------------------------


def as_transport_stream(path: Path, sound: Path) -> Path:
    """The sound as AAC in a transport stream, whose clock starts at 1.4 s."""
    samples = read_audio(sound, 48000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        block = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        block.sample_rate, block.pts, block.time_base = 48000, 0, Fraction(1, 48000)
        container.mux([*stream.encode(block), *stream.encode(None)])
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["d_ts.ts", "d_late.mka", "d_late.m4a", "d_mp3.mp3"])
def test_a_dialogue_that_starts_late(
    name: str, case: Callable[[str], Path], demo_actor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    origin = importlib.import_module("benchmarks.audio_origin")
    folder = case("dialogue_starts_late")
    dialogue = folder / name
    if name == "d_ts.ts":
        as_transport_stream(dialogue, folder / "d_mp3.mp3")
    assert dub(folder / "base.mp4", dialogue, demo_actor, folder / "out.mkv") == 0
    predicted_from = shot_audio(plan_shot(folder / "base.mp4").with_cue(DialogueCue(dialogue)))
    written = origin.heard(folder / "out.mkv")
    predicted_from = resample_poly(predicted_from, 3, 1)[: len(written)].astype(np.float32)
    assert origin.lag(written, predicted_from) == 0


# ---- channels ----------------------------------------------------------------------------------------------


def levels(movie: Path) -> NDArray[np.float32]:
    """(C,) standard deviation of every channel."""
    with DecodedSound(movie) as sound:
        return np.asarray(np.concatenate(list(sound.blocks())).std(0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "recording", "channels", "suffix"),
    [
        ("dialogue_7_1", "d_poly8.wav", 8, ".mkv"),
        ("dialogue_7_1", "d_poly8.wav", 8, ".mp4"),
        ("dialogue_no_channel_mask_mp4", "d_poly4.wav", 4, ".mp4"),
        ("dialogue_no_channel_mask_mp4", "d_poly4.wav", 4, ".mov"),
    ],
)
def test_a_voice_on_the_last_of_many_channels(
    name: str, recording: str, channels: int, suffix: str, case: Callable[[str], Path], demo_actor: Path
) -> None:
    folder = case(name)
    out = folder / f"out{suffix}"
    assert dub(folder / "b25.mp4", folder / recording, demo_actor, out) == 0
    report = json.loads(out.with_name(out.name + ".report.json").read_text())
    assert not any("no speech" in note for note in report["notes"])
    loud = levels(out)
    assert len(loud) == channels and loud.argmax() == channels - 1
    assert loud[:-1].max() < 0.01 * loud[-1]


def test_a_clip_of_eight_channels_is_heard(case: Callable[[str], Path]) -> None:
    """In a process of its own, which a fault in a library would end."""
    clip = case("dialogue_7_1") / "v_71.mkv"
    code = (
        "import sys; from pathlib import Path; from visualdub.media.audio import read_audio;"
        "print(float(read_audio(Path(sys.argv[1])).std()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(clip)], capture_output=True, text=True, timeout=60, check=True
    )
    assert float(done.stdout) > 0.03


def test_twelve_channels_for_an_mp4_are_refused_before_tracking(
    talking: Path,
    flat_actor: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import wave

    with wave.open(str(tmp_path / "twelve.wav"), "wb") as f:
        f.setparams((12, 2, 16000, 0, "NONE", ""))
        f.writeframes(np.zeros((16000, 12), "<i2").tobytes())
    without_tracking(monkeypatch)
    assert dub(talking, tmp_path / "twelve.wav", flat_actor, tmp_path / "out.mp4") == 2
    assert "twelve.wav has 12 channels of sound; expected" in capsys.readouterr().err


# ---- several tracks ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_tracks(talking: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip of the speaking portrait with a track of music behind its own."""
    path = tmp_path_factory.mktemp("tracks") / "two.mkv"
    with av.open(str(talking)) as given, av.open(str(path), "w") as container:
        streams = {s.index: container.add_stream_from_template(s) for s in given.streams}
        music = container.add_stream("flac", rate=48000, layout="stereo")
        for packet in given.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                container.mux(packet)
        tone = 0.2 * np.sin(2 * np.pi * 440 * np.arange(76800) / 48000)
        row = np.repeat(tone, 2).astype(np.float32)[None]
        block = av.AudioFrame.from_ndarray(row, format="flt", layout="stereo")
        block.sample_rate, block.pts, block.time_base = 48000, 0, Fraction(1, 48000)
        container.mux([*music.encode(block), *music.encode(None)])
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "codecs"), [((), ["pcm_s16le"]), (("--keep-audio",), ["pcm_s16le", "flac"])]
)
def test_other_tracks_of_the_clip_are_kept_or_named(
    options: tuple[str, ...], codecs: list[str], two_tracks: Path, flat_actor: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mkv"
    assert dub(two_tracks, RECORDINGS / "counting_en.wav", flat_actor, out, *options) == 0
    with av.open(str(out)) as container:
        assert [s.codec_context.name for s in container.streams.audio] == codecs
    notes = json.loads(out.with_name("out.mkv.report.json").read_text())["notes"]
    named = "two.mkv has another audio track, which is not written; --keep-audio keeps it"
    assert (named in notes) == (not options)


# ---- samples -----------------------------------------------------------------------------------------------


def test_samples_that_are_no_numbers_are_refused_before_tracking(
    case: Callable[[str], Path],
    flat_actor: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = case("dialogue_nan")
    without_tracking(monkeypatch)
    assert dub(folder / "b25.mp4", folder / "d_nan.wav", flat_actor, folder / "out.mkv") == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vdub: ")]
    assert len(lines) == 1 and "d_nan.wav holds samples that are not numbers" in lines[0]
    assert not (folder / "out.mkv").exists()


# ---- short words -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.35, 2.0, 20.0, 100.0])
@pytest.mark.parametrize("noise", [0.0, 1e-3])
@pytest.mark.parametrize("name", ["two", "un"])
def test_a_single_word_is_heard_in_any_length_of_silence(name: str, seconds: float, noise: float) -> None:
    recording, start_s = WORDS[name]
    first = round(start_s * AUDIO_RATE)
    word = read_audio(RECORDINGS / recording)[first : first + round(0.35 * AUDIO_RATE)]
    audio = np.random.default_rng(0).normal(size=round(seconds * AUDIO_RATE)).astype(np.float32)
    audio *= np.float32(noise)
    at = (len(audio) - len(word)) // 3
    audio[at : at + len(word)] += word
    motion = predict_motion(audio, Fraction(25), round(seconds * 25))
    spoken = slice(round(25 * at / AUDIO_RATE), round(25 * (at / AUDIO_RATE + 0.35)))
    assert (motion.speech_activity[spoken] > 0.99).all()
    assert np.ptp(motion.jaw[spoken]) > 0.5  # standard deviations of the actor's own
    far = np.abs(np.arange(len(motion)) - spoken.start) > 50
    assert (motion.speech_activity[far] == 0).all()


def test_a_slam_does_not_silence_those_who_whisper() -> None:
    """What is loud for a moment sets the level only where there is nothing but silence or noise beside it."""
    audio = np.tile(read_audio(RECORDINGS / "counting_en.wav"), 6)
    slammed = audio * np.float32(0.03)
    slammed[16000:18400] += np.random.default_rng(0).normal(size=2400).astype(np.float32) * np.float32(0.3)
    plain, beside = (predict_motion(a.astype(np.float32), Fraction(25), 750) for a in (audio, slammed))
    assert beside.speech_activity[100:].mean() > 0.9 * plain.speech_activity[100:].mean()

"""The A/V offset: of a speaker moved by a known amount, with unrelated audio, and part by part."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import portrait_pictures, write_movie, write_wav

from visualdub import cli
from visualdub.cli.dub import measure_sync
from visualdub.demo.run import FRENCH
from visualdub.errors import BadInput
from visualdub.face.track import Track
from visualdub.face.tracker import cached_track
from visualdub.media.audio import read_audio
from visualdub.records import DubReport, report_path
from visualdub.speech.sync import (
    FOUND_CONFIDENCE,
    STEP_RATE,
    Sync,
    band_pass,
    confidence_of,
    estimate_sync,
    offset_correlations,
    peak,
    shifted_sound,
    trusted_offset,
    unrelated_spread,
)

RATE = 16000
CLIP, STRANGER = (
    "hdtf_roskam.mp4",
    "hdtf_radio4.mp4",
)  # real speakers that are 10 s long, the first never trained on


@pytest.fixture(scope="module")
def speaking(demo_clip: Path) -> tuple[Track, np.ndarray]:
    """The track and the sound of the demo's portrait, whose mouth moves in step with its sound."""
    return cached_track(demo_clip)[0], read_audio(demo_clip)


def frame_times(track: Track) -> np.ndarray:
    return np.arange(len(track)) / float(track.rate)


# ---- a speaker ---------------------------------------------------------------------------------------------


def test_a_mouth_that_moves_with_its_audio_has_no_offset(speaking: tuple[Track, np.ndarray]) -> None:
    track, audio = speaking
    sync = estimate_sync(track, frame_times(track), audio)
    assert sync.found and sync.av_offset_s == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("moved", [0.16, -0.12])
def test_the_estimate_moves_with_the_audio(speaking: tuple[Track, np.ndarray], moved: float) -> None:
    track, audio = speaking
    start = estimate_sync(track, frame_times(track), audio)
    later = estimate_sync(track, frame_times(track), shifted_sound(audio, moved, RATE))
    assert start.found and later.found
    assert later.av_offset_s - start.av_offset_s == pytest.approx(
        -moved, abs=0.02
    )  # the audio is played later, so it leads by less
    put_right = estimate_sync(track, frame_times(track), shifted_sound(audio, start.av_offset_s, RATE))
    assert put_right.av_offset_s == pytest.approx(0, abs=0.02)


def test_audio_leads_where_frames_are_shown_later(speaking: tuple[Track, np.ndarray]) -> None:
    track, audio = speaking
    start = estimate_sync(track, frame_times(track), audio)
    late = estimate_sync(track, frame_times(track) + 0.1, audio)
    assert late.found and late.av_offset_s - start.av_offset_s == pytest.approx(0.1, abs=0.02)


def test_frames_without_a_face_do_not_count(speaking: tuple[Track, np.ndarray]) -> None:
    track, audio = speaking
    confidence, jaw = track.confidence.copy(), track.jaw.copy()
    confidence[45:65], jaw[45:65] = 0, np.nan
    whole = estimate_sync(track, frame_times(track), audio)
    part = estimate_sync(replace(track, confidence=confidence, jaw=jaw), frame_times(track), audio)
    assert part.found and part.av_offset_s == pytest.approx(whole.av_offset_s, abs=0.03)
    assert part.speech_seconds == pytest.approx(whole.speech_seconds - 20 / 25, abs=0.2)
    assert not part.tracked_lips[200:240].any() and part.tracked_lips.any()


def test_the_offset_of_unrelated_audio_is_not_found(speaking: tuple[Track, np.ndarray]) -> None:
    """The voice that counts in French, with pauses alike, and the clip's own audio backward."""
    track, audio = speaking
    other = read_audio(FRENCH)
    results = [estimate_sync(track, frame_times(track), sound) for sound in (other, audio[::-1].copy())]
    assert [s.found for s in results] == [False, False]
    assert max(s.confidence for s in results) < 0.9
    assert results[0].speech_seconds > 2 and "not found" in results[0].summary()


@pytest.mark.slow
def test_a_real_speaker_is_found_and_a_strangers_audio_is_not(clips: Path) -> None:
    track, audio, stranger = (
        cached_track(clips / CLIP)[0],
        read_audio(clips / CLIP),
        read_audio(clips / STRANGER),
    )
    start = estimate_sync(track, frame_times(track), audio)
    later = estimate_sync(track, frame_times(track), shifted_sound(audio, 0.16, RATE))
    assert (
        start.found
        and later.found
        and later.av_offset_s - start.av_offset_s == pytest.approx(-0.16, abs=0.02)
    )
    other = estimate_sync(track, frame_times(track), stranger)
    assert not other.found and other.confidence < 0.9 and other.speech_seconds > 5


def test_silence_and_a_moment_of_speech_are_refused(speaking: tuple[Track, np.ndarray]) -> None:
    track, audio = speaking
    with pytest.raises(BadInput, match=f"{track.source}: the audio is silent; expected speech"):
        estimate_sync(track, frame_times(track), np.zeros(10 * RATE, np.float32))
    noise = (np.random.default_rng(0).normal(size=10 * RATE) * 0.05).astype(np.float32)
    with pytest.raises(BadInput, match=r"0\.\d s of speech over a tracked mouth; expected 1 s or more"):
        estimate_sync(track, frame_times(track), noise)
    brief = np.zeros_like(audio)
    brief[2 * RATE : 2 * RATE + RATE // 2] = audio[2 * RATE : 2 * RATE + RATE // 2]
    with pytest.raises(BadInput, match="s of speech over a tracked mouth"):
        estimate_sync(track, frame_times(track), brief)
    blind = replace(track, confidence=np.zeros_like(track.confidence))
    with pytest.raises(BadInput, match="no usable face"):
        estimate_sync(blind, frame_times(track), audio)


@pytest.mark.slow
def test_the_command_prints_a_line_writes_json_and_draws(
    demo_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = ["--json", str(tmp_path / "s.json"), "--plot", str(tmp_path / "s.png")]
    assert cli.run(["sync", str(demo_clip), "--frames", "0:110", *written]) == 0
    line = capsys.readouterr().out.strip()
    values = json.loads((tmp_path / "s.json").read_text())
    assert values["found"] and values["confidence"] >= FOUND_CONFIDENCE and abs(values["offset_ms"]) <= 20
    assert f"by {abs(values['offset_ms'])} ms" in line and "confidence" in line and "\n" not in line
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    assert cli.run(["sync", str(demo_clip), "--frames", "0:15"]) == 2
    assert "s of speech over a tracked mouth; expected 1 s or more" in capsys.readouterr().err


@pytest.mark.slow
def test_who_pairs_audio_with_frames_is_told_what_to_use(demo_clip: Path) -> None:
    track = cached_track(demo_clip)[0]
    offset, line = trusted_offset(demo_clip, track)
    assert offset is not None and abs(offset) < 0.02
    assert line.endswith("; audio and video are paired with this offset")
    offset, line = trusted_offset(demo_clip, track.span(track.frames.__class__(0, 15)))
    assert offset is None and line.endswith("; audio and video are paired without an offset")


@pytest.mark.slow
def test_a_finished_movie_is_measured_into_its_report(demo_clip: Path, tmp_path: Path) -> None:
    movie = tmp_path / "finished.mp4"
    movie.write_bytes(demo_clip.read_bytes())
    report = DubReport(demo_clip.name, str(movie), 125, 125, (), True, 0.0, 1.0, 125.0, {}, 0.0)
    measure_sync(report, movie, None)
    written = json.loads(report_path(movie).read_text())
    assert written["sync"]["found"] and written["sync"]["offset_ms"] == pytest.approx(
        1000 * estimate_sync(cached_track(movie)[0], np.arange(125) / 25, read_audio(movie)).av_offset_s,
        abs=2,
    )
    assert (
        written["notes"][0].startswith("sync of the finished movie: ") and "confidence" in written["notes"][0]
    )


# ---- clips that are no speech ------------------------------------------------------------------------------


@pytest.mark.slow
def test_clips_without_sound_or_speech_end_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = portrait_pictures(12)
    mute = write_movie(tmp_path / "mute.mkv", pictures)
    hum = write_movie(tmp_path / "hum.mkv", pictures, audio=write_wav(tmp_path / "hum.wav", 1.2))
    wall = write_movie(
        tmp_path / "wall.mkv", [np.full((376, 320, 3), 90, np.uint8)] * 5, audio=tmp_path / "hum.wav"
    )
    for clip, reason in (
        (mute, "no audio stream"),
        (hum, "s of speech over a tracked mouth"),
        (wall, "no face in 5 frames"),
    ):
        assert cli.run(["sync", str(clip)]) == 2
        errors = capsys.readouterr().err.strip().splitlines()
        assert reason in errors[-1] and errors[-1].startswith("vdub: ")


@pytest.mark.slow
def test_a_dub_whose_dialogue_is_no_speech_says_that_it_was_not_measured(
    talking: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hum, output = write_wav(tmp_path / "hum.wav", 1.6), tmp_path / "out.mkv"
    args = [
        "dub",
        str(talking),
        "--dialogue",
        str(hum),
        "--actor",
        str(flat_actor),
        "-o",
        str(output),
        "--check-sync",
    ]
    assert cli.run(args) == 0
    written = json.loads(report_path(output).read_text())
    assert written["sync"] is None and written["notes"][-1].startswith(
        "sync of the finished movie cannot be measured: "
    )
    assert written["notes"][-1] in capsys.readouterr().out


# ---- parts -------------------------------------------------------------------------------------------------


def test_series_are_compared_where_both_count() -> None:
    random, reach = np.random.default_rng(1), 10
    predicted = random.normal(size=(300 + 2 * reach, 2))
    tracked = predicted[reach - 4 : reach - 4 + 300].copy()  # the picture comes 4 steps after its sound
    is_tracked, has_audio = np.ones(300, bool), np.ones(320, bool)
    curve = offset_correlations(tracked, predicted, is_tracked, has_audio)
    assert len(curve) == 21 and int(curve.argmax()) == reach + 4 and curve.max() == pytest.approx(1)
    is_tracked[:100], has_audio[250:] = False, False
    tracked[:100], predicted[250:] = 0, 0
    assert offset_correlations(tracked, predicted, is_tracked, has_audio).max() == pytest.approx(1)
    assert not offset_correlations(np.zeros_like(tracked), predicted, is_tracked, has_audio).any()


def test_a_peak_between_two_steps_is_found() -> None:
    x = np.arange(20.0)
    assert peak(1 - 0.01 * (x - 7.3) ** 2) == pytest.approx((7.3, 1.0))
    assert peak(x) == (19.0, 19.0)


def test_the_spread_of_unrelated_series_falls_with_their_length() -> None:
    random = np.random.default_rng(2)
    short, long = (
        unrelated_spread(random.normal(size=(n, 1)), random.normal(size=(n, 1))) for n in (100, 10_000)
    )
    assert short == pytest.approx(0.1, rel=0.2) and long == pytest.approx(0.01, rel=0.1)
    assert unrelated_spread(np.zeros((50, 1)), np.ones((50, 1))) == 0


def test_speech_passes_the_band_and_drift_does_not() -> None:
    t = np.arange(500) / STEP_RATE
    middle = slice(150, 350)
    passed = band_pass(np.column_stack([np.sin(2 * np.pi * 4 * t), 5 * t]))[middle]
    assert passed[:, 0] == pytest.approx(np.sin(2 * np.pi * 4 * t)[middle], abs=0.05)
    assert np.abs(passed[:, 1]).max() < 0.05


def test_confidence_grows_with_the_score() -> None:
    assert confidence_of(-5) == pytest.approx(0, abs=1e-6) and confidence_of(12) == pytest.approx(1, abs=1e-6)
    assert confidence_of(2) < 0.9 < confidence_of(3) < FOUND_CONFIDENCE < confidence_of(4)


def test_audio_is_moved_to_its_frames() -> None:
    audio = np.arange(1, 9, dtype=np.float32)
    assert shifted_sound(audio, 2 / 8, 8).tolist() == [0, 0, *range(1, 9)]
    assert shifted_sound(audio, -3 / 8, 8).tolist() == [4, 5, 6, 7, 8]
    assert shifted_sound(audio, 0.0, 8).tolist() == audio.tolist()


def sync_of(av_offset_s: float, confidence: float) -> Sync:
    none = np.zeros(1)
    return Sync(av_offset_s, confidence, 0.5, 9.0, Fraction(25), none, none, none, none, none)


def test_a_summary_says_whether_audio_leads_or_lags() -> None:
    assert sync_of(0.08, 0.999).summary() == "audio leads video by 80 ms (2.0 frames), confidence 0.999"
    assert sync_of(-0.1, 0.999).summary() == "audio lags video by 100 ms (2.5 frames), confidence 0.999"
    assert sync_of(0.3, 0.5).summary() == (
        "A/V offset not found: confidence 0.500, expected 0.99 or more"
        " (best guess: audio leads video by 300 ms (7.5 frames))"
    )


def test_the_report_has_units_and_a_sign() -> None:
    assert sync_of(-0.1, 0.999).as_dict() == {
        "found": True,
        "offset_ms": -100,
        "offset_frames": -2.5,
        "rate": "25",
        "confidence": 0.999,
        "correlation": 0.5,
        "speech_seconds": 9.0,
    }

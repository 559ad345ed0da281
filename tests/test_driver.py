"""`vdub dub --driver`: the demo's clip drives the mouth of another one."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import portrait_pictures, write_movie, write_wav

from visualdub.actor import Actor, load_actor
from visualdub.cli import run
from visualdub.dub import (
    Output,
    TrackedShot,
    dialogue_performance,
    dub_shot,
    shot_audio,
    track_driver,
    track_shot,
)
from visualdub.edit import DialogueCue, plan_shot
from visualdub.face.tracker import cached_track
from visualdub.measure.drawn_occluders import microphone_sprite, paste
from visualdub.measure.mouth import correlation
from visualdub.media.audio import read_audio
from visualdub.records import read_provenance
from visualdub.speech.activity import tracked_opening
from visualdub.speech.performance import AS_PREDICTED, PerformanceAdjustments
from visualdub.speech.retarget import DrivenMouth, DriverMouth, lip_gap
from visualdub.storage import content_hash
from visualdub.timing import FrameRange


@pytest.fixture(scope="module")
def driver(demo_clip: Path) -> DriverMouth:
    return track_driver(DialogueCue(demo_clip), Fraction(2))


@pytest.fixture(scope="module")
def scene(talking: Path, flat_actor: Path) -> tuple[TrackedShot, Actor]:
    return track_shot(plan_shot(talking)), load_actor(flat_actor)


def spoken(
    scene: tuple[TrackedShot, Actor], cue: DialogueCue, mouth: DrivenMouth
) -> tuple[np.ndarray, list[str]]:
    """(n,) how far apart the lips of the scene's actor are, and the notes."""
    tracked, actor = scene
    tracked = replace(tracked, shot=tracked.shot.with_cue(cue))
    done, notes = dialogue_performance(tracked, shot_audio(tracked.shot), actor, mouth)
    values = np.column_stack([done.jaw, done.expression[:, : tracked.track.model.n_speech]])
    return lip_gap(tracked.track.model, tracked.track.identity, values), notes


def test_the_mouth_does_what_the_driver_does(
    scene: tuple[TrackedShot, Actor], demo_clip: Path, driver: DriverMouth
) -> None:
    driving = tracked_opening(cached_track(demo_clip)[0])
    gap, notes = spoken(scene, DialogueCue(demo_clip), DrivenMouth(driver, AS_PREDICTED))
    assert correlation(driving[:40], gap) > 0.97
    assert notes[:2] == ["mouth: driven by counting.mp4", "counting.mp4 drives the mouth in 40 of 40 frames"]
    later = DrivenMouth(driver, PerformanceAdjustments(gain=1.0, offset_ms=80))
    moved, _ = spoken(scene, DialogueCue(demo_clip), later)
    assert moved[8:] == pytest.approx(gap[6:-2], abs=1e-6)
    cue = DialogueCue(demo_clip, in_point_s=Fraction(20, 25))
    cut, _ = spoken(scene, cue, DrivenMouth(driver, AS_PREDICTED))
    assert correlation(driving[20:60], cut) > 0.97


def test_what_differs_in_length_is_said(
    scene: tuple[TrackedShot, Actor], driver: DriverMouth, tmp_path: Path
) -> None:
    wav = write_wav(tmp_path / "short.wav", 1.0)
    _, notes = spoken(scene, DialogueCue(wav), DrivenMouth(replace(driver, people=2), AS_PREDICTED))
    assert [n for n in notes if "long" in n] == [
        "short.wav is 1.00 s long and counting.mp4 5.00 s; expected one length, the mouth and the sound start"
        " together"
    ]
    assert "counting.mp4 shows 2 people; --driver-face chooses the one who drives" in notes


def test_only_what_is_played_is_tracked(demo_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory does not grow with a driver's movie of an hour."""
    monkeypatch.setattr("visualdub.dub.STATISTICS_S", 0.4)
    mouth = track_driver(DialogueCue(demo_clip, in_point_s=Fraction(2)), Fraction(1))
    assert (mouth.times_s[0], len(mouth), mouth.movie_s) == (1.6, 45, 5.0)


@pytest.mark.slow
def test_the_sound_decides_where_a_microphone_covers_the_drivers_mouth(tmp_path: Path) -> None:
    pictures, sprite = portrait_pictures(32), microphone_sprite(70)
    for i in range(12, 20):
        paste(pictures[i], sprite, 130 + 3 * np.sin(i), 167)
    movie = write_movie(tmp_path / "voice.mkv", pictures)
    visible = track_driver(DialogueCue(movie), Fraction(1)).visible
    assert not visible[13:19].any() and visible[:8].all() and visible[24:].all()


# ---- the command -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_dub_by_a_driver(talking: Path, flat_actor: Path, demo_clip: Path, tmp_path: Path) -> None:
    out, curves = tmp_path / "out.mkv", tmp_path / "curves.json"
    common = ["--actor", flat_actor, "--frames", "0:12", "--no-watermark"]
    args = ["dub", talking, "--driver", demo_clip, *common, "-o", out, "--performance", curves]
    assert run([str(a) for a in args]) == 0
    record = read_provenance(out)
    assert (record.driver, record.driver_hash) == ("counting.mp4", content_hash(demo_clip))
    assert (record.dialogue, record.dialogue_hash) == (record.driver, record.driver_hash)
    report = json.loads((tmp_path / "out.mkv.report.json").read_text())
    assert "counting.mp4 drives the mouth in 12 of 12 frames" in report["notes"]
    assert (report["driver"], report["driver_hash"]) == (record.driver, record.driver_hash)
    values = json.loads(curves.read_text())
    assert values["mouth"] == "driven by counting.mp4"
    jaw = [row["jaw"] for row in values["curves"]]
    assert len(set(jaw)) > 6
    heard, said = read_audio(out), read_audio(demo_clip)[: round(0.48 * 16000)]
    assert correlation(heard[:7000], said[:7000]) > 0.99


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "nothing is said; expected --dialogue WAV or --driver MOVIE"),
        (["--driver-face", "1"], "--driver-face 1 chooses a person of --driver, which is not given"),
        (["--driver", "DEMO", "--use-performance", "WAV"], "both move the mouth; expected one of them"),
        (
            ["--driver", "DEMO", "--dialogue", "WAV", "--dialogue", "CLIP"],
            "speaks one language and 2 are given",
        ),
        (["--driver", "DEMO", "--driver-face", "3"], "--driver: --driver-face 3: counting.mp4 has 1 faces"),
        (["--driver", "WAV"], "has no video stream"),
        (["--driver", "gone.mp4"], "gone.mp4"),
        (["--driver", "SILENT"], "silent.mkv has no sound; expected a movie with the voice, or --dialogue"),
        (["--driver", "FACELESS", "--dialogue", "WAV"], "--driver: faceless.mkv: no face in 5 frames"),
        (["--driver", "DEMO", "--performance", "DEMO"], "a source is never written to"),
    ],
)
def test_what_cannot_be_driven_is_refused_before_the_work(
    options: list[str],
    said: str,
    talking: Path,
    flat_actor: Path,
    demo_clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = {"DEMO": demo_clip, "CLIP": talking, "WAV": write_wav(tmp_path / "new.wav", 0.5)}
    if "SILENT" in options:
        given["SILENT"] = write_movie(tmp_path / "silent.mkv", portrait_pictures(5))
    if "FACELESS" in options:
        given["FACELESS"] = write_movie(tmp_path / "faceless.mkv", [np.full((200, 200, 3), 90, np.uint8)] * 5)
    out = tmp_path / "out.mkv"
    args = ["dub", talking, "--actor", flat_actor, "-o", out, *(given.get(o, o) for o in options)]
    assert run([str(a) for a in args]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vdub: ")]
    assert len(lines) == 1 and said in lines[0]
    assert not out.exists()


def test_an_output_over_the_driver_is_refused(
    scene: tuple[TrackedShot, Actor], driver: DriverMouth, demo_clip: Path, tmp_path: Path
) -> None:
    tracked, actor = scene
    wav = write_wav(tmp_path / "new.wav", 0.5)
    with pytest.raises(ValueError, match="a source is never written to"):
        dub_shot(tracked, wav, actor, Output(demo_clip), mouth=DrivenMouth(driver, AS_PREDICTED))
    assert FrameRange(0, 40) == tracked.track.frames

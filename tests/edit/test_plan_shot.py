"""Shots are planned from facts alone; cues lie to the sample."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import write_wav

from visualdub.dub import AUDIO_RATE, shot_audio, soundtrack, track_shot
from visualdub.edit import DialogueCue, plan_shot
from visualdub.errors import BadInput, MediaError
from visualdub.face import tracker
from visualdub.media.audio import read_audio
from visualdub.timing import FrameRange


def test_planning_reads_facts_and_no_frames(talking: Path) -> None:
    shot = plan_shot(talking)
    assert shot.frames == FrameRange(0, shot.info.frame_count) and shot.retime == 1 and shot.cues == ()
    part = plan_shot(talking, FrameRange(10, 20))
    assert part.start_s == 10 / part.rate and part.part.frame_count == 10
    assert part.trim(FrameRange(12, 13)).frames == FrameRange(12, 13)
    with pytest.raises(BadInput, match="frames 9:12 were asked for; the shot is 10:20"):
        part.trim(FrameRange(9, 12))
    with pytest.raises(BadInput, match="runs past its end"):
        plan_shot(talking, FrameRange(0, 10_000))
    with pytest.raises(MediaError, match="no such file"):
        plan_shot(talking.with_name("none.mp4"))


def test_only_the_shot_and_its_handles_are_tracked(
    talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUALDUB_CACHE", str(tmp_path))
    tracked: list[FrameRange | None] = []
    real = tracker.track_clip

    def noted(path: Path, frames: FrameRange | None = None, *rest: object, **more: object) -> object:
        tracked.append(frames)
        return real(path, frames, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(tracker, "track_clip", noted)
    shot = plan_shot(talking, FrameRange(2, 4))
    rate = int(-(-shot.rate // 1))
    expected = FrameRange(0, min(shot.info.frame_count, 4 + rate))
    assert shot.tracked == expected
    assert track_shot(shot).track.frames == FrameRange(2, 4) and tracked == [expected]
    assert track_shot(shot).from_cache and tracked == [expected]


def test_a_cue_lies_in_the_shot_to_the_sample(talking: Path, tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "new.wav", 0.5)
    recording, shot = read_audio(wav, AUDIO_RATE), plan_shot(talking)
    assert np.array_equal(shot_audio(shot.with_cue(DialogueCue(wav))), recording)
    sample = Fraction(1, AUDIO_RATE)
    cue = DialogueCue(wav, in_point_s=7 * sample, place_s=3 * sample, duration_s=100 * sample)
    audio = shot_audio(shot.with_cue(cue))
    assert len(audio) == 103 and not audio[:3].any() and np.array_equal(audio[3:], recording[7:107])
    early = shot_audio(shot.with_cue(DialogueCue(wav, place_s=-5 * sample)))
    assert np.array_equal(early, recording[5:])
    found = soundtrack(shot.with_cue(cue))
    assert found is not None and found.path == wav and found.start == 4 * sample
    with pytest.raises(BadInput, match="no dialogue cue"):
        DialogueCue(wav, in_point_s=Fraction(-1))
    with pytest.raises(BadInput, match="2 cues in one shot"):
        soundtrack(plan_shot(talking, cues=(cue, cue)))

"""A planned edit is dubbed shot by shot, in place, and resumes where it was left."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import planes_of, portrait_pictures, write_movie
from otio_text import clip, gap, media, span, timeline, track, warp, write
from scipy.io import wavfile

from visualdub.cli import run
from visualdub.dub import soundtrack
from visualdub.edit.dubbing import cue_samples, write_dialogue
from visualdub.edit.plan import original_key
from visualdub.edit.reading import read_edit
from visualdub.edit.shot import DialogueCue, plan_shot
from visualdub.media.audio import read_audio
from visualdub.records import read_provenance
from visualdub.timing import FrameRange

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")

RATE, WAV_RATE = 25.0, 48000


def clicks_at(path: Path, samples: list[int], seconds: float = 3.0, until: int | None = None) -> Path:
    """A recording of a quiet tone, silent from sample `until` on, with clicks at `samples`."""
    t = np.arange(round(seconds * WAV_RATE)) / WAV_RATE
    sound = 0.2 * np.sin(2 * np.pi * 150 * t)
    sound[until or len(t) :] = 0.0
    sound[samples] = 0.95
    wavfile.write(path, WAV_RATE, (sound * 32767).astype(np.int16))
    return path


def heard(path: Path) -> list[int]:
    return [int(i) for i in np.flatnonzero(read_audio(path, WAV_RATE) > 0.8)]


def shot(name: str, movie: Path, start: float, length: float, **more: Any) -> dict[str, Any]:
    return clip(name, start, length, RATE, reference=media(str(movie), 0, 40, RATE), **more)


def cut(folder: Path, *shots: dict[str, Any], clicks: list[int], until: int | None = None) -> Path:
    words = clicks_at(folder / "new.wav", clicks, until=until)
    sound = clip("new", 0, 75, RATE, reference=media(str(words), 0, 75, RATE))
    return write(folder / "cut.otio", timeline(track(*shots), track(sound, kind="Audio", name="new")))


def test_an_edit_is_dubbed_in_place_and_resumes(
    talking: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clicks = [0, 10 * 1920 - 1, 12 * 1920, 20 * 1920 - 1]
    lost = shot("lost", tmp_path / "no.mov", 0, 5)
    shots = shot("a", talking, 5, 10), gap(2, RATE), shot("b", talking, 20, 8), lost
    edit = cut(tmp_path, *shots, clicks=clicks)
    arguments = ["dub", str(edit), "-o", str(tmp_path / "out"), "--actor", str(flat_actor)]
    assert run([*arguments, "--dialogue-track", "new"]) == 0
    said = capsys.readouterr().out
    assert "left alone: 3 lost: its media no.mov are missing" in said and "3 clips, 2 dubbed" in said
    dubbed = read_edit(tmp_path / "out" / "cut.otio")
    before = read_edit(edit)
    assert [(c.start, c.length, c.shown) for c in dubbed.clips] == [
        (c.start, c.length, c.shown) for c in before.clips
    ]
    for number, (first, count, at) in enumerate(((5, 10, 0), (20, 8, 12))):
        reference = dubbed.clips[number].reference()
        assert reference is not None and original_key(dubbed.clips[number]) == "DEFAULT_MEDIA"
        movie = Path(reference["url"])
        assert reference["avail"] == [first, count, RATE]
        drawn, plate = planes_of(movie), planes_of(talking, FrameRange(first, first + count))
        assert len(drawn) == count and all((d[0] != p[0]).any() for d, p in zip(drawn, plate, strict=True))
        assert all((d[0][:40] == p[0][:40]).all() for d, p in zip(drawn, plate, strict=True))
        own = [c - at * 1920 for c in clicks if at * 1920 <= c < (at + count) * 1920]
        assert heard(movie) == own and len(own) == 2
    stamp = movie.stat().st_mtime_ns
    assert run([*arguments, "--dialogue-track", "new"]) == 0 and movie.stat().st_mtime_ns == stamp
    report = json.loads((tmp_path / "out" / "cut.otio.report.json").read_text())
    assert [s["action"] for s in report["shots"]] == ["dub", "dub", "keep"]
    assert run(["edit", "undo", str(tmp_path / "out" / "cut.otio")]) == 0
    assert (tmp_path / "out" / "cut.otio").read_bytes() == edit.read_bytes()


def test_a_reverse_is_baked_on_a_track_above(talking: Path, flat_actor: Path, tmp_path: Path) -> None:
    marker = {
        **{"OTIO_SCHEMA": "Marker.2", "name": "", "color": "RED", "comment": ""},
        **{"marked_range": span(11, 2, RATE), "metadata": {"visualdub": {"skip": True}}},
    }
    first = shot("back", talking, 10, 6, effects=[warp(-1)], markers=[marker])
    still = shot("held", talking, 8, 8, effects=[warp(0)])
    edit = cut(tmp_path, first, still, clicks=[0, 6 * 1920 - 1], until=6 * 1920)
    arguments = ["dub", str(edit), "-o", str(tmp_path / "out"), "--actor", str(flat_actor)]
    assert run([*arguments, "--dialogue-track", "new"]) == 0
    report = json.loads((tmp_path / "out" / "cut.otio.report.json").read_text())
    assert [s["action"] for s in report["shots"]] == ["bake", "keep"]
    assert "neither the dialogue nor the actor speaks" in report["shots"][1]["reason"]
    (baked,) = (c for c in read_edit(tmp_path / "out" / "cut.otio").clips if c.meta.get("baked"))
    assert (baked.track, baked.start, baked.length, baked.effects) == ("V2", 0, 6, ())
    reference = baked.reference()
    assert reference is not None
    movie = Path(reference["url"])
    plates = [planes_of(talking, FrameRange(n, n + 1))[0] for n in (15, 14, 13, 12, 11, 10)]
    for k, (drawn, plate) in enumerate(zip(planes_of(movie), plates, strict=True)):
        assert (drawn[0][:40] == plate[0][:40]).all()
        assert (drawn[0] != plate[0]).any() == (k not in (3, 4)), k  # source frames 12 and 11 are marked
    assert heard(movie) == [0, 6 * 1920 - 1]


def test_a_mouth_is_held_still_where_dialogue_of_an_earlier_shot_is_heard(
    talking: Path, flat_actor: Path, tmp_path: Path
) -> None:
    edit = cut(tmp_path, shot("a", talking, 5, 5), shot("b", talking, 20, 6), clicks=[0, 7 * 1920])
    arguments = ["dub", str(edit), "-o", str(tmp_path / "out"), "--actor", str(flat_actor)]
    assert run([*arguments, "--dialogue-track", "new", "--longer", "hold"]) == 0
    report = json.loads((tmp_path / "out" / "cut.otio.report.json").read_text())
    assert [(s["action"], s["drawn"]) for s in report["shots"]] == [("dub", 5), ("dub", 6)]
    assert heard(Path(report["shots"][0]["output"])) == [0]
    assert not read_audio(Path(report["shots"][1]["output"]), WAV_RATE).any()


def test_two_people_of_a_shot_speak_and_both_are_heard(
    talking: Path, flat_actor: Path, tmp_path: Path
) -> None:
    alone = portrait_pictures(8)
    movie = write_movie(tmp_path / "pair.mkv", [np.ascontiguousarray(np.hstack([a, a])) for a in alone])
    words = [clicks_at(tmp_path / f"{name}.wav", [at]) for name, at in (("A", 1000), ("B", 9000))]
    sounds = [
        track(clip("w", 0, 8, RATE, reference=media(str(w), 0, 75, RATE)), kind="Audio", name=w.stem)
        for w in words
    ]
    for one in sounds:
        one["metadata"] = {"visualdub": {"role": "dub"}}
    edit = write(tmp_path / "two.otio", timeline(track(shot("pair", movie, 0, 8)), *sounds))
    other = shutil.copytree(flat_actor, tmp_path / "other.actor")
    places = ((flat_actor, 160, "A"), (other, 480, "B"))
    cast = "".join(f'[[cast]]\nactor = "{a}"\nperson = "{x},150"\ndialogue = "{d}"\n' for a, x, d in places)
    (tmp_path / "cast.toml").write_text(cast)
    out = tmp_path / "out"
    arguments = ["dub", str(edit), "-o", str(out), "--cast", str(tmp_path / "cast.toml"), "--codec", "ffv1"]
    assert run([*arguments, "--dialogue-track", "dub"]) == 0
    dubbed = out / "shots" / "0001_pair.mkv"
    assert heard(dubbed) == [1000, 9000]
    for drawn, plate in zip(planes_of(dubbed), planes_of(movie), strict=True):
        changed = drawn[0] != plate[0]
        assert changed[:, :320].any() and changed[:, 320:].any() and not changed[:40].any()
    people = read_provenance(dubbed).people
    assert [(p.dialogue, p.drawn) for p in people] == [("0001_pair_0.wav", 8), ("0001_pair_1.wav", 8)]


def test_a_shot_at_another_speed_is_heard_by_the_clock_of_the_edit(talking: Path) -> None:
    whole = plan_shot(talking, FrameRange(0, 20))
    slowed = replace(whole, retime=Fraction(4, 5), cues=(DialogueCue(talking),))
    assert slowed.played.rate == 20 and slowed.part.rate == 25 and soundtrack(slowed) is None
    assert slowed.played.frame_times()[-1] == pytest.approx(19 / 20)


def test_cues_lie_in_a_shot_to_the_sample(tmp_path: Path) -> None:
    recording = clicks_at(tmp_path / "a.wav", [1000, 4000])
    sample = Fraction(1, WAV_RATE)
    cues = [
        DialogueCue(recording, 990 * sample, 100 * sample, 20 * sample),
        DialogueCue(recording, 3990 * sample, 300 * sample, 5 * sample),
    ]
    write_dialogue(cues, 500 * sample, tmp_path / "shot.wav")
    rate, samples = wavfile.read(tmp_path / "shot.wav")
    assert rate == WAV_RATE and len(samples) == 500
    assert list(np.flatnonzero(samples > 0.8)) == [110] and not samples[305:].any()
    assert len(cue_samples(DialogueCue(recording, Fraction(29, 10)), WAV_RATE, 9000)) == 4800


def test_what_only_clips_or_only_edits_take_is_refused(
    talking: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit = cut(tmp_path, shot("a", talking, 5, 10), clicks=[0])
    here, out = str(edit), str(tmp_path / "o")
    cases = {
        "is an edit, which --dialogue is not for": [
            str(edit),
            "--dialogue",
            str(tmp_path / "new.wav"),
            "-o",
            str(tmp_path / "o"),
        ],
        "nowhere to write to; expected -o DIR": [
            str(edit),
            "--dialogue-track",
            "1",
            "--actor",
            str(flat_actor),
        ],
        "has no clip that can be dubbed: nobody speaks in it": [here, "-o", out],
        "is no edit, which --cast is for": [str(talking), "--cast", "x.toml", "-o", str(tmp_path / "o.mkv")],
        "--longer never is not known": [str(edit), "--plan", "--longer", "never"],
    }
    for said, arguments in cases.items():
        assert run(["dub", *arguments]) == 2
        assert said in capsys.readouterr().err, said

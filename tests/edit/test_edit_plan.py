"""A plan names for every clip what becomes of it, and places dialogue to the sample."""

from __future__ import annotations

import struct
import wave
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from otio_text import clip, gap, item, media, span, timeline, track, transition, warp, write

from visualdub.edit.cast import Cast, Role, read_cast
from visualdub.edit.dialogue import Line, folder_lines, track_lines
from visualdub.edit.media import MediaFinder, name_of, path_of, unpack
from visualdub.edit.plan import BAKE, DUB, KEEP, EditPlan, PlanOptions, plan_edit
from visualdub.edit.reading import read_edit
from visualdub.edit.request import EditRequest, EditWords, EditWritten, plan_request, unpacked
from visualdub.edit.wav import wav_facts
from visualdub.errors import BadInput
from visualdub.timing import FrameRange

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")

RATE = 25.0
ACTOR = Cast(actor="anna.actor")


def wav(path: Path, seconds: float = 2.0, rate: int = 48000) -> Path:
    with wave.open(str(path), "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(rate)
        f.writeframes(bytes(2 * round(seconds * rate)))
    return path


def shot(name: str, movie: Path, start: float, length: float, **more: Any) -> dict[str, Any]:
    return clip(name, start, length, RATE, reference=media(str(movie), 0, 125, RATE), **more)


def sound(path: Path, start: float, length: float, rate: float = RATE) -> dict[str, Any]:
    return clip(path.name, start, length, rate, reference=media(str(path), 0, 10 * rate, rate))


def plan(tmp_path: Path, *tracks: dict[str, Any], cast: Cast = ACTOR, policy: str = "next-shot") -> EditPlan:
    edit = read_edit(write(tmp_path / "a.otio", timeline(*tracks)))
    lines, notes = track_lines(edit, "new") if edit.sound else ([], [])
    return plan_edit(edit, MediaFinder(edit.path), lines, PlanOptions(cast, policy), notes)


def test_a_cue_reaches_every_shot_that_it_is_heard_over(tmp_path: Path, demo_clip: Path) -> None:
    voice = wav(tmp_path / "fr.wav", 4)
    words = track(gap(10, RATE), sound(voice, 5, 40), kind="Audio", name="new")
    planned = plan(tmp_path, track(shot("a", demo_clip, 0, 25), shot("b", demo_clip, 50, 25)), words)
    first, second = planned.shots
    assert [s.action for s in planned.shots] == [DUB, DUB] and first.frames == FrameRange(0, 25)
    (cue,) = first.speaking[0].cues
    assert (cue.in_point_s, cue.place_s, cue.duration_s) == (Fraction(1, 5), Fraction(2, 5), Fraction(3, 5))
    (cue,) = second.speaking[0].cues
    assert (cue.in_point_s, cue.place_s, cue.duration_s) == (Fraction(4, 5), 0, 1)
    assert "longer than the shot; the rest goes on in the next shot" in first.notes[-1]
    cut = plan(
        tmp_path, track(shot("a", demo_clip, 0, 25), shot("b", demo_clip, 50, 25)), words, policy="cut"
    )
    assert [s.action for s in cut.shots] == [DUB, KEEP] and "moves no mouth" in cut.shots[0].notes[-1]
    pair = track(shot("a", demo_clip, 0, 25), shot("b", demo_clip, 50, 25))
    held = plan(tmp_path, pair, words, policy="hold")
    assert [s.action for s in held.shots] == [DUB, DUB] and held.shots[1].reason == ""
    assert [len(s.speaking[0].cues) for s in held.shots] == [1, 0]
    assert "fr.wav is heard on from an earlier shot, and no mouth says it" in held.shots[1].notes
    late = track(gap(40, RATE), sound(voice, 5, 40), kind="Audio", name="new")
    other = plan(tmp_path, pair, late, policy="hold")
    assert [s.action for s in other.shots] == [KEEP, DUB] and len(other.shots[1].speaking[0].cues) == 1


def test_every_clip_that_is_kept_says_why(tmp_path: Path, demo_clip: Path) -> None:
    voice = wav(tmp_path / "fr.wav", 9)
    generator = item("GeneratorReference.1", generator_kind="SMPTEBars", parameters={}, available_range=None)
    bare = {"OTIO_SCHEMA": "TimeEffect.1", "metadata": {}, "name": "", "effect_name": ""}
    mark = {"visualdub": {"skip": True}}
    kept = {
        "it is disabled": shot("off", demo_clip, 0, 5, enabled=False),
        "it is marked to be left alone": shot("reaction", demo_clip, 0, 5, metadata=mark),
        "its media nowhere.mov are missing": shot("lost", Path("/no/where/nowhere.mov"), 0, 5),
        "it is a SMPTEBars, not footage": clip("bars", 0, 5, RATE, reference=generator),
        "x.png is a still picture": shot("still", tmp_path / "x.png", 0, 5),
        "its active media reference is missing": shot(
            "key", demo_clip, 0, 5, active_media_reference_key="no"
        ),
        "its speed ramp has no key frames in the file": shot("ramp", demo_clip, 0, 5, effects=[bare]),
    }
    words = track(sound(voice, 0, 200), kind="Audio", name="new")
    planned = plan(tmp_path, track(*kept.values(), shot("good", demo_clip, 0, 5)), words)
    assert [s.reason for s in planned.shots[:-1]] == list(kept) and planned.shots[-1].action == DUB
    silent = plan(tmp_path, track(shot("good", demo_clip, 0, 5)))
    assert silent.shots[0].reason == "nobody speaks in it"
    nobody = plan(tmp_path, track(shot("good", demo_clip, 0, 5)), words, cast=Cast())
    assert "nobody says who speaks" in nobody.shots[0].reason


def test_retimes_transitions_and_what_is_hidden_shape_the_frames(tmp_path: Path, demo_clip: Path) -> None:
    voice = wav(tmp_path / "fr.wav", 9)
    words = track(sound(voice, 0, 200), kind="Audio", name="new")
    marker = {
        **{"OTIO_SCHEMA": "Marker.2", "name": "", "color": "RED", "comment": ""},
        **{"marked_range": span(42, 3, RATE), "metadata": {"visualdub": {"skip": True}}},
    }
    early = {**marker, "marked_range": span(26, 3, RATE)}
    low = track(
        shot("slow", demo_clip, 10, 60, effects=[warp(0.8)]),
        shot("back", demo_clip, 10, 20, effects=[warp(-1)], markers=[early]),
        transition(2, 3, RATE),
        shot("marked", demo_clip, 40, 20, markers=[marker]),
    )
    tops = shot("top", demo_clip, 0, 40), gap(15, RATE), shot("head", demo_clip, 0, 14)
    planned = {s.clip.name: s for s in plan(tmp_path, low, track(gap(5, RATE), *tops), words).shots}
    assert planned["slow"].frames == FrameRange(10, 58) and planned["slow"].shot.retime == Fraction(4, 5)
    assert planned["slow"].skipped == (FrameRange(23, 36),)  # the frames 17 to 32 of the edit
    assert planned["back"].action == BAKE and planned["back"].timeline == (60, 83)
    assert planned["back"].frames == FrameRange(7, 30)
    # of its movie, whose frame k shows source frame 29 - k: 0 and 1 are hidden, 1 to 3 marked
    assert planned["back"].skipped == (FrameRange(0, 4),)
    assert planned["marked"].frames == FrameRange(38, 60)
    assert planned["marked"].skipped == (FrameRange(42, 45),)


# ---- where files and recordings are ------------------------------------------------------------------------


def test_paths_are_taken_as_they_are(tmp_path: Path) -> None:
    assert path_of("/a/b#1 50%25.mov", tmp_path) == Path("/a/b#1 50%25.mov")
    assert path_of("media/a.mov", tmp_path) == tmp_path / "media/a.mov"
    assert path_of("file:///a/b%231%20c.mov", tmp_path) == Path("/a/b#1 c.mov")
    assert path_of("file://localhost/a.mov", tmp_path) == Path("/a.mov")
    assert path_of("file:///C:/x/a.mov", tmp_path) == tmp_path / "C:/x/a.mov"
    assert name_of("C:\\x\\a#.mov") == "a#.mov" and name_of("file:///x/a%20b.mov") == "a b.mov"
    with pytest.raises(BadInput, match="are no file"):
        path_of("s3://bucket/a.mov", tmp_path)


def test_moved_media_are_found_by_name(tmp_path: Path, demo_clip: Path) -> None:
    edit = write(tmp_path / "a.otio", timeline(track(shot("a", Path("C:\\old\\COUNTING.mp4"), 0, 5))))
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    (folder / "counting.mp4").symlink_to(demo_clip)
    reference = read_edit(edit).clips[0].reference()
    assert MediaFinder(edit).find(reference).problem == "its media COUNTING.mp4 are missing"
    found = MediaFinder(edit, (tmp_path,)).find(reference)
    assert found.path == folder / "counting.mp4" and found.info is not None and found.note is not None
    (tmp_path / "counting.mp4").symlink_to(demo_clip)
    assert "are there 2 times" in str(MediaFinder(edit, (tmp_path,)).find(reference).problem)


def with_timecode(path: Path, seconds: int, name: str = "") -> Path:
    """`path` with a BWF time reference and an iXML channel name."""
    body = path.read_bytes()
    bext = bytes(338) + struct.pack("<Q", seconds * 48000) + bytes(256)
    ixml = f"<BWFXML><TRACK_LIST><TRACK><NAME>{name}</NAME></TRACK></TRACK_LIST></BWFXML>".encode()
    ixml += b" " * (len(ixml) % 2)
    more = b"bext" + struct.pack("<I", len(bext)) + bext + b"iXML" + struct.pack("<I", len(ixml)) + ixml
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body) - 8 + len(more)) + b"WAVE" + more + body[12:])
    return path


def test_a_folder_is_placed_by_clip_names_and_by_timecode(tmp_path: Path, demo_clip: Path) -> None:
    folder = tmp_path / "lines"
    (folder / "de").mkdir(parents=True)
    wav(folder / "b_fr.wav", 1)
    with_timecode(wav(folder / "wild.wav", 2), 3602, "Anna")
    wav(folder / "stray.wav", 1)
    wav(folder / "de" / "a.wav", 1)
    cut = track(shot("a", demo_clip, 0, 50), shot("b", demo_clip, 50, 25))
    start = {"OTIO_SCHEMA": "RationalTime.1", "rate": RATE, "value": 90000}
    edit = read_edit(write(tmp_path / "a.otio", timeline(cut, start=start)))
    lines, problems = folder_lines(edit, folder, "fr")
    placed = {line.recording.name: (line.start_s, line.end_s, line.track) for line in lines}
    assert placed == {"b_fr.wav": (2, 3, "b_fr"), "wild.wav": (2, 4, "Anna")}
    assert problems == ["the recording stray.wav is left out: no clip has its name and it has no timecode"]
    assert [line.recording.name for line in folder_lines(edit, folder, "de")[0]] == ["a.wav"]
    assert wav_facts(folder / "wild.wav").time_reference == 3602 * 48000
    with pytest.raises(BadInput, match="is no WAV file"):
        wav_facts(write(tmp_path / "x.wav", []))


def test_tracks_are_found_by_name_number_role_and_language(tmp_path: Path) -> None:
    first, second = wav(tmp_path / "1.wav"), wav(tmp_path / "2.wav")
    french, german = ({"visualdub": {"role": "dub", "language": lang}} for lang in ("fr", "de"))
    edit = read_edit(
        write(
            tmp_path / "a.otio",
            timeline(
                track(sound(first, 0, 5), kind="Audio", name="D fr", metadata=french),
                track(sound(second, 0, 5), kind="Audio", name="D de", metadata=german),
            ),
        )
    )

    def names(wanted: str, language: str | None = None) -> list[str]:
        return [line.recording.name for line in track_lines(edit, wanted, language)[0]]

    assert names("D fr") == ["1.wav"] and names("2") == names("A2") == ["2.wav"]
    assert names("dub", "de") == names("D {lang}", "de") == ["2.wav"] and len(names("dub")) == 2
    assert names("D de, D fr,D de") == ["2.wav", "1.wav"]
    for wrong in ("x", "D fr, x"):
        said = r"no dialogue track 'x'; its sound tracks are: A1 'D fr', A2 'D de'"
        with pytest.raises(BadInput, match=said):
            track_lines(edit, wrong)


def test_a_bundle_is_unpacked_inside_its_folder(tmp_path: Path) -> None:
    bundle = tmp_path / "a.otioz"
    with zipfile.ZipFile(bundle, "w") as packed:
        packed.writestr("content.otio", "{}")
        packed.writestr("media/a.mov", "frames")
    unpack(bundle, tmp_path / "out")
    assert (tmp_path / "out/media/a.mov").read_text() == "frames"
    assert not (tmp_path / "out/content.otio").exists()
    with zipfile.ZipFile(bundle, "a") as packed:
        packed.writestr("media/../../b.mov", "frames")
    with pytest.raises(BadInput, match="leads out of its folder"):
        unpack(bundle, tmp_path / "out")


def test_the_dialogue_inside_a_bundle_is_found(tmp_path: Path, demo_clip: Path) -> None:
    voice, movie = (Path("media") / name for name in ("fr.wav", "a.mp4"))
    words = track(gap(10, RATE), sound(voice, 0, 40), kind="Audio", name="new")
    written = write(tmp_path / "plain.otio", timeline(track(shot("a", movie, 0, 50)), words))
    bundle = tmp_path / "in" / "a.otioz"
    bundle.parent.mkdir()
    with zipfile.ZipFile(bundle, "w") as packed:
        packed.write(written, "content.otio")
        packed.write(demo_clip, str(movie))
        packed.write(wav(tmp_path / "fr.wav", 4), str(voice))
    asked = EditRequest(bundle, "anna", EditWords("new"), EditWritten(tmp_path / "out"))
    with unpacked(asked) as seen:  # to be planned alone
        (planned,) = plan_request(seen, find=lambda name: Path(name))
    assert planned.dubbed and not (tmp_path / "out").exists()
    (planned,) = plan_request(asked, find=lambda name: Path(name))
    (one,) = planned.shots
    assert one.action == DUB, one.reason
    assert one.speaking[0].cues[0].recording == tmp_path / "out" / voice


# ---- the cast ----------------------------------------------------------------------------------------------


def test_a_cast_file_says_who_speaks(tmp_path: Path, demo_clip: Path) -> None:
    (tmp_path / "anna.actor").mkdir()
    cast = tmp_path / "cast.toml"
    cast.write_text(
        '[[cast]]\nclip = "TWO*"\nactor = "anna.actor"\nperson = 0\ndialogue = "A"\n'
        '[[cast]]\nclip = "two*"\nactor = "ben"\nperson = "1"\ndialogue = "B"\n'
        '[[cast]]\ntrack = "V2"\ndub = false\n[[cast]]\nclip = "counting.mp4"\nactor = "carl"\n'
    )
    named = {"visualdub": {"actor": "dora", "person": 2}}
    low = track(
        shot("two people", demo_clip, 0, 5),
        shot("x", demo_clip, 0, 5),
        shot("y", demo_clip, 0, 5, metadata=named),
    )
    edit = read_edit(write(tmp_path / "a.otio", timeline(low, track(shot("z", demo_clip, 0, 5)))))
    found, read = read_cast(cast), {c.name: c for c in edit.clips}
    anna = str(tmp_path / "anna.actor")
    assert found.roles(read["two people"]) == [Role(anna, "0", "A"), Role("ben", "1", "B"), Role("carl")]
    assert found.roles(read["x"]) == [Role("carl")] and found.roles(read["y"]) == [Role("dora", "2")]
    assert found.roles(read["z"]) == "the cast file leaves it alone"
    for text, said in (
        ('[[cast]]\nwho = "x"', "has 'who'; expected one of"),
        ("[[cast]]\ndub = 1", "has dub = 1"),
        ("x = 1", "expected \\[\\[cast\\]\\] entries alone"),
        ("[[", "is no cast file"),
    ):
        cast.write_text(text)
        with pytest.raises(BadInput, match=said):
            read_cast(cast)


def test_two_people_hear_their_own_lines_and_overlaps_are_named(tmp_path: Path, demo_clip: Path) -> None:
    voice = wav(tmp_path / "v.wav", 9)
    edit = read_edit(write(tmp_path / "a.otio", timeline(track(shot("a", demo_clip, 0, 50)))))
    lines = [
        Line(voice, Fraction(0), Fraction(0), Fraction(1), "A"),
        Line(voice, Fraction(1), Fraction(1, 2), Fraction(1), "B"),
        Line(voice, Fraction(0), Fraction(3, 4), Fraction(2), "B"),
        Line(voice, Fraction(0), Fraction(7), Fraction(8), "B"),
    ]
    (tmp_path / "cast.toml").write_text(
        '[[cast]]\nactor = "a"\ndialogue = "A"\n[[cast]]\nactor = "b"\ndialogue = "B"\n'
    )
    options = PlanOptions(read_cast(tmp_path / "cast.toml"))
    planned = plan_edit(edit, MediaFinder(edit.path), lines, options)
    (found,) = planned.shots
    assert [(s.role.actor, len(s.cues)) for s in found.speaking] == [("a", 1), ("b", 2)]
    assert found.notes == ("v.wav and v.wav overlap for one face; both move it",)
    assert planned.notes == ("the dialogue v.wav at 00:00:07:00 is heard over no shot that is dubbed",)

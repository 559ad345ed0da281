"""Channels of a recording are somebody's by the names that recorders and mixers write."""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from otio_text import clip, media, timeline, track, write
from scipy.io import wavfile

from visualdub.edit.cast import Cast, Rule
from visualdub.edit.dialogue import Line, track_lines
from visualdub.edit.dubbing import cue_samples
from visualdub.edit.media import MediaFinder
from visualdub.edit.plan import PlanOptions, plan_edit
from visualdub.edit.reading import read_edit
from visualdub.edit.shot import DialogueCue
from visualdub.edit.wav import channels_named, wav_facts
from visualdub.errors import MediaError
from visualdub.media.audio import read_audio

RATE, WAV_RATE = 25.0, 48000
Samples = NDArray[np.int16]


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def write_bwf(path: Path, samples: Samples, *chunks: bytes) -> Path:
    """A WAV with more chunks after its samples. samples: (n, C)."""
    wavfile.write(path, WAV_RATE, samples)
    body = path.read_bytes()[12:] + b"".join(chunks)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body)
    return path


def levels(*values: int, seconds: float = 1.0) -> Samples:
    """A constant on each channel."""
    return np.tile(np.array(values, np.int16), (round(seconds * WAV_RATE), 1))


def ixml(*tracks: tuple[int, str], head: str = "", encoding: str = "utf-8") -> bytes:
    listed = "".join(
        f"<TRACK><CHANNEL_INDEX>9</CHANNEL_INDEX><INTERLEAVE_INDEX>{i}</INTERLEAVE_INDEX><NAME>{n}</NAME></TRACK>"
        for i, n in tracks
    )
    text = f"{head}<BWFXML><TRACK_LIST>{listed}</TRACK_LIST></BWFXML>"
    return chunk(b"iXML", text.encode(encoding))


ADM = """<?xml version="1.0" encoding="UTF-8"?>
<ebuCoreMain xmlns="urn:ebu:metadata-schema:ebuCore_2014"><coreMetadata><format><audioFormatExtended>
<audioContent audioContentID="ACO_1001" audioContentName="Dialogue">
<audioObjectIDRef>AO_1001</audioObjectIDRef></audioContent>
<audioObject audioObjectID="AO_1001" audioObjectName="Ann\u00e9">
<audioTrackUIDRef>ATU_00000002</audioTrackUIDRef></audioObject>
<audioObject audioObjectID="AO_1002" audioObjectName="Ben"><audioTrackUIDRef>ATU_00000001</audioTrackUIDRef>
<audioTrackUIDRef>ATU_00000003</audioTrackUIDRef></audioObject>
</audioFormatExtended></format></coreMetadata></ebuCoreMain>"""


def adm() -> tuple[bytes, bytes]:
    """Channel 1 and 3 are Ben's, channel 2 is Ann\u00e9's."""
    rows = [struct.pack("<H12s14s11sx", i, f"ATU_0000000{i}".encode(), b"AT_1", b"AP_1") for i in (1, 2, 3)]
    return chunk(b"axml", ADM.encode()), chunk(b"chna", struct.pack("<HH", 3, 3) + b"".join(rows))


# ---- names -------------------------------------------------------------------------------------------------


def test_ixml_names_channels_by_their_place_in_the_file(tmp_path: Path) -> None:
    path = write_bwf(tmp_path / "a.wav", levels(1, 2, 3), ixml((2, "Anna"), (3, " Ben ")))
    facts = wav_facts(path)
    assert facts.channels == ((), ("Anna",), ("Ben",)) and facts.samples == WAV_RATE
    assert channels_named(facts.channels, "ANNA") == (1,) and channels_named(facts.channels, "x") == ()
    wide = write_bwf(tmp_path / "b.wav", levels(1, 2), ixml((1, "\u00c5sa"), encoding="utf-16"))
    assert wav_facts(wide).channels == (("\u00c5sa",), ())
    assert wav_facts(write_bwf(tmp_path / "c.wav", levels(1, 2))).channels == ()


def test_adm_names_channels_by_object_and_content(tmp_path: Path) -> None:
    facts = wav_facts(write_bwf(tmp_path / "a.wav", levels(1, 2, 3), *adm()))
    assert facts.channels == (("Ben",), ("Ann\u00e9", "Dialogue"), ("Ben",))
    assert channels_named(facts.channels, "ben") == (0, 2)
    assert channels_named(facts.channels, "dialogue") == channels_named(facts.channels, "ann\u00e9") == (1,)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_never_expanded(tmp_path: Path, encoding: str) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    path = write_bwf(tmp_path / "a.wav", levels(1), ixml((1, "&b;"), head=bomb, encoding=encoding))
    facts = wav_facts(path)
    assert facts.channels == () and facts.problem is not None and "its iXML has a DOCTYPE" in facts.problem
    deep = write_bwf(tmp_path / "b.wav", levels(1), chunk(b"iXML", b"<a>" * 200_000))
    assert "its iXML is no XML" in str(wav_facts(deep).problem)


# ---- what is heard -----------------------------------------------------------------------------------------


def test_a_cue_of_a_channel_is_that_channel_alone(tmp_path: Path) -> None:
    path = write_bwf(tmp_path / "a.wav", levels(3000, -6000, 12000))
    second = DialogueCue(path, channels=(1,))
    assert np.allclose(cue_samples(second, WAV_RATE, 100), -6000 / 32768, atol=1e-4)
    both = cue_samples(DialogueCue(path, channels=(0, 2)), WAV_RATE, 100)
    assert np.allclose(both, 7500 / 32768, atol=1e-4)
    assert np.allclose(read_audio(path, WAV_RATE, (1,)), -6000 / 32768, atol=1e-4)
    with pytest.raises(MediaError, match="has 3 channels; expected a channel 4"):
        cue_samples(DialogueCue(path, channels=(3,)), WAV_RATE, 9)
    with pytest.raises(MediaError, match="has 3 channels; expected a channel 4"):
        read_audio(path, 16000, (3,))


def test_a_role_hears_the_channel_that_has_its_name(tmp_path: Path, demo_clip: Path) -> None:
    pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")
    scene = write_bwf(
        tmp_path / "scene.wav", levels(1, 2, 3, seconds=2), ixml((1, "Boom"), (2, "ANNA"), (3, "Ben"))
    )
    sounds = track(clip("s", 0, 50, RATE, reference=media(str(scene), 0, 50, RATE)), kind="Audio", name="dub")
    picture = clip("a", 0, 50, RATE, reference=media(str(demo_clip), 0, 125, RATE))
    edit = read_edit(write(tmp_path / "a.otio", timeline(track(picture), sounds)))

    def heard(lines: list[Line], *rules: Rule) -> list[tuple[str | None, list[tuple[int, ...]]]]:
        (shot,) = plan_edit(edit, MediaFinder(edit.path), lines, PlanOptions(Cast(rules))).shots
        return [(s.role.actor, [c.channels for c in s.cues]) for s in shot.speaking]

    lines, problems = track_lines(edit, "dub")
    assert problems == []
    anna, ben = Rule(actor="anna", dialogue="Anna"), Rule(actor="ben", dialogue="Ben")
    assert heard(lines, anna, ben) == [("anna", [(1,)]), ("ben", [(2,)])]
    assert heard(lines, anna, Rule(actor="ben")) == [("anna", [(1,)]), ("ben", [(0, 2)])]
    assert heard(lines, Rule(actor="ben")) == [("ben", [()])]
    longer = [replace(line, end_s=Fraction(3)) for line in lines]
    options = PlanOptions(Cast((Rule(actor="ben"), Rule(actor="anna"))))
    (shot,) = plan_edit(edit, MediaFinder(edit.path), longer, options).shots
    assert sum("is 1.000 s longer" in note for note in shot.notes) == 1, "said once, whoever speaks it"
    assert heard(lines, Rule(actor="ben", dialogue="carl")) == []
    (line,), _ = track_lines(edit, "ben")  # no track has the name
    assert (line.track, line.channels) == ("ben", (2,)) and heard([line], ben, anna) == [("ben", [(2,)])]


def test_lines_of_one_voice_that_overlap_are_named(tmp_path: Path, demo_clip: Path) -> None:
    pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")
    scene = write_bwf(tmp_path / "scene.wav", levels(1, 2), ixml((1, "Anna"), (2, "Ben")))
    names = wav_facts(scene).channels
    lines = [
        Line(scene, Fraction(0), Fraction(start), Fraction(start) + 1, "dub", names=names)
        for start in (0, Fraction(1, 2))
    ]
    picture = clip("a", 0, 50, RATE, reference=media(str(demo_clip), 0, 125, RATE))
    edit = read_edit(write(tmp_path / "a.otio", timeline(track(picture))))
    cast = Cast((Rule(actor="anna", dialogue="anna"), Rule(actor="ben", dialogue="Ben")))
    (shot,) = plan_edit(edit, MediaFinder(edit.path), lines, PlanOptions(cast)).shots
    said = [n for n in shot.notes if "overlap" in n]
    assert said == ["scene.wav and scene.wav overlap for one face; both move it"] * 2
    apart = [Line(scene, Fraction(0), Fraction(0), Fraction(1), "dub", names=names)]
    (shot,) = plan_edit(edit, MediaFinder(edit.path), apart, PlanOptions(cast)).shots
    assert not any("overlap" in n for n in shot.notes)

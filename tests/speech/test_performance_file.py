"""The performance file: not a bit is lost, an edit changes what it says and nothing else, and slips are
named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from speech_scene import scene_track

from visualdub.errors import BadInput, OutputError
from visualdub.face.models import DEFAULT_FACE_MODEL, face_model
from visualdub.face.track import Performance, Track
from visualdub.speech.alignment import AlignedWord
from visualdub.speech.performance_file import Spoken, read_performance_file, write_performance_file
from visualdub.speech.phones import PhoneSpan
from visualdub.timing import FrameRange

N_SPEECH = face_model(DEFAULT_FACE_MODEL).n_speech
FRAMES = FrameRange(1, 7)


def shot(rate: Fraction = Fraction(24000, 1001)) -> Track:
    usable = np.ones(8, bool)
    usable[3] = False
    return scene_track(np.full(8, 0.1), rate, usable).span(FRAMES)


def written(path: Path, words: Sequence[AlignedWord] = ()) -> Performance:
    """A performance of awkward numbers, and its file."""
    track, random = shot(), np.random.default_rng(1)
    jaw = np.array([0.1, np.nextafter(0.1, 1), -0.0, 1e-300, np.pi / 9, 1 / 3])
    expression = track.expression.copy()
    expression[:, :N_SPEECH] = random.normal(0, 1, (6, N_SPEECH))
    done = Performance(jaw, expression, np.array([1.0, 1 / 3, 0.0, 1.0, 0.25, 1.0]))
    spoken = Spoken(["SIL", "b", "ɑ", "ɑ", "t", "SIL"], words)
    write_performance_file(
        path, track, done, spoken, np.full(1 + N_SPEECH, 0.5), {"dialogue": "français.wav"}
    )
    return done


def test_every_bit_comes_back(tmp_path: Path) -> None:
    done = written(tmp_path / "take.json")
    back = read_performance_file(tmp_path / "take.json").performance(shot())
    for name in ("jaw", "expression", "draw"):
        assert getattr(back, name).tobytes() == getattr(done, name).tobytes()
    assert [p.name for p in tmp_path.iterdir()] == ["take.json"]


def test_one_line_is_one_frame(tmp_path: Path) -> None:
    done = written(tmp_path / "take.json")
    lines = (tmp_path / "take.json").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line.rstrip(",")) for line in lines if line.startswith('  {"frame"')]
    assert [r["frame"] for r in rows] == list(FRAMES) and [r["phone"] for r in rows] == [
        "SIL",
        "b",
        "ɑ",
        "ɑ",
        "t",
        "SIL",
    ]
    assert (
        list(rows[0])[:5] == ["frame", "phone", "draw", "jaw", "speech_00"] and len(rows[0]) == 4 + N_SPEECH
    )
    assert rows[1]["jaw"] == done.jaw[1] and rows[4]["speech_07"] == done.expression[4, 7]
    head = json.loads("\n".join(lines))
    assert (head["rate"], head["frames"], head["face_model"]) == ("24000/1001", "1:7", DEFAULT_FACE_MODEL)
    assert head["dialogue"] == "français.wav" and "français" in lines[4]
    assert head["rest"]["jaw"] == 0.5 and {"frame", "draw", "jaw"} <= set(head["units"])


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def test_an_edit_changes_its_frame_alone(tmp_path: Path) -> None:
    done = written(tmp_path / "take.json")
    path = edited(tmp_path / "take.json", lambda v: v["curves"][4].update(jaw=0.2, speech_03=-2))
    back = read_performance_file(path).performance(shot())
    assert np.argwhere(back.jaw != done.jaw).tolist() == [[4]] and back.jaw[4] == 0.2
    assert (
        np.argwhere(back.expression != done.expression).tolist() == [[4, 3]] and back.expression[4, 3] == -2
    )
    assert (back.draw == done.draw).all()


def test_rows_may_stand_in_any_order_and_lack_their_phone(tmp_path: Path) -> None:
    done = written(tmp_path / "take.json")

    def shuffle(values: dict[str, Any]) -> None:
        values["curves"] = [{k: v for k, v in r.items() if k != "phone"} for r in reversed(values["curves"])]

    back = read_performance_file(edited(tmp_path / "take.json", shuffle)).performance(shot())
    assert (back.jaw == done.jaw).all() and (back.expression == done.expression).all()


def test_the_words_of_a_script_stand_in_it(tmp_path: Path) -> None:
    phones = (PhoneSpan("b", 0.0402, 0.08), PhoneSpan("a", 0.08, 0.12))
    written(tmp_path / "take.json", [AlignedWord("bas", 0.0402, 0.12, 0.91234, phones, 1)])
    values = json.loads((tmp_path / "take.json").read_text(encoding="utf-8"))
    assert values["words"] == [
        {
            "word": "bas",
            "start": 0.04,
            "end": 0.12,
            "confidence": 0.912,
            "phones": [["b", 0.04, 0.08], ["a", 0.08, 0.12]],
        }
    ]
    assert read_performance_file(tmp_path / "take.json").frames == FRAMES


def test_a_file_of_the_first_version_is_read(tmp_path: Path) -> None:
    """It had ARPABET for phones and no words."""
    done, path = written(tmp_path / "take.json"), tmp_path / "take.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["version"] = 1
    for row, phone in zip(values["curves"], ["SIL", "B", "AA", "AA", "T", "SIL"], strict=True):
        row["phone"] = phone
    path.write_text(json.dumps(values))
    assert read_performance_file(path).performance(shot()).jaw.tobytes() == done.jaw.tobytes()


def test_the_upper_face_is_the_tracks(tmp_path: Path) -> None:
    written(tmp_path / "take.json")
    track = shot()
    track.expression[:, N_SPEECH:] = 7.0
    assert (
        read_performance_file(tmp_path / "take.json").performance(track).expression[:, N_SPEECH:] == 7.0
    ).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v.update(format="recipe"), "another kind"),
        (lambda v: v.update(version=3), "version 3; this version reads 1 and 2"),
        (lambda v: v.update(face_model="flame"), "'flame'"),
        (lambda v: v.update(rate="fast"), "'fast'"),
        (lambda v: v.update(rate="25/0"), "25/0"),
        (lambda v: v.update(frames="all"), "'all'"),
        (lambda v: v.update(frames="0:99999999999999999999"), "lacks frame 0"),
        (lambda v: v.pop("curves"), "no curves"),
        (lambda v: v["curves"].pop(2), "lacks frame 3"),
        (lambda v: v["curves"].clear(), "lacks frame 1"),
        (lambda v: v["curves"].append(v["curves"][2]), "frame 3 twice"),
        (lambda v: v["curves"][5].update(frame=7), "frame 7; expected frames 1:7 alone"),
        (lambda v: v["curves"][0].update(frame="1"), "without a frame number"),
        (lambda v: v["curves"].append("thanks"), "thanks"),
        (lambda v: v["curves"][3].pop("speech_05"), "frame 4 lacks speech_05"),
        (lambda v: v["curves"][3].update(speech_99=0.0), "frame 4 has speech_99"),
        (lambda v: v["curves"][3].update(jaw="open"), 'frame 4: jaw is "open"'),
        (lambda v: v["curves"][3].update(jaw=None), "frame 4: jaw is null"),
        (lambda v: v["curves"][3].update(jaw=True), "frame 4: jaw is true"),
        (lambda v: v["curves"][3].update(jaw=2), "frame 4: jaw is 2; expected a number from -1.5 to 1.5"),
        (lambda v: v["curves"][3].update(speech_00=10**400), "speech_00 is 1000"),
        (lambda v: v["curves"][3].update(draw=1.5), "draw is 1.5; expected a number from 0 to 1"),
        (lambda v: v["curves"][3].update(draw=float("nan")), "holds NaN; expected numbers"),
        (lambda v: v["curves"][3].update(jaw=float("-inf")), "holds -Infinity"),
    ],
)
def test_slips_are_named(change: Callable[[dict[str, Any]], object], said: str, tmp_path: Path) -> None:
    written(tmp_path / "take.json")
    with pytest.raises(BadInput) as caught:
        read_performance_file(edited(tmp_path / "take.json", change))
    assert said in str(caught.value) and "take.json" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"Tyger Tyger", "not JSON: line 1, column 1"),
        (b'{"format": "visualdub performance",\n oops', "line 2, column 2"),
        (b"\x89PNG\xff\xfe", "not text"),
        (b"[]", "another kind"),
        (b"[" * 100_000, "another kind"),
    ],
)
def test_other_files(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "take.json"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=said):
        read_performance_file(path)
    with pytest.raises(BadInput, match=r"gone\.json cannot be read"):
        read_performance_file(tmp_path / "gone.json")


def test_a_file_of_another_shot(tmp_path: Path) -> None:
    written(tmp_path / "take.json")
    edited_file = read_performance_file(tmp_path / "take.json")
    with pytest.raises(BadInput, match="24000/1001 frames/s; expected 25"):
        edited_file.performance(shot(Fraction(25)))
    with pytest.raises(BadInput, match="frames 1:7; expected 2:5"):
        edited_file.performance(shot().span(FrameRange(2, 5)))
    path = edited(tmp_path / "take.json", lambda v: v["curves"][2].update(draw=1))
    with pytest.raises(BadInput, match="frame 3 is to be drawn, but has no usable face"):
        read_performance_file(path).performance(shot())


def test_nowhere_to_write(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        written(tmp_path / "none" / "take.json")

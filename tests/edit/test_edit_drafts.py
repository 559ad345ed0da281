"""An edit in draft quality: actors by their network alone, everybody else out of the clip's own frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import planes_of, portrait_pictures, write_movie, write_wav
from otio_text import clip, media, timeline, track, warp, write

from visualdub.cli import run
from visualdub.records import Provenance, read_provenance
from visualdub.timing import FrameRange

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")

RATE = 25.0
DRAFT = ("--quality", "draft")
CONSENT = ("--consent", "Ada, today, tests")


def shot(movie: Path, start: float, length: float, **more: Any) -> dict[str, Any]:
    return clip(movie.stem, start, length, RATE, reference=media(str(movie), 0, 40, RATE), **more)


def cut(folder: Path, *shots: dict[str, Any], voices: tuple[str, ...] = ("new",)) -> Path:
    """An edit with these shots, and a track of dialogue for each of `voices`."""
    words = [write_wav(folder / f"{name}.wav", 1.6) for name in voices]
    sounds = [track(shot(wav, 0, 40), kind="Audio", name=wav.stem) for wav in words]
    for sound in sounds:
        sound["metadata"] = {"visualdub": {"role": "new"}}
    return write(folder / "cut.otio", timeline(track(*shots), *sounds))


def dub(edit: Path, *given: str) -> int:
    return run(["dub", str(edit), "--dialogue-track", "new", "-o", str(edit.parent / "out"), *given])


def shots_of(edit: Path) -> list[dict[str, Any]]:
    report = json.loads((edit.parent / "out" / "cut.otio.report.json").read_text())
    return list(report["shots"])


def records(edit: Path) -> list[Provenance]:
    return [read_provenance(Path(s["output"])) for s in shots_of(edit) if s["output"]]


def test_an_edit_is_drafted_without_an_actor_and_made_final_in_place(
    talking: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two cuts of one clip: each is drawn out of what is around it, too, and only with consent."""
    edit = cut(tmp_path, shot(talking, 5, 10), shot(talking, 28, 6))
    assert dub(edit, *DRAFT) == 2 and "needs consent" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("shots/*"))
    assert dub(edit, *DRAFT, "--plan") == 0
    said = capsys.readouterr().out
    assert "a draft" in said and "person 0 speaks, drafted out of the clip's own frames" in said
    assert dub(edit, *DRAFT, *CONSENT) == 0
    assert "2 clips, 2 dubbed" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "cut.otio.report.json").read_text())
    assert report["notes"][0].startswith("a draft: actors are drawn by their network alone")
    expected = ((5, 10, 40), (28, 6, 37))  # first frame, frames, frames with a second on either side
    for entry, (first, count, around) in zip(shots_of(edit), expected, strict=True):
        movie = Path(entry["output"])
        assert any(f"a draft, drawn out of {around} frames of the clip" in n for n in entry["notes"])
        drawn, plate = planes_of(movie), planes_of(talking, FrameRange(first, first + count))
        assert all((d[0] != p[0]).any() for d, p in zip(drawn, plate, strict=True))
        assert all((d[0][:40] == p[0][:40]).all() for d, p in zip(drawn, plate, strict=True))
    for record in records(edit):
        assert (record.actor, record.consent["who"]) == ("talking", "Ada") and record.watermark.on
        assert record.renderer == {"provider": "none", "mode": "draft"}
    stamp = movie.stat().st_mtime_ns
    assert dub(edit, *DRAFT, *CONSENT) == 0 and movie.stat().st_mtime_ns == stamp
    assert dub(edit, *DRAFT, "--consent", "Eve, today, tests") == 0
    assert {r.consent["who"] for r in records(edit)} == {"Eve"}
    assert dub(edit, "--actor", str(flat_actor)) == 0
    assert {(r.renderer or {})["provider"] for r in records(edit)} == {"cpu"}
    assert not any("a draft" in note for entry in shots_of(edit) for note in entry["notes"])


def test_who_has_an_actor_is_drafted_by_the_network(talking: Path, flat_actor: Path, tmp_path: Path) -> None:
    named = shot(talking, 5, 6, metadata={"visualdub": {"actor": str(flat_actor)}})
    edit = cut(tmp_path, named, shot(talking, 20, 6))
    assert dub(edit, *DRAFT, *CONSENT) == 0
    first, second = records(edit)
    assert first.actor != "talking" and first.consent["who"] != "Ada"
    assert ((first.renderer or {})["provider"], (second.renderer or {})["provider"]) == ("cpu", "none")
    assert "a draft; hands and objects before the mouth are drawn over" in shots_of(edit)[0]["notes"]
    stamp = Path(shots_of(edit)[0]["output"]).stat().st_mtime_ns
    assert dub(edit) == 0  # the shot of the actor alone
    assert [s["action"] for s in shots_of(edit)] == ["dub", "keep"]
    assert Path(shots_of(edit)[0]["output"]).stat().st_mtime_ns > stamp, "a draft passed for the final"


def test_a_baked_clip_is_drawn_out_of_frames_that_it_does_not_show(talking: Path, tmp_path: Path) -> None:
    edit = cut(tmp_path, shot(talking, 10, 6, effects=[warp(-1)]))
    assert dub(edit, *DRAFT, *CONSENT) == 0
    (baked,) = shots_of(edit)
    assert (baked["action"], baked["drawn"]) == ("bake", 6)
    assert any("drawn out of 34 frames" in note for note in baked["notes"]), baked["notes"]


def test_the_person_of_a_baked_clip_is_known_by_their_looks(tmp_path: Path) -> None:
    """Of the media they are the second to be seen most, of the baked movie the only one."""
    one = np.stack(portrait_pictures(40))
    both = np.concatenate([one, one[..., ::-1]], 2)  # beside each other, in other colours
    half = one.shape[2]
    both[28:, :, :half] = both[:20, :, half:] = 0  # one leaves when the other has come
    movie = write_movie(tmp_path / "two.mkv", list(both))
    edit = cut(tmp_path, shot(movie, 30, 6, effects=[warp(-1)]))
    assert dub(edit, *DRAFT, *CONSENT) == 0
    (baked,) = shots_of(edit)
    assert (baked["action"], baked["speaking"][0]["person"]) == ("bake", "1"), baked["reason"]
    before = planes_of(movie, FrameRange(30, 36))[::-1]
    for drawn, plate in zip(planes_of(Path(baked["output"])), before, strict=True):
        changed = drawn[0] != plate[0]
        assert changed[:, half:].any() and not changed[:, :half].any()


def test_two_people_of_a_shot_are_drafted_apart(tmp_path: Path) -> None:
    alone = portrait_pictures(12)
    movie = write_movie(tmp_path / "pair.mkv", [np.ascontiguousarray(np.hstack([a, a])) for a in alone])
    edit = cut(tmp_path, shot(movie, 0, 12), voices=("Ada", "Bob"))
    people = (("160,150", "Ada"), ("480,150", "Bob"))
    cast = "".join(f'[[cast]]\nperson = "{at}"\ndialogue = "{name}"\n' for at, name in people)
    (tmp_path / "cast.toml").write_text(cast)
    both = ("--cast", str(tmp_path / "cast.toml"), "--consent", "Ada and Bob, today, tests")
    assert dub(edit, *DRAFT, *both) == 0
    (record,) = records(edit)
    assert sorted((p.actor, p.consent["who"], p.drawn) for p in record.people) == [
        ("Ada", "Ada and Bob", 12),
        ("Bob", "Ada and Bob", 12),
    ]
    for drawn, plate in zip(planes_of(tmp_path / "out/shots/0001_pair.mkv"), planes_of(movie), strict=True):
        changed = drawn[0] != plate[0]
        assert changed[:, :320].any() and changed[:, 320:].any()
    (entry,) = shots_of(edit)
    assert all(
        any(n.startswith(f"{name}: a draft, drawn") for n in entry["notes"]) for name in ("Ada", "Bob")
    )

"""A dubbed edit is the original's bytes with our additions, and undo brings them back."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from otio_text import clip, media, stack, timeline, track, warp, write

from visualdub.edit.json_spans import Change, JsonText, changed
from visualdub.edit.layout import Edit, EditClip
from visualdub.edit.media import Media
from visualdub.edit.plan import BAKE, DUB, PlannedShot, original_key
from visualdub.edit.reading import read_edit
from visualdub.edit.retime import SourceMap
from visualdub.edit.state import state_path, undo_edit, write_dubbed
from visualdub.edit.writing import DubbedClip, host_rules, patched
from visualdub.errors import BadInput
from visualdub.timing import FrameRange

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")

EDITS = Path(__file__).resolve().parents[3] / "shared" / "edits"
MOVIE = Path("/dubs/001 a#.mkv")


def dub_of(found: EditClip, action: str = DUB, movie: Path = MOVIE) -> DubbedClip:
    source = SourceMap("plain", Fraction(1), Fraction(10), Fraction(1))
    place = found.start, found.start + found.length
    frames = FrameRange(10, 10 + max(1, found.length))
    shot = PlannedShot(1, found, action, "", Media(), 24.0, source, frames, place)
    return DubbedClip(shot, movie)


def dub(path: Path, names: list[str], **more: Any) -> tuple[bytes, bytes, Edit]:
    rules = host_rules(more.pop("host", None), more.pop("as_default", False))
    edit, text = read_edit(path), path.read_bytes()
    chosen = [dub_of(c) for c in edit.clips if c.name in names]
    return text, patched(text, edit, chosen, rules, **more), edit


def only_added(before: bytes, after: bytes) -> list[str]:
    """Lines of `before` that are not in `after` in their order: those that were changed."""
    old, new = before.decode().splitlines(), after.decode().splitlines()
    opcodes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [line.strip() for tag, a, b, _, _ in opcodes if tag in ("replace", "delete") for line in old[a:b]]


def written(path: Path, text: bytes) -> Edit:
    path.write_bytes(text)
    return read_edit(path)


# ---- the text ----------------------------------------------------------------------------------------------


def test_values_are_found_by_their_bytes() -> None:
    text = b'\xef\xbb\xbf { "a\\"b" : [1, {"c" : "x]}", "d":-1.50e3}, NaN ] , "e":{} }'
    tree = JsonText(text)
    at = tree.find(['a"b', 1, "d"])
    assert text[at : tree.end_of(at)] == b"-1.50e3"
    assert [text[a:b] for a, b in tree.elements(tree.find(['a"b']))] == [
        b"1",
        b'{"c" : "x]}", "d":-1.50e3}',
        b"NaN",
    ]
    assert changed(b"abcd", [Change(3, 3, b"!"), Change(0, 1, b"A")]) == b"Abc!d"
    with pytest.raises(ValueError, match="two changes meet"):
        changed(b"abcd", [Change(0, 2, b""), Change(1, 3, b"")])
    with pytest.raises(BadInput, match="no value at e/0"):
        tree.find(["e", 0])


def test_a_dub_is_a_second_active_reference_and_nothing_else_changes(tmp_path: Path) -> None:
    odd = clip(
        "a", 5, 20, metadata={"x": 1.0000000000000002, "big": 2**60, "nan": float("nan"), "é": "\u20ac"}
    )
    path = write(tmp_path / "a.otio", timeline(track(odd, stack(track(clip("b", 0, 9)), name="s"))))
    before, after, _ = dub(path, ["a", "b"])
    assert only_added(before, after) == ['"active_media_reference_key": "DEFAULT_MEDIA"'] * 2
    edit = written(tmp_path / "b.otio", after)
    for found in edit.clips:
        reference = found.reference()
        assert found.node["active"] == "visualdub" and original_key(found) == "DEFAULT_MEDIA"
        assert reference is not None and reference["url"] == str(MOVIE)
        assert found.reference("DEFAULT_MEDIA") is not None
    active = edit.clips[0].reference()
    assert active is not None and active["avail"] == [5.0, 20.0, 24.0]


def test_dubbing_again_replaces_only_our_reference(tmp_path: Path) -> None:
    path = write(tmp_path / "a.otio", timeline(track(clip("a", 5, 20), clip("b", 0, 9))))
    for as_default in (False, True):
        _, first, _ = dub(path, ["a"], as_default=as_default)
        (tmp_path / "b.otio").write_bytes(first)
        _, again, _ = dub(tmp_path / "b.otio", ["a"], as_default=as_default)
        assert again == first
        (tmp_path / "b.otio").write_bytes(first.replace(MOVIE.name.encode(), b"old.mkv"))
        assert dub(tmp_path / "b.otio", ["a"], as_default=as_default)[1] == first


def test_readers_that_know_only_the_default_get_the_dub_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.otio", timeline(track(clip("a", 5, 20))))
    before, after, _ = dub(path, ["a"], host="resolve")
    found = written(tmp_path / "b.otio", after).clips[0]
    assert found.node["active"] == "DEFAULT_MEDIA" and original_key(found) == "visualdub original"
    assert found.node["refs"]["DEFAULT_MEDIA"]["url"] == str(MOVIE)
    assert b'"name": "edit (dub)"' in after and b'"name": "edit"' not in after
    assert only_added(before, after.replace(b'"visualdub original": {', b'"DEFAULT_MEDIA": {')) == [
        '"name": "edit",'
    ]
    _, premiere, _ = dub(path, ["a"], host="premiere")
    assert b'"target_url": "file:///dubs/001%20a%23.mkv"' in premiere
    with pytest.raises(BadInput, match="--for flame is not known"):
        host_rules("flame")


def test_a_clip_of_the_old_schema_becomes_one_with_two_references(tmp_path: Path) -> None:
    old = {k: v for k, v in clip("a", 5, 20).items() if "reference" not in k}
    old |= {"OTIO_SCHEMA": "Clip.1", "media_reference": media()}
    for as_default in (False, True):
        path = write(tmp_path / "a.otio", timeline(track(old)))
        _, after, _ = dub(path, ["a"], as_default=as_default)
        found = written(tmp_path / "b.otio", after).clips[0]
        original = found.reference(original_key(found))
        assert found.reference() != original and original is not None and original["url"] == "/none/a.mov"
        assert found.node["active"] == ("DEFAULT_MEDIA" if as_default else "visualdub")


def test_baked_clips_lie_on_a_track_right_above_their_own(tmp_path: Path) -> None:
    low = track(clip("a", 0, 10), clip("b", 0, 10, effects=[warp(-1)]), clip("c", 0, 10, effects=[warp(0)]))
    path = write(tmp_path / "a.otio", timeline(low, track(clip("top", 0, 3))))
    edit, text = read_edit(path), path.read_bytes()
    baked = [dub_of(c, BAKE) for c in edit.clips if c.name in "bc"]
    after = patched(text, edit, baked, host_rules(None))
    assert only_added(text, after) in ([], ["},"])  # difflib may say the comma's line moved
    read = written(tmp_path / "b.otio", after)
    assert [(c.name, c.track, c.start, c.length, c.effects) for c in read.clips if c.meta.get("baked")] == [
        ("b", "V2", 10, 10, ()),
        ("c", "V2", 20, 10, ()),
    ]
    assert [c.track for c in read.clips if c.name == "top"] == ["V3"]
    again = patched(
        after, read, [dub_of(c, BAKE) for c in read.clips if c.name in "bc" and c.enabled], host_rules(None)
    )
    assert json.loads(again) == json.loads(after)


def test_undo_brings_back_every_byte(tmp_path: Path) -> None:
    path = write(tmp_path / "a.otio", timeline(track(clip("a", 5, 20))))
    before, after, _ = dub(path, ["a"])
    out = tmp_path / "out" / "a.otio"
    out.parent.mkdir()
    write_dubbed(out, after, before, path, {})
    assert out.read_bytes() == after
    assert undo_edit(out) == path.absolute() and out.read_bytes() == before and not state_path(out).exists()
    with pytest.raises(BadInput, match="expected an edit that vdub dub wrote"):
        undo_edit(out)
    write_dubbed(out, after, before, path, {})
    out.write_bytes(after + b"\n")
    with pytest.raises(BadInput, match="was changed since"):
        undo_edit(out)


# ---- what other programs wrote -----------------------------------------------------------------------------


@pytest.mark.skipif(not EDITS.is_dir(), reason="shared/edits is not beside the checkout")
@pytest.mark.parametrize(
    "name",
    [
        "OpenTimelineIO/effects.otio",
        "raven/timecode_rates.otio",
        "time_warp_suite/time_warp_test.avid_media_composer.otio",
    ],
)
def test_edits_of_other_programs_keep_every_byte(name: str, tmp_path: Path) -> None:
    path = Path(shutil.copy(EDITS / name, tmp_path))
    edit, text = read_edit(path), path.read_bytes()
    chosen = [c for c in edit.clips if c.enabled and (c.reference() or {}).get("kind") == "external"]
    after = patched(text, edit, [dub_of(c) for c in chosen], host_rules(None))
    assert len(chosen) > 0 and after.count(b'"name": "001 a#.mkv"') == len(chosen)
    active = re.compile(rb'"active_media_reference_key": "visualdub"')
    assert len(active.findall(after)) == len(chosen)
    tree, pieces = JsonText(after), []
    for found in chosen:
        members = tree.members(tree.find(found.path))
        ours = tree.members(members["media_references"].start)["visualdub"]
        key = members["active_media_reference_key"]
        begins = members["media_references"].start + 1
        pieces += [Change(begins, ours.end + 1, b""), Change(key.start, key.end, b'"DEFAULT_MEDIA"')]
    assert hashlib.sha256(changed(after, pieces)).digest() == hashlib.sha256(text).digest()
    assert len(written(tmp_path / "b.otio", after).clips) == len(edit.clips)


@pytest.mark.skipif(not EDITS.is_dir(), reason="shared/edits is not beside the checkout")
def test_old_clips_with_windows_line_ends_keep_every_line(tmp_path: Path) -> None:
    path = Path(shutil.copy(EDITS / "raven/Meridian_UHD4k5994_HDR_P3PQ.otio", tmp_path))
    edit, text = read_edit(path), path.read_bytes()
    after = patched(text, edit, [dub_of(c) for c in edit.clips], host_rules(None))
    lines = {'"OTIO_SCHEMA": "Clip.1",', '"media_reference": {', "},"}
    assert {line.strip() for line in only_added(text, after)} <= lines
    assert after.count(b"\n") == after.count(b"\r\n") and len(edit.clips) == 83
    assert all(c.node["active"] == "visualdub" for c in written(tmp_path / "b.otio", after).clips)

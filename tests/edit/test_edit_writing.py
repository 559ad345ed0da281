"""A dubbed edit is the original's bytes with our additions, and undo brings them back."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from otio_text import clip, media, stack, time, timeline, track, warp, write

from visualdub.edit.host_shape import resolve_notes, shaped
from visualdub.edit.json_spans import Change, JsonText, changed
from visualdub.edit.layout import Edit, EditClip
from visualdub.edit.media import Media
from visualdub.edit.plan import BAKE, DUB, EditPlan, PlannedShot, original_key
from visualdub.edit.reading import read_edit
from visualdub.edit.retime import SourceMap
from visualdub.edit.state import state_path, undo_edit, write_dubbed
from visualdub.edit.writing import HOSTS, DubbedClip, host_rules, patched
from visualdub.errors import BadInput
from visualdub.media.frame import ClipInfo
from visualdub.media.movie_writer import picture_info
from visualdub.timing import FrameRange

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")

EDITS = Path(__file__).resolve().parents[3] / "shared" / "edits"
MOVIE = Path("/dubs/001 a#.mkv")
IMAGE = picture_info(MOVIE, 64, 64, Fraction(24), 1000).image


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
    with pytest.raises(BadInput, match="ends inside a bracket"):
        JsonText(b'{"a": [1, {"b": "]}"}').end_of(6)


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
    path = write(tmp_path / "a.otio", timeline(track(clip("a", 5, 20)), start=time(0)))
    before, after, _ = dub(path, ["a"], host="resolve")
    after = after.replace(b', "color": null', b"")
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


def test_a_document_takes_the_shape_that_resolve_imports(tmp_path: Path) -> None:
    bare = {k: v for k, v in clip("a", 5, 20).items() if k not in ("enabled", "metadata")}
    old = {k: v for k, v in clip("b", 7, 9).items() if "reference" not in k}
    unranged = {**media("media/b 1.mov"), "available_range": None}
    old |= {"OTIO_SCHEMA": "Clip.1", "media_reference": unranged}
    far = clip("c", 0, 5, reference=media("file:///x/c%20%23.mov"))
    path = write(tmp_path / "a.otio", timeline(track(bare, old, stack(track(far)))))
    _, after, edit = dub(path, ["a"], host="resolve")
    root = json.loads(after)
    assert root["global_start_time"] == {"OTIO_SCHEMA": "RationalTime.1", "rate": 24.0, "value": 0.0}
    first, second, nested = root["tracks"]["children"][0]["children"]
    third = nested["children"][0]["children"][0]
    for one in (root["tracks"]["children"][0], first, second, nested, third):
        assert one["enabled"] is True and one["metadata"] == {} and one["color"] is None
    references = [c["media_references"]["DEFAULT_MEDIA"] for c in (first, second, third)]
    urls = [str(MOVIE), str(tmp_path / "media/b 1.mov"), "/x/c #.mov"]
    assert [r["target_url"] for r in references] == urls
    assert second["OTIO_SCHEMA"] == "Clip.2" and second["active_media_reference_key"] == "DEFAULT_MEDIA"
    assert references[1]["available_range"] == second["source_range"]
    read = written(tmp_path / "b.otio", after)
    assert [(c.name, c.shown) for c in read.clips] == [(c.name, c.shown) for c in edit.clips]
    assert shaped(after, edit, ()) == after  # nothing is left to do
    assert b'"color"' not in dub(path, ["a"], host="premiere")[1]


def test_what_resolve_does_not_take_is_said(tmp_path: Path) -> None:
    inner = stack(track(clip("inner", 0, 9)), name="compound")
    edit = read_edit(write(tmp_path / "a.otio", timeline(track(clip("a", 5, 20), inner))))
    info = ClipInfo(Path("a.mov"), "mov", "prores", Fraction(24), 1000, IMAGE, timecode="01:00:00:00")
    shots = []
    for found in edit.clips:
        numbers = SourceMap("plain", Fraction(1), Fraction(found.node["range"][0]), Fraction(1))
        done = dub_of(found).shot
        shots.append(
            replace(done, map=numbers, media=Media(Path("a.mov"), info if found.name == "a" else None))
        )
    notes = resolve_notes(EditPlan(edit, tuple(shots)))
    assert notes[0] == "Resolve does not read compound clips: inner will not be there"
    assert notes[1].startswith("Resolve may refuse the edit: a count") and len(notes) == 2
    plain = replace(info, timecode="00:00:00:00")
    at_zero = tuple(replace(s, media=Media(Path("a.mov"), plain)) for s in shots if s.clip.name == "a")
    assert resolve_notes(EditPlan(edit, at_zero)) == []


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
def test_what_resolve_wrote_gets_our_references_and_a_colour_alone(tmp_path: Path) -> None:
    path = Path(shutil.copy(EDITS / "OpenTimelineIO/effects.otio", tmp_path))
    edit, text = read_edit(path), path.read_bytes()
    chosen = [c for c in edit.clips if c.enabled and (c.reference() or {}).get("kind") == "external"]
    after = patched(text, edit, [dub_of(c) for c in chosen], host_rules("resolve"))
    pruned = after.replace(b', "color": null', b"")
    plain = patched(text, edit, [dub_of(c) for c in chosen], replace(HOSTS["resolve"], resolve_shape=False))
    assert pruned.count(b"null") < after.count(b"null")
    ours, theirs = json.loads(pruned), json.loads(plain)
    for node, other in zip(nodes(ours), nodes(theirs), strict=True):
        if node.get("available_range") is not None and other.get("available_range") is None:
            node["available_range"] = None  # Resolve writes none for stills and generators
    assert ours == theirs


def nodes(value: Any) -> list[dict[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(value, dict):
        return [value, *(n for v in value.values() for n in nodes(v))]
    return [n for v in value for n in nodes(v)] if isinstance(value, list) else []


@pytest.mark.skipif(not EDITS.is_dir(), reason="shared/edits is not beside the checkout")
def test_old_clips_with_windows_line_ends_keep_every_line(tmp_path: Path) -> None:
    path = Path(shutil.copy(EDITS / "raven/Meridian_UHD4k5994_HDR_P3PQ.otio", tmp_path))
    edit, text = read_edit(path), path.read_bytes()
    after = patched(text, edit, [dub_of(c) for c in edit.clips], host_rules(None))
    lines = {'"OTIO_SCHEMA": "Clip.1",', '"media_reference": {', "},"}
    assert {line.strip() for line in only_added(text, after)} <= lines
    assert after.count(b"\n") == after.count(b"\r\n") and len(edit.clips) == 83
    assert all(c.node["active"] == "visualdub" for c in written(tmp_path / "b.otio", after).clips)

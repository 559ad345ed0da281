"""Edits are read as they are cut: places, what is seen, and the source frame of every frame."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from otio_text import clip, gap, item, span, stack, time, timeline, track, transition, warp, write

from visualdub.edit.layout import Edit, media_frame, source_frames, standard_rate
from visualdub.edit.reading import read_edit
from visualdub.edit.retime import NotReadable, SourceMap
from visualdub.errors import BadInput

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")

EDITS = Path(__file__).resolve().parents[3] / "shared" / "edits"
needs_edits = pytest.mark.skipif(
    not EDITS.is_dir(), reason="shared/edits is not beside the checkout; it holds edits of other programs"
)
REFUSED = {  # file: why
    "premiere_example.otio": "holds a Marker.3 in line 127",
    "screening_example.otio": "holds a Marker.3 in line 177",
    "fcpx_clips.fcpxml": "holds a SerializableCollection and no timeline",
    "20161103_SPARKS_DOVI_METADATA_AR_CORRECT.xml": "XML without a sequence",
    "sollevante_lp_16b_hdr_p3d65pq_dolbyvision29.xml": "XML without a sequence",
}


def read(tmp_path: Path, *tracks: dict[str, Any], **more: Any) -> Edit:
    return read_edit(write(tmp_path / "a.otio", timeline(*tracks, **more)))


def shown(edit: Edit, number: int = 0) -> SourceMap:
    found = edit.clips[number]
    reference = found.reference()
    assert reference is not None
    return source_frames(found, edit.rate, reference)[0]


# ---- structure ---------------------------------------------------------------------------------------------


def test_clips_gaps_and_nested_stacks_lie_where_they_are_cut(tmp_path: Path) -> None:
    inner = stack(track(clip("c", 30, 20), clip("d", 0, 10)), name="compound", source_range=span(5, 20))
    edit = read(tmp_path, track(clip("a", 10, 5), gap(3), inner, clip("b", 0, 7)), start=time(86400))
    places = {c.name: (c.track, c.start, c.length, c.shown, c.visible) for c in edit.clips}
    assert places == {
        "a": ("V1", 0, 5, (0, 5), ((0, 5),)),
        "b": ("V1", 28, 7, (28, 35), ((28, 35),)),
        "c": ("V1/compound/V1", 3, 20, (8, 23), ((8, 23),)),
        "d": ("V1/compound/V1", 23, 10, (23, 28), ((23, 28),)),
    }
    assert edit.frame_count == 35 and edit.start_frame == 86400 and edit.rate == 24
    nested = next(c for c in edit.clips if c.name == "c")
    assert nested.path == ("tracks", "children", 0, "children", 2, "children", 0, "children", 0)


def test_the_topmost_clip_is_seen_and_transparent_ones_are_named(tmp_path: Path) -> None:
    title = item("GeneratorReference.1", generator_kind="Title", parameters={}, available_range=None)
    over = clip("title", 0, 4, reference={k: v for k, v in title.items() if k != "source_range"})
    edit = read(
        tmp_path,
        track(clip("low", 0, 20)),
        track(gap(5), clip("high", 0, 5), clip("off", 0, 5, enabled=False)),
        track(over),
    )
    low = next(c for c in edit.clips if c.name == "low")
    assert low.visible == ((0, 5), (10, 20)) and "'title' is a Title" in low.notes[0]
    off = next(c for c in edit.clips if c.name == "off")
    assert not off.enabled and off.visible == ()


def test_a_transition_shows_more_of_both_clips(tmp_path: Path) -> None:
    edit = read(tmp_path, track(clip("a", 100, 20), transition(3, 5), clip("b", 200, 20), transition(4, 0)))
    assert [(c.start, c.shown) for c in edit.clips] == [(0, (0, 25)), (20, (17, 40))]
    assert shown(edit, 0).frames(0, 25) == list(range(100, 125))
    assert shown(edit, 1).frame(-3) == 197


# ---- speeds ------------------------------------------------------------------------------------------------


def test_speeds_show_the_frames_that_editing_systems_show(tmp_path: Path) -> None:
    speeds = {
        0.8: [0, 0, 1, 2, 3],
        2.0: [0, 2, 4, 6, 8],
        0.0: [0] * 5,
        -1.0: [4, 3, 2, 1, 0],
        3.0303030303030303: [0, 3, 6, 9, 12],
    }
    for scalar, expected in speeds.items():
        edit = read(tmp_path, track(clip("a", 10, 5, effects=[warp(scalar)])))
        assert shown(edit).frames(0, 5) == [10 + e for e in expected], scalar
    edit = read(tmp_path, track(clip("a", 998, 5, effects=[warp(2.0)])))
    assert shown(edit).frames(0, 5) == [998, 999, 999, 999, 999]
    assert shown(edit).beyond(1) and not shown(edit).beyond(0)


def test_a_slow_speed_a_freeze_and_a_reverse_need_a_movie_of_their_own(tmp_path: Path) -> None:
    for scalar, expected in ((0.8, False), (0.5, False), (0.4, True), (0.0, True), (-1.0, True)):
        edit = read(tmp_path, track(clip("a", 10, 5, effects=[warp(scalar)])))
        assert shown(edit).needs_baking is expected, scalar


def test_a_ramp_without_key_frames_is_named(tmp_path: Path) -> None:
    bare = {"OTIO_SCHEMA": "TimeEffect.1", "metadata": {}, "name": "", "effect_name": ""}
    edit = read(tmp_path, track(clip("a", 10, 5, effects=[bare]), clip("b", 0, 5)))
    with pytest.raises(NotReadable, match="no key frames"):
        shown(edit, 0)
    assert shown(edit, 1).frame(0) == 0
    moved = {**bare, "metadata": {"lookup": [0, 1.0, 2.0, 3.0, 4.0]}}
    edit = read(tmp_path, track(clip("a", 10, 5, effects=[moved])))
    assert shown(edit).frames(0, 5) == [10, 12, 14, 16, 18] and shown(edit).kind == "ramp"


def test_rates_mean_the_standard_one_within_a_thousandth() -> None:
    ntsc = {
        23.976: 24000,
        23.98: 24000,
        29.97: 30000,
        59.94: 60000,
        119.88: 120000,
        23.976024627685547: 24000,
    }
    for written, thousands in ntsc.items():
        assert standard_rate(written) == Fraction(thousands, 1001)
    assert standard_rate(12) == 12 and standard_rate(24) == 24 and standard_rate(17.5) == Fraction(35, 2)


def test_media_frames_at_long_timecodes_keep_to_the_frame() -> None:
    assert media_frame(1937905.9905694576, 23.976024627685547, 23.976) == 1937904
    assert media_frame(2070145, 23.976, 23.98) == 2070145
    assert media_frame(90032, 25, 24) == Fraction(90032 * 24, 25)


# ---- files that are no edits, or hostile -------------------------------------------------------------------


def test_bad_edits_are_refused_in_one_line(tmp_path: Path) -> None:
    unknown = clip("a", 0, 5, effects=[{"OTIO_SCHEMA": "Wobble.4", "metadata": {}, "name": "w"}])
    strange = clip("a", 0, 5, reference={"OTIO_SCHEMA": "ExternalReference.7", "metadata": {}})
    cases = {
        "Wobble.4 in line": timeline(track(unknown)),
        "ExternalReference.7 in line": timeline(track(strange)),
        "has a time of none, 5, 24": timeline(track(clip("a", float("nan"), 5))),
        "has a time of 0, 5, 0": timeline(track(clip("a", 0, 5, rate=0))),
        "has a time of 0, none, 24": timeline(track(clip("a", 0, float("inf")))),
        "holds a list and no timeline": [timeline(track(clip("a", 0, 5)))],
        "lasts 1157 hours": timeline(track(clip("a", 0, 1e8))),
    }
    for said, root in cases.items():
        with pytest.raises(BadInput, match=said) as refusal:
            read_edit(write(tmp_path / "bad.otio", root))
        assert "\n" not in str(refusal.value) and "bad.otio" in str(refusal.value)


def test_deep_long_and_foreign_files_are_refused(tmp_path: Path) -> None:
    deep = tmp_path / "deep.otio"
    deep.write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    with pytest.raises(BadInput, match="nests 100000 levels deep"):
        read_edit(deep)
    huge = tmp_path / "huge.otio"
    with huge.open("wb") as f:
        f.truncate(600_000_000)
    with pytest.raises(BadInput, match="holds 600 MB"):
        read_edit(huge)
    (tmp_path / "text.otio").write_text("hello")
    with pytest.raises(BadInput, match=r"text\.otio"):
        read_edit(tmp_path / "text.otio")
    (tmp_path / "no.otioz").write_bytes(b"PK")
    with pytest.raises(BadInput, match="is no bundle"):
        read_edit(tmp_path / "no.otioz")


def test_brackets_in_strings_are_no_depth(tmp_path: Path) -> None:
    strings = clip('quoted \\" [[[[' + "[" * 2000, 0, 5, metadata={"a": "\\", "b": "{" * 2000})
    assert read(tmp_path, track(strings)).clips[0].length == 5


def test_a_missing_active_key_costs_one_clip(tmp_path: Path) -> None:
    broken = clip("a", 0, 5, active_media_reference_key="nowhere")
    edit = read(tmp_path, track(broken, clip("b", 0, 5)))
    assert edit.clips[0].reference() is None and edit.clips[1].reference() is not None


# ---- what other programs wrote -----------------------------------------------------------------------------


def avid_render() -> list[str]:
    text = (EDITS / "time_warp_suite/time_warp_test.avid_media_composer.ocr_results.txt").read_text()
    return text.split()


def read_all(paths: list[Path]) -> list[Edit | BadInput]:
    """The edits in files, or why they are refused. Each reader is a process, of which some run at once."""

    def read_one(path: Path) -> Edit | BadInput:
        try:
            return read_edit(path)
        except BadInput as e:
            return e

    with ThreadPoolExecutor(os.cpu_count()) as readers:
        return list(readers.map(read_one, paths))


@needs_edits
def test_every_frame_of_the_time_warp_suite_is_the_one_that_an_avid_rendered() -> None:
    edit = read_edit(EDITS / "time_warp_suite/time_warp_test.avid_media_composer.otio")
    rendered, planned = avid_render(), ["BLANK"] * edit.frame_count
    for number, found in enumerate(edit.clips):
        for low, high in found.visible:
            planned[low:high] = map(str, shown(edit, number).frames(low - found.start, high - found.start))
    assert len(rendered) == len(planned) == 3197
    assert rendered[2228:2231] == ["21", "71", "22"]  # the burnt-in 21 was read as 71 by its OCR
    rendered[2229] = "21"
    assert planned == rendered


@needs_edits
def test_the_ranges_of_other_programs_agree_to_the_frame() -> None:
    cases = json.loads((EDITS / "ayon/expected_ranges.json").read_text())["ranges"]
    edits = read_all([EDITS / "ayon" / case["file"] for case in cases])
    for case, edit in zip(cases, edits, strict=True):
        assert isinstance(edit, Edit), edit
        found, expected = shown(edit), case["expected"]
        frames = found.frames(0, edit.clips[0].length)
        reference = edit.clips[0].reference()
        assert reference is not None
        first = reference.get("start_frame", 0)
        assert abs(min(frames) + first - expected["mediaIn"]) <= 1, case["file"]
        assert abs(max(frames) + first - expected["mediaOut"]) <= 1.5, case["file"]
        if found.kind != "ramp":
            assert float(found.speed) == pytest.approx(expected["speed"]), case["file"]


@needs_edits
@pytest.mark.slow
def test_every_edit_of_the_collection_is_read_or_refused_for_the_right_reason() -> None:
    read_, suffixes = 0, {".otio", ".otioz", ".edl", ".xml", ".aaf", ".fcpxml"}
    paths = sorted(p for p in EDITS.rglob("*") if p.suffix in suffixes)
    for path, edit in zip(paths, read_all(paths), strict=True):
        if path.name in REFUSED and path.suffix == Path(path.name).suffix and "fcp-adapter" not in str(path):
            assert isinstance(edit, BadInput) and REFUSED[path.name] in str(edit), edit
            continue
        assert isinstance(edit, Edit), edit
        read_ += 1
        assert edit.clips and edit.frame_count > 0, path
        assert all(0 <= c.shown[0] <= c.shown[1] <= edit.frame_count for c in edit.clips), path
    assert read_ == 40


@pytest.mark.parametrize(
    ("text", "said"), [("hello", "line 1, column 1"), ('{"a": 1,\n "b"}', "line 2, column")]
)
def test_a_text_that_is_no_edit_is_refused_with_the_place(text: str, said: str, tmp_path: Path) -> None:
    pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")
    path = tmp_path / "cut.otio"
    path.write_text(text)
    with pytest.raises(BadInput, match=rf"cut\.otio is no OpenTimelineIO edit: .*{said}"):
        read_edit(path)

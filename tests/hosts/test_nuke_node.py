"""The node of Visual Dub in the double of Nuke: what it shows, saves, undoes and refuses. No service runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from nuke_double.pictures import Evaluator, read_png
from nuke_helpers import Nuke, make_version, picture, start_nuke

from plugin_nuke.layout import KNOBS
from plugin_nuke.png import Generated, png_of
from plugin_nuke.timing import clip_range
from plugin_nuke.versions import NewVersion, read_version, version_numbers

SHAPE = (6, 8)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Nuke:
    return start_nuke(monkeypatch)


@pytest.fixture
def node(app: Nuke, tmp_path: Path) -> Any:
    """A node below a Read that shows its clip from frame 1001 on, with a cache of its own."""
    read = app.read(tmp_path / "plate.mov")
    read.knob("frame_mode").setValue("start at")
    read.knob("frame").setValue("1001")
    read.knob("colorspace").setValue("default (rec709)")
    made = app.plugin.create()
    made.knob("cache").setValue(str(tmp_path / "cache"))
    return made


def shown(node: Any, frame: int, output: str = "generated pixels") -> Any:
    """What the node shows over a black plate."""
    node.knob("output").setValue(output)
    return Evaluator(SHAPE, movies=False).picture(node.output(), frame)


# ---- the node ----------------------------------------------------------------------------------------------


def test_the_node_stands_below_the_plate_with_its_knobs(app: Nuke, node: Any) -> None:
    assert node.name() == "VisualDub1" and node.input(0).name() == "Read1" and node.inputs() == 1
    assert [n.Class() for n in node.nodes()] == [
        *("Input", "Read", "Expression", "Keymix", "Expression", "Switch", "Output")
    ]
    described = [k for k in KNOBS if k.kind != "Tab_Knob" and not k.hidden]
    assert all(len(node.knob(k.name).tooltip()) > 20 for k in described)
    assert app.plugin.create().name() == "VisualDub2"
    assert [n.name() for n in app.plugin.our_nodes()] == ["VisualDub1", "VisualDub2"]


def test_a_version_is_shown_over_the_plate(app: Nuke, node: Any, tmp_path: Path) -> None:
    make_version(tmp_path / "cache", 3, 6)
    app.plugin.refresh(node)
    assert node.knob("version").value() == 1 and node.knob("first_frame").value() == 1001
    assert "1004-1007, 4 frames dubbed" in node.knob("status").value()
    frames = node.node("frames")
    assert frames.knob("colorspace").value() == "rec709" and frames.firstFrame() == 1004
    dub = shown(node, 1005)
    assert dub[1, 3].tolist() == [100 / 255] * 3 + [128 / 255] and dub[0, 0].tolist() == [0, 0, 0, 0]
    assert shown(node, 1005, "matte")[1, 3].tolist() == [128 / 255] * 4
    over = shown(node, 1005, "dub over plate")  # over black: no plate is there
    assert over[1, 3, 0] == 100 / 255 and over[1, 2, 0] == 0  # the matte's weight is in the picture already
    node.knob("mix").setValue(0.25)
    assert shown(node, 1005, "dub over plate")[2, 3, 0] == pytest.approx(25 / 255)
    assert not shown(node, 1003, "dub over plate").any()  # outside the range


def test_the_version_knob_shows_older_pictures_and_none(app: Nuke, node: Any, tmp_path: Path) -> None:
    make_version(tmp_path / "cache", 0, 1, value=100)
    make_version(tmp_path / "cache", 0, 1, value=200)
    app.plugin.refresh(node)
    assert node.knob("version").value() == 2 and shown(node, 1001)[2, 3, 0] == 200 / 255
    before = app.script()
    node.knob("version").setValue(1)
    assert shown(node, 1001)[2, 3, 0] == 100 / 255
    app.nuke.undo()  # the output knob, which `shown` set to what it was
    assert app.script() == before
    node.knob("version").setValue(0)
    assert node.node("over").knob("disable").value() is True and node.knob("status").value() == "the plate"
    node.knob("version").setValue(7)
    assert "there is no version 7" in node.knob("status").value()


def test_one_step_of_undo_brings_the_script_back(app: Nuke, node: Any, tmp_path: Path) -> None:
    make_version(tmp_path / "cache", 0, 1)
    before = app.script()
    app.plugin.refresh(node)
    after = app.script()
    assert after != before
    app.nuke.undo()
    assert app.script() == before
    app.nuke.redo()
    assert app.script() == after
    app.plugin.refresh(node)  # what is set already is not set again
    app.nuke.undo()
    assert app.script() == before


def test_it_saves_and_reloads(app: Nuke, node: Any, tmp_path: Path) -> None:
    make_version(tmp_path / "cache", 0, 1)
    app.plugin.refresh(node)
    node.knob("actor").setValue('ada [of] {two} "names"')
    app.nuke.scriptSaveAs(str(tmp_path / "a.nk"), 1)
    text = (tmp_path / "a.nk").read_text()
    app.nuke.scriptOpen(str(tmp_path / "a.nk"))
    again = app.nuke.toNode("VisualDub1")
    assert app.script() == text and again is not node
    assert again.knob("actor").value() == 'ada [of] {two} "names"' and app.host.is_ours(again)
    again.knob("version").setValue(0)
    again.knob("refresh").execute()  # the button still knows its node
    assert app.script() == text
    assert shown(again, 1001)[2, 3, 0] == 100 / 255


def test_a_script_that_is_saved_elsewhere_keeps_its_frames(app: Nuke, node: Any, tmp_path: Path) -> None:
    node.knob("cache").setValue("")
    app.nuke.scriptSaveAs(str(tmp_path / "a.nk"), 1)
    make_version(tmp_path / "visualdub" / "VisualDub1", 0, 1)
    app.plugin.refresh(node)
    (tmp_path / "other").mkdir()
    app.nuke.scriptSaveAs(str(tmp_path / "other" / "a.nk"), 1)
    app.nuke.createNode("Write", inpanel=False)
    app.nuke.execute("Write1", 1001, 1002)
    assert app.host.cache_of(node) == str(tmp_path / "visualdub" / "VisualDub1")


# ---- missing frames ----------------------------------------------------------------------------------------


def test_missing_frames_stop_the_render_show_the_plate_or_hold(app: Nuke, node: Any, tmp_path: Path) -> None:
    version = make_version(tmp_path / "cache", 0, 3)
    app.plugin.refresh(node)
    os.remove(version.path(2))
    write = app.nuke.createNode("Write", inpanel=False)
    assert write.input(0) is node
    drawn: list[int] = []
    app.nuke.double.draws = lambda _, frame: drawn.append(frame)
    with pytest.raises(app.plugin.NoFrames, match=r"VisualDub1: frame 1003 of version 1 is gone"):
        app.nuke.execute(write, 1001, 1004)
    assert drawn == [1001, 1002]
    with pytest.raises(RuntimeError, match="no such file"):
        shown(node, 1003)
    node.knob("missing").setValue("plate")
    assert not shown(node, 1003).any()
    node.knob("missing").setValue("hold")
    assert np.array_equal(shown(node, 1003), shown(node, 1002))
    app.nuke.execute(write, 1001, 1004)
    node.knob("missing").setValue("error")
    node.knob("disable").setValue(True)
    app.nuke.execute(write, 1001, 1004)


def test_a_render_without_the_version_is_stopped_before_its_first_frame(
    app: Nuke, node: Any, tmp_path: Path
) -> None:
    make_version(tmp_path / "cache", 0, 3)
    app.plugin.refresh(node)
    (tmp_path / "cache").rename(tmp_path / "elsewhere")
    app.nuke.createNode("Dot", inpanel=False)
    app.nuke.createNode("Write", inpanel=False)
    drawn: list[int] = []
    app.nuke.double.draws = lambda _, frame: drawn.append(frame)
    with pytest.raises(app.plugin.NoFrames, match=r"there is no version 1 in .*press Dub"):
        app.nuke.execute("Write1", 1001, 1004)
    assert drawn == []


# ---- the plate ---------------------------------------------------------------------------------------------


def test_the_plate_is_the_read_above_and_nothing_else_between(app: Nuke, node: Any, tmp_path: Path) -> None:
    read = app.nuke.toNode("Read1")
    node.knob("dialogue").setValue("/d.wav")
    node.knob("actor").setValue(" ada ")
    node.knob("range").setValue("1003-1010")
    asked = app.host.asked_of(node)
    assert (asked.clip, asked.frames, asked.actor) == (str(tmp_path / "plate.mov"), (2, 10), "ada")
    read.knob("first").setValue(11)  # trimmed: its first frame is the clip's tenth
    assert app.host.asked_of(node).frames == (12, 20)
    dot = app.nuke.createNode("Dot", inpanel=False)
    dot.setInput(0, read)
    node.setInput(0, dot)
    assert app.host.asked_of(node).clip == asked.clip
    grade = app.nuke.createNode("Grade", inpanel=False)
    grade.setInput(0, read)
    node.setInput(0, grade)
    with pytest.raises(app.plugin.BadSetting, match="between the plate and VisualDub1 stands Grade1"):
        app.host.asked_of(node)
    node.knob("clip").setValue("/other.mov")
    node.knob("first_frame").setValue(1)
    node.knob("range").setValue("3-4")
    assert app.host.asked_of(node).frames == (2, 4) and app.host.asked_of(node).clip == "/other.mov"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda app, node: node.setInput(0, None), "connected to no Read"),
        (lambda app, node: app.nuke.toNode("Read1").knob("file").setValue(""), "Read1 names no file"),
        (lambda app, node: app.nuke.toNode("Read1").knob("file").setValue("/a.%04d.exr"), "expected a movie"),
        (
            lambda app, node: node.knob("range").setValue("1-9"),
            "not inside the clip, which is shown at 1001-1040",
        ),
        (lambda app, node: node.knob("range").setValue("a few"), "is no range"),
        (lambda app, node: node.knob("cache").setValue(""), "the script is not saved yet"),
        (lambda app, node: None, "the node names no dialogue"),
    ],
)
def test_what_cannot_be_dubbed_says_so(app: Nuke, node: Any, change: Any, says: str) -> None:
    change(app, node)
    before = app.script()
    with pytest.raises(app.plugin.BadSetting, match=says):
        app.host.asked_of(node).fields()
    assert app.script() == before


def test_frames_that_are_left_alone_are_asked_for_in_frames_of_the_clip(app: Nuke, node: Any) -> None:
    for name, value in (("dialogue", "/d.wav"), ("actor", "ada"), ("range", "1003-1020")):
        node.knob(name).setValue(value)
    plain = app.host.asked_of(node).fields()
    assert "skip" not in plain
    node.knob("leave").setValue("1005-1006, 1010 ,")
    asked = app.host.asked_of(node)
    assert asked.skip == ((4, 6), (9, 10)) and asked.fields()["skip"] == ["4:6", "9:10"]
    assert asked.fields()["output"] != plain["output"]  # another movie
    node.knob("leave").setValue("1005-1099")
    with pytest.raises(app.plugin.BadSetting, match="not inside the clip, which is shown at 1001-1040"):
        app.host.asked_of(node)


def test_a_node_of_an_older_script_has_no_frames_to_leave_alone(app: Nuke, node: Any) -> None:
    plain = node.knob
    node.knob = lambda name: None if name in ("leave", "quality", "consent") else plain(name)
    asked = app.host.asked_of(node)
    assert (asked.skip, asked.quality, asked.consent) == ((), "final", "")


def test_a_draft_needs_no_actor_but_consent(app: Nuke, node: Any) -> None:
    node.knob("dialogue").setValue("/d.wav")
    assert node.knob("quality").value() == "final"
    with pytest.raises(app.plugin.BadSetting, match="names no actor"):
        app.host.asked_of(node).fields()
    node.knob("quality").setValue("draft")
    with pytest.raises(app.plugin.BadSetting, match="names no consent"):
        app.host.asked_of(node).fields()
    node.knob("consent").setValue(" Ada, today, tests ")
    drafted = app.host.asked_of(node).fields()
    assert (drafted["quality"], drafted["consent"]) == ("draft", "Ada, today, tests")
    assert "actor" not in drafted
    node.knob("actor").setValue("ada")
    rough = app.host.asked_of(node).fields()
    assert (rough["quality"], rough["actor"]) == ("draft", "ada") and "consent" not in rough
    node.knob("quality").setValue("final")
    final = app.host.asked_of(node).fields()
    assert "quality" not in final and "consent" not in final
    assert len({f["output"] for f in (drafted, rough, final)}) == 3


def test_another_node_is_refused(app: Nuke, node: Any) -> None:
    for call in (app.plugin.dub, app.plugin.refresh):
        call(app.nuke.createNode("Group", inpanel=False)) if call is app.plugin.refresh else None
    assert "no node of Visual Dub" in app.nuke.double.said[-1]
    with pytest.raises(app.plugin.BadSetting, match="no node of Visual Dub"):
        app.plugin.dub(app.nuke.toNode("Read1"))


@pytest.mark.parametrize(
    ("text", "first", "length", "expected"),
    [
        ("", 1001, 40, None),
        ("1001-1040", 1001, 40, (0, 40)),
        (" 1010 ", 1001, 40, (9, 10)),
        ("-5 - -3", -10, 40, (5, 8)),
        ("10-20", 1, None, (9, 20)),
    ],
)
def test_ranges_of_the_script_are_ranges_of_the_clip(
    text: str, first: int, length: int | None, expected: tuple[int, int] | None
) -> None:
    assert clip_range(text, first, length) == expected


# ---- the cache ---------------------------------------------------------------------------------------------


def test_equal_pixels_are_no_new_version_and_unfinished_ones_leave_nothing(tmp_path: Path) -> None:
    first, second = make_version(tmp_path, 0, 2), make_version(tmp_path, 0, 2)
    assert first == second and version_numbers(str(tmp_path)) == [1]
    assert make_version(tmp_path, 1, 2).number == 2 and make_version(tmp_path, 0, 2, 50).number == 3
    os.remove(first.path(1))
    assert make_version(tmp_path, 0, 2).number == 4  # a version that lost frames is not given again
    with pytest.raises(KeyboardInterrupt), NewVersion(str(tmp_path)) as new:
        new.add(0, "key", picture(), True)
        raise KeyboardInterrupt
    assert sorted(os.listdir(tmp_path)) == ["v001", "v002", "v003", "v004"]
    assert read_version(str(tmp_path), 1) == first


def test_two_hosts_that_finish_together_get_two_versions(tmp_path: Path) -> None:
    one, two = NewVersion(str(tmp_path)), NewVersion(str(tmp_path))
    one.add(0, "a", picture(), True)
    two.add(0, "b", picture(), True)
    free = two._free()
    assert one.finish({}, ()).number == 1
    answers = iter([free])
    two._free = lambda: next(answers, (2, str(tmp_path / "v002")))  # type: ignore[method-assign]
    assert two.finish({}, ()).number == 2


@pytest.mark.parametrize("bits", [8, 16])
def test_a_picture_is_what_another_reader_sees(tmp_path: Path, bits: int) -> None:
    rng = np.random.default_rng(5)
    most = (1 << bits) - 1
    rgb = rng.integers(0, most, (3, 4, 3), endpoint=True).astype(f"u{bits // 8}")
    matte = np.array([[0, 1, 128, 255]] * 3, np.uint8)
    made = Generated(9, 7, (2, 3, 6, 6), rgb.tobytes(), matte.tobytes(), bits)
    (tmp_path / "a.png").write_bytes(png_of(made))
    expected = np.zeros((7, 9, 4))
    expected[3:6, 2:6, :3] = np.where(matte[..., None] > 0, rgb / most, 0)
    expected[3:6, 2:6, 3] = matte / 255
    assert np.allclose(read_png(tmp_path / "a.png"), expected, atol=1e-9)
    assert cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED).dtype == rgb.dtype
    with pytest.raises(ValueError, match="the box"):
        png_of(Generated(9, 7, (2, 3, 6, 6), rgb.tobytes()[:-1], matte.tobytes(), bits))

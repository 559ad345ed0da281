"""The double of Nuke refuses what Nuke does not document, and keeps and saves what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nuke_double import make_nuke, read_script, write_script
from nuke_double.script_text import commands, quote
from nuke_helpers import API

SHARED = Path(__file__).resolve().parents[3] / "shared"
SAVED = r"""#! C:/Program Files/Nuke13.0v1/nuke-13.0.dll -nx
#write_info Write1 file:"/x.exr" format:"1920 1080 1"
version 13.0 v1
define_window_layout_xml {<?xml version="1.0"?>
<layout version="1.0"><window x="0"/></layout>
}
Root {
 inputs 0
 name /show/a.nk
 last_frame 40
 fps 25
}
Read {
 inputs 0
 file "/show/a \[x].mov"
 format "1920 1080 0 0 1920 1080 1 HD_1080"
 origset true
 name Plate
 xpos -40
}
set N1a2b [stack 0]
Blur {
 size {{parent.Plate.first i} 3}
 name Soft
}
push $N1a2b
Grade {
 inputs 1+1
 multiply 2
 name Grade1
}
push 0
push $N1a2b
Keymix {
 inputs 3
 name Mix
}
Group {
 name Tool
 addUserKnob {20 User}
 addUserKnob {4 kind l "which \"one\"" M {"Clean Plate" Matte ""} +STARTLINE}
 kind Matte
 addUserKnob {7 amount R -1 2}
 amount 0.25
}
 Input {
  inputs 0
  name Input1
 }
 Switch {
  which {{parent.kind}}
  name Switch1
 }
 Output {
  name Output1
 }
end_group
"""


@pytest.fixture
def nuke() -> Any:
    return make_nuke(str(API))


def test_what_is_not_documented_is_not_there(nuke: Any) -> None:
    read = nuke.createNode("Read")
    for call in (
        lambda: nuke.rescanReads(),
        lambda: nuke.createNode("Read", nopanel=True),
        lambda: nuke.createNode(),
        lambda: nuke.root(1),
        lambda: read.file(),
        lambda: read.setInput(0),
        lambda: read.knob("file").setValue("x", "main", 3),
        lambda: nuke.Text_Knob("t").setValue("one argument"),
    ):
        with pytest.raises((AttributeError, TypeError)):
            call()
    with pytest.raises(RuntimeError, match="Unknown command"):
        nuke.createNode("VisualDub")


def test_a_script_of_another_hand_is_read(nuke: Any) -> None:
    read_script(nuke.double, SAVED, nuke.root())
    read, mix, tool = (nuke.toNode(n) for n in ("Plate", "Mix", "Tool"))
    assert read.knob("file").value() == "/show/a [x].mov" and read.xpos() == -40
    assert [n and n.name() for n in (mix.input(0), mix.input(1), mix.input(2))] == ["Plate", None, "Grade1"]
    assert nuke.toNode("Grade1").input(0) is read and nuke.toNode("Soft").input(0) is read
    assert tool.input(0) is mix and tool.knob("kind").value() == "Matte"
    assert tool.knob("amount").value() == 0.25 and tool.knob("kind").label() == 'which "one"'
    assert nuke.toNode("Tool.Switch1").knob("which").value() == 1
    text = write_script(nuke.double)
    nuke.scriptClear()
    read_script(nuke.double, text, nuke.root())
    assert write_script(nuke.double) == text and "which {{parent.kind}}" in text


@pytest.mark.parametrize(
    "word", ["plain", "", "two words", 'a"b', "c{d", "[x]", "$v", "back\\slash", "line\nend"]
)
def test_a_word_comes_back(word: str) -> None:
    assert list(commands(f"name {quote(word)} next")) == [["name", word, "next"]]


@pytest.mark.parametrize("text", ["Read {\n name x\n", 'name "x', "nothing {"])
def test_a_broken_script_is_refused(nuke: Any, text: str) -> None:
    with pytest.raises((ValueError, RuntimeError)):
        read_script(nuke.double, text, nuke.root())


def test_undo_brings_the_script_back_and_redo_brings_it_on(nuke: Any) -> None:
    read = nuke.createNode("Read")
    before = write_script(nuke.double)
    step = nuke.Undo()
    step.begin("x")
    read.knob("first").setValue(7)
    group = nuke.createNode("Group")
    assert group.input(0) is None  # it has no input yet
    group.addKnob(nuke.Int_Knob("n", "n"))
    group.knob("n").setValue(3)
    nuke.delete(read)
    step.end()
    after = write_script(nuke.double)
    nuke.undo()
    assert write_script(nuke.double) == before and nuke.toNode("Read1") is read
    nuke.redo()
    assert write_script(nuke.double) == after != before


def test_what_a_callback_changes_is_undone_with_its_cause(nuke: Any) -> None:
    read = nuke.createNode("Read")
    before = write_script(nuke.double)
    nuke.addKnobChanged(lambda: nuke.thisNode().knob("last").setValue(9), nodeClass="Read")
    read.knob("first").setValue(5)
    assert read.knob("last").value() == 9
    nuke.undo()
    assert write_script(nuke.double) == before

"""The node: its knobs, and the nodes inside it, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from visualdub.wire.requests import DRAFT, FINAL

SCHEMA = 1  # of the node; raised when a knob is renamed or the nodes inside change
MARK = "visualdub_schema"  # a hidden knob that says that a Group is ours
OVER, MATTE, GENERATED = "dub over plate", "matte", "generated pixels"
ERROR, PLATE, HOLD = "error", "plate", "hold"
ON_ERROR = {
    ERROR: "error",
    PLATE: "black",
    HOLD: "nearest frame",
}  # of the Read: what it shows in place of a frame
CALL = "import visualdub_nuke; visualdub_nuke.{0}(nuke.thisNode())"


@dataclass(frozen=True)
class KnobSpec:
    """One knob. kind: the name of its class in Nuke. rest: what its class takes after name and label."""

    kind: str
    name: str
    label: str
    tooltip: str = ""
    rest: tuple[Any, ...] = ()
    value: Any = None
    newline: bool = True
    hidden: bool = False


KNOBS = (
    KnobSpec("Tab_Knob", "visualdub", "Visual Dub"),
    KnobSpec("Int_Knob", MARK, "schema", value=SCHEMA, hidden=True),
    KnobSpec(
        "File_Knob",
        "dialogue",
        "dialogue",
        "The recording that the actor is to speak: a sound file, or a movie with sound. It begins with the"
        " first frame"
        " of the range.",
    ),
    KnobSpec(
        "String_Knob",
        "actor",
        "actor",
        "Who speaks: the name of an actor of the service's library, or the path of an .actor folder.",
    ),
    KnobSpec(
        "Enumeration_Knob",
        "quality",
        "quality",
        "A draft is rougher and there in a fraction of the time. It needs no actor: without one, the mouth"
        " comes out of the clip's own other frames.",
        ((FINAL, DRAFT),),
    ),
    KnobSpec(
        "String_Knob",
        "consent",
        "consent",
        "Who consented to a draft without an actor, when and to what, with commas between: Ada Lovelace,"
        " 2026-01-31, this film. It goes into the record beside the movie.",
    ),
    KnobSpec(
        "String_Knob",
        "range",
        "range",
        "The frames to dub, as 1001-1048, in this script's frames. Empty: the whole clip.",
    ),
    KnobSpec(
        "String_Knob",
        "leave",
        "leave alone",
        "Frames inside the range that keep the plate, as 1010-1015, 1030, in this script's frames.",
    ),
    KnobSpec("PyScript_Knob", "dub", "Dub", "Dub the range and show it.", (CALL.format("start"),)),
    KnobSpec(
        "PyScript_Knob",
        "cancel",
        "Cancel",
        "Stop dubbing. The node stays as it was.",
        (CALL.format("cancel"),),
        newline=False,
    ),
    KnobSpec(
        "PyScript_Knob",
        "refresh",
        "Refresh",
        "Look at the cache and at the plate again. Without a version, show the newest.",
        (CALL.format("refresh"),),
        newline=False,
    ),
    KnobSpec(
        "String_Knob", "status", "status", "What the node shows, and what went wrong.", value="not dubbed yet"
    ),
    KnobSpec(
        "Int_Knob",
        "version",
        "version",
        "Which version of the cache is shown. Dub makes a new one where the pixels differ; 0 shows the"
        " plate.",
    ),
    KnobSpec(
        "Enumeration_Knob",
        "output",
        "output",
        "What comes out: the dub over the plate; the matte; or only the generated pixels, black elsewhere,"
        " with the"
        " matte as their alpha, not multiplied in.",
        ((OVER, MATTE, GENERATED),),
    ),
    KnobSpec(
        "Double_Knob", "mix", "mix", "How much of the dub is shown over the plate; 1 is all of it.", value=1.0
    ),
    KnobSpec(
        "Enumeration_Knob",
        "missing",
        "missing frames",
        "What a frame does whose picture is gone: stop the render; show the plate; or hold the nearest"
        " picture.",
        ((ERROR, PLATE, HOLD),),
    ),
    KnobSpec(
        "String_Knob",
        "colorspace",
        "plate colour space",
        "The colour space of the plate's samples, as its Read has it. Empty: as the Read above has it.",
    ),
    KnobSpec(
        "File_Knob",
        "clip",
        "clip",
        "The movie that the plate is read from. Empty: that of the Read above. Set it where other nodes"
        " stand between.",
    ),
    KnobSpec(
        "Int_Knob",
        "first_frame",
        "first frame",
        "The frame of this script that shows the clip's first picture. Without a clip of its own, the node"
        " takes it from"
        " the Read above.",
        value=1,
    ),
    KnobSpec(
        "File_Knob",
        "cache",
        "cache",
        "The folder of the versions. Empty: a folder visualdub beside this script, which the first dub writes"
        " here. The service must be allowed to write there: vdub serve --root.",
    ),
    KnobSpec(
        "String_Knob",
        "service",
        "service",
        "The address of the service, as vdub serve prints it. Empty: the one that you started on this"
        " machine.",
    ),
)


@dataclass(frozen=True)
class Inner:
    """A node inside the group. inputs: names of others. expressions: knob -> expression."""

    kind: str
    name: str
    inputs: tuple[str, ...] = ()
    values: tuple[tuple[str, Any], ...] = ()
    expressions: tuple[tuple[str, str], ...] = ()


NODES = (
    Inner("Input", "plate"),
    Inner("Read", "frames", values=(("before", "black"), ("after", "black"))),
    # the dub is blended into its picture already: weighing it by the matte again would show half of each edge
    Inner("Expression", "changed", ("frames",), values=(("expr3", "a > 0"),)),
    Inner(
        "Keymix",
        "over",
        ("plate", "frames", "changed"),
        expressions=(("mix", "parent.mix"), ("disable", "parent.version == 0")),
    ),
    Inner("Expression", "matte", ("frames",), values=tuple((f"expr{i}", "a") for i in range(4))),
    Inner("Switch", "chosen", ("over", "matte", "frames"), expressions=(("which", "parent.output"),)),
    Inner("Output", "Output1", ("chosen",)),
)

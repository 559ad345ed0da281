"""Nodes of the double and the session that they live in. Python 3.7, the standard library alone."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

from nuke_double import knobs as k

ENUM = k.Enumeration_Knob
EDGES = ("hold", "loop", "bounce", "black")
# class: (inputs that it has, {knob: (class, arguments after the name and the label, default)})
CLASSES: dict[str, tuple[int, dict[str, tuple[Any, ...]]]] = {
    "Read": (
        0,
        {
            "file": (k.File_Knob,),
            "first": (k.Int_Knob, (), 1),
            "last": (k.Int_Knob, (), 1),
            "origfirst": (k.Int_Knob, (), 1),
            "origlast": (k.Int_Knob, (), 1),
            "before": (ENUM, (EDGES,)),
            "after": (ENUM, (EDGES,)),
            "on_error": (ENUM, (("error", "black", "checkerboard", "nearest frame"),)),
            "frame_mode": (ENUM, (("expression", "start at", "offset"),)),
            "frame": (k.EvalString_Knob,),
            "colorspace": (ENUM, (("default",),), "default"),
            "raw": (k.Boolean_Knob,),
            "auto_alpha": (k.Boolean_Knob,),
            "premultiplied": (k.Boolean_Knob,),
            "reload": (k.Script_Knob,),
        },
    ),
    "Write": (
        1,
        {
            "file": (k.File_Knob,),
            "first": (k.Int_Knob, (), 1),
            "last": (k.Int_Knob, (), 1),
            "use_limit": (k.Boolean_Knob,),
        },
    ),
    "Keymix": (3, {"mix": (k.Double_Knob, (), 1.0), "invertMask": (k.Boolean_Knob,)}),
    "Expression": (1, {f"expr{i}": (k.String_Knob,) for i in range(4)}),
    "Switch": (8, {"which": (k.Int_Knob,)}),
    "Grade": (2, {"multiply": (k.Double_Knob, (), 1.0)}),
    "TimeOffset": (1, {"time_offset": (k.Int_Knob,)}),
    "Dot": (1, {}),
    "NoOp": (1, {}),
    "Input": (0, {}),
    "Output": (1, {}),
    "Group": (1, {}),
    "Root": (
        0,
        {
            "first_frame": (k.Int_Knob, (), 1),
            "last_frame": (k.Int_Knob, (), 100),
            "fps": (k.Double_Knob, (), 24.0),
        },
    ),
}
COMMON = {  # knobs of every node
    "name": (k.String_Knob,),
    "label": (k.String_Knob,),
    "disable": (k.Boolean_Knob,),
    "tile_color": (k.Int_Knob,),
    "xpos": (k.Int_Knob,),
    "ypos": (k.Int_Knob,),
    "selected": (k.Boolean_Knob,),
}
DEFAULT_ARITY = {"Read": 0, "Input": 0, "Root": 0}  # of a script without `inputs`; else 1


class Node:
    """One node. Its public methods are Nuke's."""

    def __init__(self, session: Any, class_name: str, parent: Any) -> None:
        self._session, self._class, self._parent = session, class_name, parent
        self._inputs: list[Any] = []
        self._knobs: OrderedDict[str, Any] = OrderedDict()
        self._user: list[str] = []  # names of knobs that were added
        self._most = CLASSES[class_name][0] if class_name in CLASSES else 8
        facts = {**COMMON, **CLASSES.get(class_name, (0, {}))[1]}
        for name, (kind, *more) in facts.items():
            knob = session.knob_class(kind)(name, None, *(more[0] if more else ()))
            if kind is ENUM and name == "colorspace":
                knob.open_list = True
            if len(more) > 1:
                knob._value = knob._default = more[1]
            knob._node = self
            self._knobs[name] = knob

    # ---- documented ----------------------------------------------------------------------------------------

    def Class(self) -> str:
        return self._class

    def name(self) -> str:
        return str(self._knobs["name"]._value)

    def fullName(self) -> str:
        above = "" if self._parent is None or self._parent._parent is None else self._parent._full + "."
        return above + self._name

    def setName(self, name: str, uncollide: bool = True, updateExpressions: bool = False) -> None:
        self._knobs["name"]._set(self._session.free_name(name, self._parent, self))

    def parent(self) -> Any:
        return self._parent

    def knob(self, p: str, follow_link: bool = True) -> Any:
        return self._knobs.get(p)

    def knobs(self) -> dict[str, Any]:
        return dict(self._knobs)

    def addKnob(self, k: Any) -> None:
        self._add_knob(k)

    def removeKnob(self, k: Any) -> None:
        name = k._name
        at = self._user.index(name)
        del self._knobs[name]
        self._user.remove(name)
        self._session.did(lambda: self._add_knob(k, at), lambda: self._drop(k))

    def inputs(self) -> int:
        return len(self._inputs)

    def maximumInputs(self) -> int:
        return self._most

    def input(self, i: int) -> Any:
        return self._inputs[i] if i < len(self._inputs) else None

    def setInput(self, i: int, node: Any) -> bool:
        if i >= self._most_now():
            return False
        before = list(self._inputs)
        after = before + [None] * (i + 1 - len(before))
        after[i] = node
        while after and after[-1] is None:
            after.pop()
        self._inputs = after
        self._session.did(lambda: self._put_inputs(before), lambda: self._put_inputs(after))
        return True

    def setXYpos(self, x: int, y: int) -> None:
        self._knobs["xpos"]._set(x)
        self._knobs["ypos"]._set(y)

    def xpos(self) -> int:
        return int(self._knobs["xpos"]._value)

    def ypos(self) -> int:
        return int(self._knobs["ypos"]._value)

    def setSelected(self, selected: bool) -> None:
        self._knobs["selected"]._value = bool(selected)

    def isSelected(self) -> bool:
        return bool(self._knobs["selected"]._value)

    def firstFrame(self) -> int:
        return self._shown()[0]

    def lastFrame(self) -> int:
        return self._shown()[1]

    def dependencies(self, what: int = 0) -> list[Any]:
        return [n for n in self._inputs if n is not None]

    def showControlPanel(self, forceFloat: bool = False) -> None:
        self._session.panels.append(self)

    # ---- of the double -------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return str(self._knobs["name"]._value)

    @property
    def _full(self) -> str:
        above = "" if self._parent is None or self._parent._parent is None else self._parent._full + "."
        return above + self._name

    def _most_now(self) -> int:
        if self._class == "Group":
            return sum(n._class == "Input" for n in self._children)
        return self._most

    def _add_knob(self, knob: Any, at: int | None = None) -> None:
        if knob._name in self._knobs:
            raise ValueError(f"{self._name} has a knob {knob._name} already")
        knob._node = self
        self._knobs[knob._name] = knob
        self._user.insert(len(self._user) if at is None else at, knob._name)
        self._session.did(lambda: self._drop(knob), lambda: self._add_knob(knob, at))

    def _drop(self, knob: Any) -> None:
        self._knobs.pop(knob._name, None)
        if knob._name in self._user:
            self._user.remove(knob._name)

    def _put_inputs(self, inputs: list[Any]) -> None:
        self._inputs = list(inputs)

    def _get(self, name: str) -> Any:
        return self._knobs[name]._get()

    def _file_frame(self, time: int) -> int:
        """The number of the file that a Read shows at `time`, before `before` and `after` count."""
        mode, value = self._get("frame_mode"), self._get("frame")
        if not value:
            return time
        if mode == "start at":
            return time - int(value) + int(self._get("first"))
        if mode == "offset":
            return time + int(value)
        raise AssertionError("the double evaluates no expression of a Read's frame")

    def _shown(self) -> tuple[int, int]:
        if self._class == "Read":
            shift = self._file_frame(0)
            return self._get("first") - shift, self._get("last") - shift
        if self._inputs and self._inputs[0] is not None:
            return tuple(self._inputs[0]._shown())  # type: ignore[return-value]
        root = self._session.root_node
        return root._get("first_frame"), root._get("last_frame")


class Group(Node):
    """A node with nodes inside."""

    def __init__(self, session: Any, class_name: str, parent: Any) -> None:
        Node.__init__(self, session, class_name, parent)
        self._children: list[Any] = []

    def begin(self) -> Any:
        self._session.context.append(self)
        return self

    def end(self) -> None:
        assert self._session.context.pop() is self, "groups end in the order in which they began"

    def nodes(self) -> list[Any]:
        return list(self._children)

    def node(self, s: str) -> Any:
        return self._find(s)

    def output(self) -> Any:
        return next((n for n in self._children if n._class == "Output"), None)

    def _find(self, path: str) -> Any:
        first, _, rest = path.partition(".")
        found = next((n for n in self._children if n._name == first), None)
        return found._find(rest) if rest and isinstance(found, Group) else None if rest else found

    def _every(self) -> Iterator[Any]:
        for node in self._children:
            yield node
            if isinstance(node, Group):
                yield from node._every()


class Root(Group):
    """The script itself. Its name is the file that it was saved to."""

    def setModified(self, b: bool) -> None:
        self._session.is_modified = bool(b)

    def modified(self) -> bool:
        return bool(self._session.is_modified)

    def firstFrame(self) -> int:
        return int(self._get("first_frame"))

    def lastFrame(self) -> int:
        return int(self._get("last_frame"))

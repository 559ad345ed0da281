"""A double of Nuke: its documented calls, with real nodes, knobs, undo and scripts. Nothing else is there.

`make_nuke` makes the module that a plug-in imports as `nuke`. Python 3.7, the standard library alone;
`nuke_double.pictures` evaluates nodes and needs numpy.
"""

from __future__ import annotations

import threading
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

from nuke_double import knobs as k
from nuke_double.nodes import CLASSES, Group, Node, Root
from nuke_double.scripts import read_script, write_script
from nuke_double.surface import Surface, documented


class Session:
    """What one run of Nuke holds.

    gui: whether there is a window; what other threads hand to the main thread then waits for `pump`.
    draws: called with a Write node and a frame by `nuke.execute`.
    """

    def __init__(self, api: str, gui: bool = False) -> None:
        self.surface = Surface(api)
        self.gui = gui
        self.draws: Callable[[Any, int], None] | None = None
        self.said: list[str] = []  # messages in windows and in the terminal
        self.panels: list[Any] = []
        self.menu_items: dict[str, Any] = {}
        self.plugin_paths: list[str] = []
        self.tasks: list[Any] = []
        self.is_modified = False
        self._knob_classes: dict[Any, Any] = {}
        self._node_classes = {
            name: documented(self.surface, kind, kind.__name__)
            for name, kind in (("Node", Node), ("Group", Group), ("Root", Root))
        }
        self._waiting: list[tuple[Any, Any, Any]] = []
        self._main = threading.get_ident()
        self.callbacks: dict[str, list[Any]] = {}
        self._running_callbacks = False
        self.clear()

    def clear(self) -> None:
        self.frame = 1
        self.this_node: Any = None
        self.this_knob: Any = None
        self._undo: list[list[Any]] = []
        self._redo: list[list[Any]] = []
        self._open: list[Any] | None = None
        self._quiet = True
        self.root_node = self._node_classes["Root"](self, "Root", None)
        self.context: list[Any] = [self.root_node]
        self._quiet = False

    # ---- changes, and how they are undone ------------------------------------------------------------------

    def did(self, undo: Any, redo: Any) -> None:
        assert threading.get_ident() == self._main, "only the main thread may change the script"
        if self._quiet:
            return
        self.is_modified = True
        self._redo.clear()
        if self._open is not None:
            self._open.append((undo, redo))
        else:
            self._undo.append([(undo, redo)])

    def changed(self, knob: Any, before: Any, after: Any) -> None:
        """A knob has changed. What callbacks change of it belongs to the same step of undo."""
        alone = self._open is None and not self._quiet
        if alone:
            self.begin_undo()
        try:
            self.did(lambda: knob._put_back(before), lambda: knob._put_back(after))
            self._call_back(knob)
        finally:
            if alone:
                self.end_undo()

    def _call_back(self, knob: Any) -> None:
        node = knob._node
        if self._quiet or node._knobs.get(knob._name) is not knob:
            return
        for call, args, named, node_class, only in self.callbacks.get("KnobChanged", ()):
            if node_class in ("*", node._class) and only in (None, node):
                self.run_for(node, knob, call, args, named)

    def begin_undo(self) -> None:
        assert self._open is None, "an undo step is open already"
        self._open = []

    def end_undo(self) -> None:
        assert self._open is not None
        if self._open:
            self._undo.append(self._open)
        self._open = None

    def step(self, come_from: list[Any], go_to: list[Any], which: int) -> None:
        if not come_from:
            return
        steps = come_from.pop()
        self._quiet = True
        for change in reversed(steps) if which == 0 else steps:
            change[which]()
        self._quiet = False
        go_to.append(steps)

    def run_for(self, node: Any, knob: Any, call: Any, args: Any, named: Any) -> None:
        before = self.this_node, self.this_knob
        self.this_node, self.this_knob = node, knob
        try:
            call(*args, **named)
        finally:
            self.this_node, self.this_knob = before

    def press(self, knob: Any) -> None:
        """What a click on a button does."""
        self.this_node, self.this_knob = knob._node, knob
        try:
            exec(knob._value, {"nuke": self.module})
        finally:
            self.this_node = self.this_knob = None

    def pump(self) -> int:
        """Run what other threads handed to the main thread; how much it was."""
        waiting, self._waiting = self._waiting, []
        for call, args, named in waiting:
            call(*args, **named)
        return len(waiting)

    # ---- nodes ---------------------------------------------------------------------------------------------

    def knob_class(self, kind: Any) -> Any:
        """The documented class of a kind of knob of the double."""
        if kind not in self._knob_classes:
            self._knob_classes[kind] = documented(self.surface, kind, kind.host_class)
        return self._knob_classes[kind]

    def make(self, class_name: str, parent: Any) -> Any:
        kind = self._node_classes["Group" if class_name == "Group" else "Node"]
        node = kind(self, class_name, parent)
        node._knobs["name"]._value = self.free_name(f"{class_name}1", parent, node)
        parent._children.append(node)
        self.did(lambda: parent._children.remove(node), lambda: parent._children.append(node))
        return node

    def free_name(self, wanted: str, parent: Any, node: Any) -> str:
        taken = {n._name for n in parent._children if n is not node}
        base = wanted.rstrip("0123456789")
        number = int(wanted[len(base) :] or 0)
        while wanted in taken:
            number += 1
            wanted = f"{base}{number}"
        return wanted

    def remove(self, node: Any) -> None:
        siblings = node._parent._children
        users = [(n, list(n._inputs)) for n in siblings if node in n._inputs]
        at = siblings.index(node)

        def forward() -> None:
            siblings.remove(node)
            for user, inputs in users:
                user._inputs = [None if i is node else i for i in inputs]

        def back() -> None:
            siblings.insert(at, node)
            for user, inputs in users:
                user._inputs = list(inputs)

        forward()
        self.did(back, forward)

    module: Any = None


def make_nuke(api: str, gui: bool = False) -> Any:
    """The module `nuke` over a new session, which is its attribute `double`.

    api: the path of the documented calls, see `Surface`.
    """
    from nuke_double.calls import Calls

    session = Session(api, gui)
    module = types.ModuleType("nuke")
    calls = Calls(session)
    for name in (n for n in vars(Calls) if not n.startswith("_")):
        signature = session.surface.functions.get(name)
        assert signature is not None, f"nuke.{name} is not documented"
        setattr(module, name, _checked(session.surface, name, signature, getattr(calls, name)))
    for name, value in session.surface.constants.items():
        setattr(module, name, value)
    for kind in vars(k).values():
        if isinstance(kind, type) and issubclass(kind, k.Knob):
            setattr(module, kind.__name__, session.knob_class(kind))
    for kind in calls._classes():
        setattr(module, kind.__name__, documented(session.surface, kind, kind.__name__))
    module.GUI = module.INTERACTIVE = gui  # type: ignore[attr-defined]
    module.double = session  # type: ignore[attr-defined]
    session.module = module
    return module


def _checked(surface: Surface, name: str, signature: Any, function: Any) -> Any:
    def call(*args: Any, **named: Any) -> Any:
        surface.check(name, signature, args, named)
        return function(*args, **named)

    call.__name__ = name
    return call


__all__ = ["CLASSES", "Session", "make_nuke", "read_script", "write_script"]

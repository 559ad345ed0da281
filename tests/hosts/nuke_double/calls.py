"""The functions of the module `nuke`, as far as the double has them. Python 3.7."""

from __future__ import annotations

import os
import threading
from typing import Any

from nuke_double.nodes import CLASSES
from nuke_double.scripts import read_script, write_script


class Calls:
    """Every public method is a function of `nuke`."""

    def __init__(self, session: Any) -> None:
        self._s = session

    # ---- nodes ---------------------------------------------------------------------------------------------

    def root(self) -> Any:
        return self._s.root_node

    def toNode(self, s: str) -> Any:
        return self._s.context[-1]._find(s) or self._s.root_node._find(s)

    def allNodes(self, filter: Any = None, group: Any = None) -> list[Any]:
        inside = group or self._s.context[-1]
        return [n for n in inside._children if filter in (None, n._class)]

    def selectedNodes(self, filter: Any = None) -> list[Any]:
        return [n for n in self._s.context[-1]._children if n._knobs["selected"]._value]

    def createNode(self, node: str, args: str = "", inpanel: bool = True) -> Any:
        if node not in CLASSES or node == "Root":
            raise RuntimeError(f"{node}: Unknown command")
        session, parent = self._s, self._s.context[-1]
        chosen = [n for n in parent._children if n._knobs["selected"]._value]
        made = session.make(node, parent)
        if chosen and made._most_now():
            made._inputs = [chosen[-1]]
        for other in parent._children:
            other._knobs["selected"]._value = other is made
        if inpanel and session.gui:
            session.panels.append(made)
        return made

    def delete(self, n: Any) -> None:
        self._s.remove(n)

    def thisNode(self) -> Any:
        return self._s.this_node

    def thisKnob(self) -> Any:
        return self._s.this_knob

    def filename(self, node: Any, i: int = 0) -> Any:
        knob = node._knobs.get("file")
        return None if knob is None or not knob._value else knob._value

    # ---- scripts -------------------------------------------------------------------------------------------

    def scriptClear(self, *args: Any, **named: Any) -> None:
        self._s.clear()

    def scriptOpen(self, *args: Any, **named: Any) -> None:
        self._s.clear()
        self._read(args[0])
        self._s.root_node._knobs["name"]._value = args[0]
        for call, more, named_more, _, _ in self._s.callbacks.get("OnScriptLoad", ()):
            self._s.run_for(self._s.root_node, None, call, more, named_more)

    def scriptReadFile(self, *args: Any, **named: Any) -> None:
        self._read(args[0])

    def _read(self, path: str) -> None:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self._s._quiet = True
        try:
            read_script(self._s, text, self._s.root_node)
        finally:
            self._s._quiet = False

    def scriptSaveAs(self, filename: Any = None, overwrite: int = -1) -> None:
        if os.path.exists(filename) and overwrite != 1:
            raise RuntimeError(f"{filename} exists")
        self._s._quiet = True
        self._s.root_node._knobs["name"]._set(filename)
        self._s._quiet = False
        with open(filename, "w", encoding="utf-8") as file:
            file.write(write_script(self._s))
        self._s.is_modified = False

    def scriptSave(self, filename: Any = None) -> bool:
        self.scriptSaveAs(filename or self._s.root_node._knobs["name"]._value, 1)
        return True

    def undo(self) -> None:
        self._s.step(self._s._undo, self._s._redo, 0)

    def redo(self) -> None:
        self._s.step(self._s._redo, self._s._undo, 1)

    # ---- rendering -----------------------------------------------------------------------------------------

    def frame(self, f: Any = None) -> int:
        if f is not None:
            self._s.frame = int(f)
        return int(self._s.frame)

    def execute(
        self,
        nameOrNode: Any,
        start: Any = None,
        end: Any = None,
        incr: Any = 1,
        views: Any = None,
        continueOnError: bool = False,
    ) -> None:
        session = self._s
        node = self.toNode(nameOrNode) if isinstance(nameOrNode, str) else nameOrNode
        self._call("BeforeRender", node)
        for number in range(int(start), int(end) + 1, int(incr)):
            session.frame = number
            self._call("BeforeFrameRender", node)
            if session.draws is not None:
                session.draws(node, number)

    def _call(self, kind: str, node: Any) -> None:
        for call, args, named, node_class, _ in self._s.callbacks.get(kind, ()):
            if node_class in ("*", node._class):
                self._s.run_for(node, None, call, args, named)

    # ---- callbacks -----------------------------------------------------------------------------------------

    def addKnobChanged(
        self, call: Any, args: Any = (), kwargs: Any = None, nodeClass: str = "*", node: Any = None
    ) -> None:
        self._add("KnobChanged", call, args, kwargs, nodeClass, node)

    def addBeforeRender(
        self, call: Any, args: Any = (), kwargs: Any = None, nodeClass: str = "Write"
    ) -> None:
        self._add("BeforeRender", call, args, kwargs, nodeClass)

    def addBeforeFrameRender(
        self, call: Any, args: Any = (), kwargs: Any = None, nodeClass: str = "Write"
    ) -> None:
        self._add("BeforeFrameRender", call, args, kwargs, nodeClass)

    def addOnScriptLoad(self, call: Any, args: Any = (), kwargs: Any = None, nodeClass: str = "Root") -> None:
        self._add("OnScriptLoad", call, args, kwargs, nodeClass)

    def _add(self, kind: str, call: Any, args: Any, named: Any, node_class: str, node: Any = None) -> None:
        entry = (call, args, named or {}, node_class, node)
        entries = self._s.callbacks.setdefault(kind, [])
        if entry not in entries:
            entries.append(entry)

    # ---- windows and threads -------------------------------------------------------------------------------

    def message(self, prompt: str) -> None:
        if not self._s.gui:
            raise RuntimeError("there is no window")
        self._s.said.append(prompt)

    def tprint(self, value: Any, sep: str = " ", end: str = "\n", file: Any = None) -> None:
        self._s.said.append(str(value))

    def executeInMainThread(self, call: Any, args: Any = (), kwargs: Any = None) -> None:
        if not self._s.gui:
            raise RuntimeError("without a window nobody runs what is handed to the main thread")
        arguments = args if isinstance(args, tuple) else (args,)
        self._s._waiting.append((call, arguments, kwargs or {}))

    def menu(self, name: str) -> Any:
        if not self._s.gui:
            raise RuntimeError("there are no menus without a window")
        return self._s.module.Menu(name)

    def pluginAddPath(self, args: Any, addToSysPath: bool = True) -> None:
        """As Nuke does at its start: init.py is run at once, menu.py once the windows are there."""
        import sys

        paths = [args] if isinstance(args, str) else list(args)
        for path in paths:
            self._s.plugin_paths.append(path)
            if addToSysPath:
                sys.path.insert(0, path)
            for name in ("init.py", "menu.py") if self._s.gui else ("init.py",):
                file = os.path.join(path, name)
                if os.path.exists(file):
                    with open(file, encoding="utf-8") as content:
                        exec(compile(content.read(), file, "exec"), {"nuke": self._s.module})

    # ---- classes -------------------------------------------------------------------------------------------

    def _classes(self) -> tuple[type, ...]:
        session = self._s

        class Undo:
            """Steps that are undone together."""

            def begin(self, *args: Any, **named: Any) -> None:
                session.begin_undo()

            def end(self, *args: Any, **named: Any) -> None:
                session.end_undo()

        class ProgressTask:
            """A bar with a button; the test presses it by `cancelled`."""

            cancelled = False

            def __init__(self, name: str) -> None:
                assert session.gui, "a progress bar needs a window"
                self.seen: list[Any] = []
                session.tasks.append(self)

            def setProgress(self, i: int) -> None:
                assert 0 <= i <= 100 and isinstance(i, int)
                self.seen.append(i)

            def setMessage(self, s: str) -> None:
                self.seen.append(s)

            def isCancelled(self) -> bool:
                return self.cancelled

        class Menu:
            """A menu by its name."""

            def __init__(self, name: str) -> None:
                self._path = name

            def addCommand(
                self,
                name: str,
                command: Any = None,
                shortcut: Any = None,
                icon: Any = None,
                tooltip: Any = None,
                index: int = -1,
                readonly: bool = False,
            ) -> None:
                session.menu_items[f"{self._path}/{name}"] = command

        assert threading.get_ident() == session._main
        return Undo, ProgressTask, Menu

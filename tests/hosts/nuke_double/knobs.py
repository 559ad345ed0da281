"""Knobs of the double: a value, perhaps an expression, and what is saved of them. Python 3.7."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nodes import Node

ABSENT = object()
INVISIBLE, STARTLINE, READ_ONLY = 1024, 4096, 268435456
_PARENT = re.compile(r"parent\.(\w+)(?:\s*==\s*(-?\d+))?$")


class Knob:
    """One knob. Every change goes through `_change`, which keeps how it is undone."""

    host_class = "Knob"
    user_type = 0  # the number in addUserKnob

    def __init__(self, name: str, label: str | None = None, *rest: Any) -> None:
        self._name, self._label, self._tooltip = name, label, ""
        self._node: Node | None = None
        self._value: Any = self._empty()
        self._default: Any = self._value
        self._expression = ""
        self._flags = 0
        self._enabled = self._visible = True
        self._begin(*rest)

    def _begin(self, *rest: Any) -> None:
        assert not rest, f"{self.host_class} takes a name and a label"

    def _empty(self) -> Any:
        return ""

    # ---- documented ----------------------------------------------------------------------------------------

    def Class(self) -> str:
        return self.host_class

    def name(self) -> str:
        return self._name

    def label(self) -> str:
        return self._label or self._name

    def node(self) -> Any:
        return self._node

    def tooltip(self) -> str:
        return self._tooltip

    def setTooltip(self, text: str) -> None:
        self._tooltip = text

    def setFlag(self, flag: int) -> None:
        self._flags |= int(flag)

    def clearFlag(self, flag: int) -> None:
        self._flags &= ~int(flag)

    def getFlag(self, flag: int) -> bool:
        return bool(self._flags & int(flag))

    def setEnabled(self, enabled: bool) -> None:
        self._enabled = bool(enabled)

    def enabled(self) -> bool:
        return self._enabled

    def setVisible(self, visible: bool) -> None:
        self._visible = bool(visible)

    def visible(self) -> bool:
        return self._visible

    def value(self) -> Any:
        return self._get()

    def setExpression(self, expression: str, channel: int = -1, view: str = "") -> bool:
        self._change(self._value, expression)
        return True

    def hasExpression(self, index: int = -1) -> bool:
        return bool(self._expression)

    # ---- of the double -------------------------------------------------------------------------------------

    def _get(self) -> Any:
        return self._cast(self._evaluated()) if self._expression else self._value

    def _cast(self, value: Any) -> Any:
        return str(value)

    def _number(self) -> float:
        """What an expression of another knob sees."""
        return float(self._get())

    def _evaluated(self) -> float:
        found = _PARENT.match(self._expression)
        assert found and self._node is not None, f"the double cannot evaluate {self._expression}"
        assert self._node._parent is not None
        number = self._node._parent._knobs[found.group(1)]._number()
        return float(number == int(found.group(2))) if found.group(2) is not None else number

    def _set(self, value: Any) -> bool:
        self._change(self._cast(value), "")
        return True

    def _change(self, value: Any, expression: str) -> None:
        before = (self._value, self._expression)
        if (value, expression) == before:
            return
        self._value, self._expression = value, expression
        if self._node is not None:
            self._node._session.changed(self, before, (value, expression))

    def _put_back(self, state: tuple[Any, str]) -> None:
        self._value, self._expression = state

    def _is_default(self) -> bool:
        return not self._expression and self._value == self._default

    def _text(self) -> str:
        """The value as a script has it, a word."""
        if self._expression:
            return "{{" + self._expression + "}}"
        return str(self._value)

    def _from_text(self, text: str) -> None:
        if text.startswith("{") and text.endswith("}"):  # the outer braces went with the word
            self._change(self._value, text[1:-1])
        else:
            self._change(self._cast(text), "")


class String_Knob(Knob):
    host_class, user_type = "String_Knob", 1

    def setValue(self, val: str, view: str = "") -> bool:
        return self._set(val)

    def value(self, oc: Any = None) -> Any:
        return self._get()

    def getText(self, oc: Any = None) -> str:
        return str(self._value)


class EvalString_Knob(String_Knob):
    host_class, user_type = "EvalString_Knob", 1

    def evaluate(self) -> str:
        return str(self._value)


class File_Knob(EvalString_Knob):
    host_class, user_type = "File_Knob", 2

    def getEvaluatedValue(self) -> str:
        return str(self._value)


class Script_Knob(String_Knob):
    host_class = "Script_Knob"

    def _begin(self, command: str = "") -> None:
        self._value = self._default = command

    def command(self) -> str:
        return str(self._value)

    def value(self) -> Any:
        return self._get()

    def setValue(self, cmd: str) -> bool:
        return self._set(cmd)

    def execute(self) -> None:
        assert self._node is not None
        self._node._session.press(self)


class PyScript_Knob(Script_Knob):
    host_class, user_type = "PyScript_Knob", 22


class Text_Knob(Knob):
    host_class, user_type = "Text_Knob", 26

    def _begin(self, text: str = "") -> None:
        self._value = self._default = text

    def setValue(self, val: str, chan: int) -> bool:
        return self._set(val)


class Tab_Knob(Knob):
    host_class, user_type = "Tab_Knob", 20


class Array_Knob(Knob):
    host_class = "Array_Knob"

    def _empty(self) -> Any:
        return 0.0

    def _cast(self, value: Any) -> Any:
        return float(value)

    def setValue(self, value: Any, index: int = -1, time: float = 0, view: str = "") -> bool:
        return self._set(value)

    def value(self, index: int = -1, view: str = "", time: float = 0) -> Any:
        return self._get()

    def setRange(self, f1: float, f2: float) -> None:
        self._range = (f1, f2)

    def min(self) -> float:
        return float(self._range[0])

    def max(self) -> float:
        return float(self._range[1])

    def defaultValue(self) -> Any:
        return self._default

    def setDefaultValue(self, s: Any) -> None:
        self._default = self._cast(s[0])

    _range: tuple[float, float] = (0.0, 1.0)


class Double_Knob(Array_Knob):
    host_class, user_type = "Double_Knob", 7

    def _text(self) -> str:
        return Knob._text(self) if self._expression else f"{self._value:.10g}"


class Int_Knob(Array_Knob):
    host_class, user_type = "Int_Knob", 3

    def _empty(self) -> Any:
        return 0

    def _cast(self, value: Any) -> Any:
        if int(value) != float(value):
            raise TypeError(f"{self._name} takes whole numbers; {value!r} was given")
        return int(value)

    def value(self) -> Any:
        return self._get()

    def setValue(self, val: Any) -> bool:
        return self._set(val)


class Boolean_Knob(Array_Knob):
    host_class, user_type = "Boolean_Knob", 6

    def _empty(self) -> Any:
        return False

    def _cast(self, value: Any) -> Any:
        return value in (True, 1, "true", "1")

    def value(self) -> Any:
        return self._get()

    def setValue(self, b: Any) -> bool:
        return self._set(b)

    def _text(self) -> str:
        return Knob._text(self) if self._expression else str(self._value).lower()


class Unsigned_Knob(Int_Knob):
    host_class = "Unsigned_Knob"


class Enumeration_Knob(Unsigned_Knob):
    """open_list: a list that depends on the configuration, as colour spaces do: any text is taken."""

    host_class, user_type = "Enumeration_Knob", 4
    open_list = False

    def _begin(self, values: Any = ()) -> None:
        self._values = [str(v) for v in values]
        self._value = self._default = self._values[0] if self._values else ""

    def values(self) -> list[str]:
        return list(self._values)

    def numValues(self) -> int:
        return len(self._values)

    def enumName(self, n: int) -> str:
        return self._values[n]

    def setValue(self, item: Any) -> bool:
        return self._set(item)

    def setValues(self, items: Any) -> None:
        self._values = [str(v) for v in items]

    def _cast(self, value: Any) -> Any:
        if isinstance(value, (int, float)):
            return self._values[int(value)]
        if value not in self._values and not self.open_list:
            raise ValueError(f"{self._name} has no {value!r}; it has {self._values}")
        return str(value)

    def _number(self) -> float:
        return float(self._values.index(self._get()))


USER_KNOBS = {
    k.user_type: k
    for k in (
        String_Knob,
        File_Knob,
        Int_Knob,
        Enumeration_Knob,
        Boolean_Knob,
        Double_Knob,
        Tab_Knob,
        PyScript_Knob,
        Text_Knob,
    )
}

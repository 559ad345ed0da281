"""The documented call surface of a host, from JSON: what is not there is refused, wrong arguments too.

Python 3.7, the standard library alone: the double also runs in the Python of an old host.
"""

from __future__ import annotations

import functools
import inspect
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Surface:
    """Functions, classes and constants as `nuke_surface.json` lists them, and the calls that were made.

    calls: `function` or `Class.method` of every call, as often as it was made.
    """

    def __init__(self, path: str) -> None:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
        self.functions: dict[str, Any] = values["functions"]
        self.classes: dict[str, Any] = values["classes"]
        self.constants: dict[str, Any] = values["constants"]
        self.calls: list[str] = []

    def signature_of(self, class_name: str, method: str) -> dict[str, Any] | None:
        """What is documented of a method, of the class or of one that it inherits; None where nothing is."""
        facts = self.classes[class_name]
        if method in facts["methods"]:
            return dict(facts["methods"][method])
        for base in facts["bases"]:
            if base in self.classes:
                found = self.signature_of(base, method)
                if found is not None:
                    return found
        return None

    def check(
        self, name: str, signature: dict[str, Any], args: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        """Raise `TypeError` for arguments that are not documented, and keep the call."""
        self.calls.append(name)
        params, optional = signature["params"], set(signature["optional"])
        if len(args) > len(params) and not signature["varargs"]:
            raise TypeError(f"{name}() takes {len(params)} arguments; {len(args)} were given")
        given = set(params[: len(args)])
        for key in named:
            if key in given:
                raise TypeError(f"{name}() got two values for {key}")
            if key not in params and not signature["kwargs"]:
                raise TypeError(f"{name}() has no argument {key}")
        missing = [p for p in params if p not in given and p not in named and p not in optional]
        if missing:
            raise TypeError(f"{name}() lacks {', '.join(missing)}")


def documented(surface: Surface, cls: type, name: str) -> type:
    """A class like `cls` whose public methods take only documented arguments, as the host's class `name`.

    Raises `AssertionError` where the double has a public method that the host does not document.
    """
    members: dict[str, Any] = {"__module__": "nuke", "host_class": name}
    for key, function in inspect.getmembers(cls, inspect.isfunction):
        if key.startswith("_"):
            continue
        signature = surface.signature_of(name, key)
        assert signature is not None, f"{name}.{key} is not documented"
        members[key] = _checked(surface, f"{name}.{key}", signature, function)
    return type(cls.__name__, (cls,), members)


def _checked(surface: Surface, name: str, signature: dict[str, Any], function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def call(self: Any, *args: Any, **named: Any) -> Any:
        surface.check(name, signature, args, named)
        return function(self, *args, **named)

    return call

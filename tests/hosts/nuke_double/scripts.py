"""A session's nodes as the text of a `.nk` script, and back. Python 3.7, the standard library alone."""

from __future__ import annotations

from typing import Any

from nuke_double import knobs as k
from nuke_double.nodes import CLASSES, DEFAULT_ARITY, Group
from nuke_double.script_text import commands, quote

FLAGS = {"INVISIBLE": k.INVISIBLE, "STARTLINE": k.STARTLINE, "READ_ONLY": k.READ_ONLY}

# ---- writing -----------------------------------------------------------------------------------------------


def write_script(session: Any) -> str:
    """The whole session as a script."""
    version = session.surface.constants["NUKE_VERSION_STRING"].replace("v", " v")
    lines = ["#! /nuke -nx", f"version {version}"]
    lines += _node_lines(session.root_node, "", [])
    return "\n".join(lines + _children_lines(session.root_node, "")) + "\n"


def _children_lines(group: Any, indent: str) -> list[str]:
    lines: list[str] = []
    names: dict[int, str] = {}
    for node in _in_order(group._children):
        inputs = node._inputs
        for source in reversed(inputs):
            lines.append(f"push {'0' if source is None else '$' + names[id(source)]}")
        lines += _node_lines(node, indent, inputs)
        names[id(node)] = f"N{indent.count(' ')}x{len(names):x}"
        lines.append(f"set {names[id(node)]} [stack 0]")
    return lines


def _in_order(nodes: list[Any]) -> list[Any]:
    """Every node after its inputs."""
    done: list[Any] = []

    def visit(node: Any) -> None:
        if node in done:
            return
        for source in node._inputs:
            if source is not None:
                visit(source)
        done.append(node)

    for node in nodes:
        visit(node)
    return done


def _node_lines(node: Any, indent: str, inputs: list[Any]) -> list[str]:
    lines = [f"{indent}{node._class} {{"]
    inside = indent + " "
    if len(inputs) != DEFAULT_ARITY.get(node._class, 1) or not inputs:
        lines.append(f"{inside}inputs {len(inputs)}")
    for name, knob in node._knobs.items():
        if name in node._user:
            lines.append(f"{inside}addUserKnob {{{_user_knob(knob)}}}")
        if name != "selected" and not knob._is_default() and not isinstance(knob, k.PyScript_Knob):
            text = knob._text()
            lines.append(f"{inside}{name} {text if knob._expression else quote(text)}")
    lines.append(f"{indent}}}")
    if isinstance(node, Group) and node._class == "Group":
        lines += [*_children_lines(node, inside), f"{indent}end_group"]
    return lines


def _user_knob(knob: Any) -> str:
    words = [str(knob.user_type), quote(knob._name)]
    if knob._label is not None:
        words += ["l", quote(knob._label)]
    if knob._tooltip:
        words += ["t", quote(knob._tooltip)]
    if isinstance(knob, k.Enumeration_Knob):
        words += ["M", "{" + " ".join(quote(v) for v in knob._values) + "}"]
    if isinstance(knob, k.Double_Knob):
        words += ["R", *(f"{v:g}" for v in knob._range)]
    words += [f"+{name}" for name, flag in FLAGS.items() if knob._flags & flag]
    if isinstance(knob, (k.PyScript_Knob, k.Text_Knob)) and knob._value:
        words += ["T", quote(knob._value)]
    return " ".join(words)


# ---- reading -----------------------------------------------------------------------------------------------


def read_script(session: Any, text: str, group: Any) -> None:
    """Make the nodes of a script inside `group`. Raises `RuntimeError` for a command that is none."""
    stack: list[Any] = []
    variables: dict[str, Any] = {}
    groups = [(group, stack, variables)]
    for words in commands(text):
        parent, stack, variables = groups[-1]
        head = words[0]
        if head in ("version", "define_window_layout_xml", "add_layer"):
            continue
        if head == "set" and words[2:] == ["[stack 0]"]:
            variables[words[1]] = stack[-1] if stack else None
        elif head == "push":
            stack.append(None if words[1] == "0" else variables.get(words[1].lstrip("$")))
        elif head == "end_group":
            groups.pop()
        elif len(words) == 2 and (head == "Root" or head in CLASSES or head[0].isupper()):
            node = session.root_node if head == "Root" else session.make(head, parent)
            arity = _fill(session, node, words[1])
            if head == "Root":
                continue
            taken = [stack.pop() if stack else None for _ in range(arity)]
            node._inputs = taken
            stack.append(node)
            if head == "Group":
                groups.append((node, [], {}))
        else:
            raise RuntimeError(f"{head}: Unknown command")


def _fill(session: Any, node: Any, body: str) -> int:
    """Set the knobs that the braces of a node hold; how many inputs it takes."""
    arity = DEFAULT_ARITY.get(node._class, 1)
    for words in commands(body):
        if words[0] == "inputs":
            arity = int(words[1].split("+")[0])
        elif words[0] == "addUserKnob":
            _add_user_knob(session, node, [w for line in commands(words[1]) for w in line])
        else:
            knob = node._knobs.get(words[0])
            if knob is None:  # of a class or a version that the double does not know: kept as it is
                knob = session.knob_class(k.String_Knob)(words[0])
                knob._node = node
                node._knobs[words[0]] = knob
            knob._from_text(words[1] if len(words) > 1 else "")
    return arity


def _add_user_knob(session: Any, node: Any, words: list[str]) -> None:
    kind, name = k.USER_KNOBS[int(words[0])], words[1]
    said: dict[str, str] = {}
    flags, at = 0, 2
    spans: list[str] = []
    while at < len(words):
        word = words[at]
        if word[0] == "+" and word[1:] in FLAGS:
            flags |= FLAGS[word[1:]]
        elif word == "R":
            spans, at = words[at + 1 : at + 3], at + 2
        elif word in ("l", "t", "T", "M"):
            said[word], at = words[at + 1], at + 1
        at += 1
    rest: tuple[Any, ...] = ()
    if "M" in said:
        rest = ([w for line in commands(said["M"]) for w in line],)
    elif "T" in said:
        rest = (said["T"],)
    knob = session.knob_class(kind)(name, said.get("l"), *rest)
    knob._tooltip, knob._flags = said.get("t", ""), flags
    if spans:
        knob._range = (float(spans[0]), float(spans[1]))
    node._add_knob(knob)

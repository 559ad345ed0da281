"""The only module that touches Nuke: it makes the node, reads it, and shows a version in it.

What takes long runs outside the main thread where there is a window, and never changes the script from
there. The script changes once a version is whole, in one step of undo.
"""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass
from typing import Any

import nuke

from plugin_nuke import dubbing, versions
from plugin_nuke.errors import BadSetting, DubError, NoFrames
from plugin_nuke.layout import ERROR, KNOBS, MARK, NODES, ON_ERROR, KnobSpec
from plugin_nuke.service import connect
from plugin_nuke.timing import clip_range, clip_ranges, script_range
from visualdub.wire import WireError
from visualdub.wire.hosted import Stopped
from visualdub.wire.requests import DRAFT, FINAL

MENU = "Visual Dub/VisualDub"
PASSES = ("Dot", "NoOp")  # nodes that may stand between the Read and ours: they change no pixel and no frame
FOLLOWED = ("version", "missing", "colorspace", "first_frame", "cache")  # knobs that change what is shown
MOST_NODES = 1000  # between the Read and ours

_NUMBERED = re.compile(r"%0?\d*d|#+")

_stops: dict[str, threading.Event] = {}  # of dubs that run here, by the name of the node
_showing: set[str] = set()  # nodes that are being set, whose knobs call back meanwhile

# ---- the node ----------------------------------------------------------------------------------------------


def create() -> Any:
    """A new node below the selected one, as Nuke's own menu makes them."""
    selected = nuke.selectedNodes()
    node = nuke.createNode("Group", inpanel=False)
    node.setName("VisualDub1")
    for spec in KNOBS:
        node.addKnob(_knob(spec))
        if spec.value is not None:
            node.knob(spec.name).setValue(spec.value)
    node.knob("mix").setRange(0, 1)
    node.knob("status").setEnabled(False)
    node.begin()
    try:
        made: dict[str, Any] = {}
        for inner in NODES:
            other = nuke.createNode(inner.kind, inpanel=False)
            other.setName(inner.name)
            other.setInput(0, None)
            for i, source in enumerate(inner.inputs):
                other.setInput(i, made[source])
            for name, value in inner.values:
                other.knob(name).setValue(value)
            for name, expression in inner.expressions:
                other.knob(name).setExpression(expression)
            made[inner.name] = other
    finally:
        node.end()
    if selected:
        node.setInput(0, selected[0])  # until now the group had no input
    if nuke.GUI:
        node.showControlPanel()
    return node


def _knob(spec: KnobSpec) -> Any:
    knob = getattr(nuke, spec.kind)(spec.name, spec.label, *spec.rest)
    if spec.tooltip:
        knob.setTooltip(spec.tooltip)
    if spec.newline:
        knob.setFlag(nuke.STARTLINE)
    if spec.hidden:
        knob.setFlag(nuke.INVISIBLE)
    return knob


def is_ours(node: Any) -> bool:
    """Whether a node is one of `create`."""
    return bool(node.Class() == "Group" and node.knob(MARK) is not None)


def our_nodes() -> list[Any]:
    """Every node of ours in the script, outside other groups."""
    return [n for n in nuke.allNodes("Group", nuke.root()) if is_ours(n)]


def _require_ours(node: Any) -> Any:
    if node is None or not is_ours(node):
        raise BadSetting("this is no node of Visual Dub; expected one that visualdub_nuke.create() made")
    return node


# ---- what it is connected to -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plate:
    """The clip that a node stands on."""

    clip: str
    first_frame: int  # of the script, that shows the clip's frame 0
    length: int | None  # frames of the clip, where the Read says so
    colorspace: str | None  # as a Read's knob takes it; None: not known
    raw: bool = False


def plate_of(node: Any) -> Plate:
    """The clip of a node: of its own knob, else of the Read above it.

    Raises `BadSetting` where there is no Read, or where something stands between that changes pixels or
    frames.
    """
    own, space = node.knob("clip").value(), node.knob("colorspace").value().strip() or None
    if own:
        return Plate(own, node.knob("first_frame").value(), None, space)
    read = _read_above(node)
    path = nuke.filename(read)
    if not path:
        raise BadSetting(f"{read.name()} names no file; expected the movie of the plate")
    if _NUMBERED.search(os.path.basename(path)):
        raise BadSetting(f"{read.name()} reads numbered pictures, {path}; expected a movie")
    mode, frame = read.knob("frame_mode").value(), read.knob("frame").value()
    if mode == "expression" and str(frame).strip():
        raise BadSetting(
            f"{read.name()} is retimed by an expression; set the knobs clip and first frame instead"
        )
    first, start = read.knob("first").value(), read.knob("origfirst").value()
    length = read.knob("origlast").value() - start + 1
    named = space or _plain_space(str(read.knob("colorspace").value()))
    return Plate(path, read.firstFrame() - (first - start), length, named, bool(read.knob("raw").value()))


def _read_above(node: Any) -> Any:
    at = node.input(0)
    for _ in range(MOST_NODES):
        if at is None:
            break
        if at.Class() == "Read":
            return at
        if at.Class() not in PASSES:
            raise BadSetting(
                f"between the plate and {node.name()} stands {at.name()}; connect {node.name()} directly to"
                f" the Read,"
                " and grade or retime below it, or name the movie in the knob clip"
            )
        at = at.input(0)
    raise BadSetting(f"{node.name()} is connected to no Read; expected one with the movie of the plate")


def _plain_space(shown: str) -> str | None:
    """A colour space without the mark of a default, `default (rec709)`."""
    inside = shown[shown.find("(") + 1 : shown.rfind(")")] if shown.startswith("default (") else shown
    return inside if inside and inside != "default" else None


def cache_of(node: Any) -> str:
    """The folder of a node's versions. Raises `BadSetting` in a script that was never saved."""
    chosen = str(node.knob("cache").value())
    if chosen:
        return chosen
    script = str(nuke.root().knob("name").value())
    if not script:
        raise BadSetting("the script is not saved yet; save it, or name a folder in the knob cache")
    return os.path.join(os.path.dirname(os.path.abspath(script)), "visualdub", node.fullName())


def asked_of(node: Any) -> dubbing.Asked:
    """What the knobs of a node ask for. Raises `BadSetting`."""
    plate = plate_of(node)
    frames = clip_range(node.knob("range").value(), plate.first_frame, plate.length)
    skip = clip_ranges(_value_of(node, "leave", ""), plate.first_frame, plate.length)
    quality, consent = _value_of(node, "quality", FINAL), _value_of(node, "consent", "").strip()
    actor = node.knob("actor").value().strip()
    words = node.knob("dialogue").value()
    return dubbing.Asked(plate.clip, words, actor, cache_of(node), frames, skip, quality, consent)


def _value_of(node: Any, name: str, missing: str) -> str:
    """The value of a knob; `missing` where the node is older than the knob."""
    knob = node.knob(name)
    return str(knob.value()) if knob else missing


# ---- dubbing -----------------------------------------------------------------------------------------------


def dub(node: Any) -> versions.Version:
    """Dub what the node asks for, show it, and return its version; from a script, with or without a window.

    Raises `DubError` and `WireError`; the node is then as it was.
    """
    asked = asked_of(_require_ours(node))
    progress = _Progress(node.name()) if nuke.GUI else _Quiet()
    with connect(node.knob("service").value().strip()) as service:
        version = dubbing.dub(service, asked, progress.tell, progress.stopped)
    show(node, version)
    return version


def start(node: Any) -> None:
    """What the button Dub does: dub in the background, where there is a window; tell what went wrong in
    one.
    """
    if not nuke.GUI:
        dub(node)
        return
    name = _require_ours(node).fullName()
    try:
        if name in _stops:
            raise BadSetting(f"{name} is being dubbed already; press Cancel to stop it")
        asked, endpoint = asked_of(node), node.knob("service").value().strip()
    except DubError as e:
        nuke.message(str(e))
        return
    _stops[name] = threading.Event()
    threading.Thread(target=_dub_behind, args=(name, asked, endpoint), daemon=True).start()


def _dub_behind(name: str, asked: dubbing.Asked, endpoint: str) -> None:
    """In a thread of its own: dub, and hand what came of it to the main thread."""
    try:
        progress = _Progress(name, _stops[name])
        with connect(endpoint) as service:
            version = dubbing.dub(service, asked, progress.tell, progress.stopped)
    except Stopped:
        nuke.executeInMainThread(_ended, (name, None, ""))
    except (DubError, WireError, OSError) as e:
        nuke.executeInMainThread(_ended, (name, None, str(e)))
    except BaseException as e:
        nuke.executeInMainThread(_ended, (name, None, f"a fault of the plug-in: {type(e).__name__} {e}"))
        raise
    else:
        nuke.executeInMainThread(_ended, (name, version, ""))


def _ended(name: str, version: versions.Version | None, problem: str) -> None:
    """In the main thread: show what was dubbed, or say why not."""
    _stops.pop(name, None)
    node = nuke.toNode(name)
    if version is not None and (node is None or not is_ours(node)):
        problem = f"{name} is gone or has another name; version {version.number} lies in {version.folder}"
    elif version is not None:
        show(node, version)
    if problem:
        nuke.message(problem)


def cancel(node: Any) -> None:
    """What the button Cancel does: stop the dub that runs, also one that another Nuke left behind."""
    name = _require_ours(node).fullName()
    if name in _stops:
        _stops[name].set()
        return
    try:
        with connect(node.knob("service").value().strip()) as service:
            jobs = dubbing.cancel(service, asked_of(node))
    except (DubError, WireError) as e:
        _say(str(e))
        return
    _say(f"stopped job {', '.join(map(str, jobs))}" if jobs else f"nothing is being dubbed for {name}")


def refresh(node: Any) -> None:
    """What the button Refresh does: look at the plate and at the cache again; needs no service."""
    try:
        cache = cache_of(_require_ours(node))
        number = node.knob("version").value() or max(versions.version_numbers(cache), default=0)
        if not number:
            raise NoFrames(f"there is no version in {cache} yet; press Dub")
        show(node, versions.read_version(cache, number))
    except DubError as e:
        _say(str(e))


def _say(text: str) -> None:
    if nuke.GUI:
        nuke.message(text)
    else:
        nuke.tprint(text)


# ---- showing -----------------------------------------------------------------------------------------------


def show(node: Any, version: versions.Version) -> None:
    """Show a version in the node, as one step of undo."""
    step = nuke.Undo()
    step.begin("Visual Dub")
    try:
        _set(node, version)
    finally:
        step.end()


def _set(node: Any, version: versions.Version | None) -> None:
    """Set everything that depends on the version; None shows the plate."""
    name = node.fullName()
    if name in _showing:
        return
    _showing.add(name)
    try:
        if version is None:
            _put(node, "status", "the plate")
            return
        plate = _plate_or_none(node)
        if plate is not None:
            _put(node, "first_frame", plate.first_frame)
        _put(node, "version", version.number)
        _put(node, "cache", os.path.dirname(version.folder))  # stays when the script is saved elsewhere
        _set_read(node, version, plate)
        frames = script_range(version.first, version.last, node.knob("first_frame").value())
        through = version.last - version.first + 1 - version.drawn
        note = f"; {through} show the plate" if through else ""
        done = "drafted" if version.asked.get("quality") == DRAFT else "dubbed"
        _put(node, "status", f"version {version.number}: {frames}, {version.drawn} frames {done}{note}")
    finally:
        _showing.discard(name)


def _set_read(node: Any, version: versions.Version, plate: Plate | None) -> None:
    read = node.node("frames")
    _put(read, "file", version.pattern)
    for knob, value in (("first", version.first), ("last", version.last)):
        _put(read, knob, value)
        _put(read, f"orig{knob}", value)
    _put(read, "frame_mode", "start at")
    _put(read, "frame", str(node.knob("first_frame").value() + version.first))
    _put(read, "on_error", ON_ERROR[node.knob("missing").value()])
    space = node.knob("colorspace").value().strip() or (plate.colorspace if plate else None)
    if space:
        _put(read, "colorspace", space)
    if plate is not None:
        _put(read, "raw", plate.raw)


def _put(node: Any, knob: str, value: Any) -> None:
    """Set a knob that has another value: what is set again would fill the list of undo."""
    if node.knob(knob).value() != value:
        node.knob(knob).setValue(value)


def _plate_or_none(node: Any) -> Plate | None:
    """The plate, where the node is connected to one: a version is shown without."""
    try:
        return plate_of(node)
    except BadSetting:
        return None


# ---- what Nuke calls ---------------------------------------------------------------------------------------


def register() -> None:
    """What `init.py` does, with or without a window."""
    nuke.addKnobChanged(knob_changed, nodeClass="Group")
    nuke.addBeforeRender(before_render, nodeClass="Write")
    nuke.addBeforeFrameRender(before_frame, nodeClass="Write")


def add_menu() -> None:
    """What `menu.py` does."""
    nuke.menu("Nodes").addCommand(MENU, "import visualdub_nuke; visualdub_nuke.create()")


def knob_changed() -> None:
    """Follow a knob of a node of ours; also called where nothing has changed."""
    node, knob = nuke.thisNode(), nuke.thisKnob()
    if knob is None or knob.name() not in FOLLOWED or not is_ours(node) or node.fullName() in _showing:
        return
    number = node.knob("version").value()
    try:
        _set(node, versions.read_version(cache_of(node), number) if number else None)
    except DubError as e:
        _put(node, "status", str(e))


def before_render() -> None:
    """Before a Write renders: every node of ours above it has its version. An exception stops the render."""
    for node in _above(nuke.thisNode()):
        if _shows_frames(node):
            versions.read_version(cache_of(node), node.knob("version").value())


def before_frame() -> None:
    """Before one frame is rendered: its picture is there, or the node says what to do without it."""
    for node in _above(nuke.thisNode()):
        if not _shows_frames(node) or node.knob("missing").value() != ERROR:
            continue
        version = versions.read_version(cache_of(node), node.knob("version").value())
        number = nuke.frame() - node.knob("first_frame").value()
        if version.first <= number <= version.last and not os.path.isfile(version.path(number)):
            raise NoFrames(
                f"{node.name()}: frame {nuke.frame()} of version {version.number} is gone"
                f" ({version.path(number)}); dub again, or choose plate or hold for missing frames"
            )


def _shows_frames(node: Any) -> bool:
    return bool(node.knob("version").value() and not node.knob("disable").value())


def _above(node: Any) -> list[Any]:
    """Every node of ours that `node` depends on, through its inputs."""
    found: list[Any] = []
    seen: set[str] = set()
    waiting = [node]
    while waiting:
        at = waiting.pop()
        if at is None or at.fullName() in seen:
            continue
        seen.add(at.fullName())
        if is_ours(at):
            found.append(at)
        waiting += [at.input(i) for i in range(at.inputs())]
    return found


# ---- progress ----------------------------------------------------------------------------------------------


class _Quiet:
    """Progress without a window."""

    def tell(self, stage: str, done: int, total: int) -> None:
        pass

    def stopped(self) -> bool:
        return False


class _Progress:
    """A bar of Nuke's with its own button; made in the thread that uses it."""

    def __init__(self, name: str, stop: threading.Event | None = None) -> None:
        self._task = nuke.ProgressTask(f"Visual Dub: {name}")
        self._stop = stop or threading.Event()

    def tell(self, stage: str, done: int, total: int) -> None:
        self._task.setMessage(f"{stage} {done}/{total}" if total else stage)
        self._task.setProgress(min(100, 100 * done // total) if total else 0)

    def stopped(self) -> bool:
        return self._stop.is_set() or bool(self._task.isCancelled())

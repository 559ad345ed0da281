"""Nuke's double with a node that is dubbed, in a process of its own that may be killed, or whose helpers may
be.

    python nuke_kill_steps.py '{"clip": ..., "dialogue": ..., "actor": ..., "cache": ..., "service": ...,
    "script": ...}'

It saves the script, says `ready BRIDGE` with the number of the bridge's process, waits for a line, dubs, and
says in JSON what came of it: whether the script is as it was, and what the node shows.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from nuke_double import make_nuke, write_script

HERE = Path(__file__).resolve().parent


def node_of(nuke: Any, plugin: Any, asked: dict[str, Any]) -> Any:
    """A node that asks for the dub."""
    read = nuke.createNode("Read", inpanel=False)
    read.knob("file").setValue(asked["clip"])
    for name in ("last", "origlast"):
        read.knob(name).setValue(asked["length"])
    node = plugin.create()
    for name in ("dialogue", "actor", "range", "cache", "service"):
        node.knob(name).setValue(asked[name])
    return node


def main() -> None:
    """Dub once."""
    asked = json.loads(sys.argv[1])
    nuke = sys.modules["nuke"] = make_nuke(str(HERE / "nuke_surface.json"))
    nuke.pluginAddPath(str(HERE.parents[1] / "plugin_nuke" / "path"))
    import visualdub_nuke

    from plugin_nuke import host

    node = node_of(nuke, visualdub_nuke, asked)
    nuke.scriptSaveAs(asked["script"], 1)
    before = write_script(nuke.double)
    bridge = host.connect(asked["service"])
    bridge.status()  # it has started, and answers
    host.connect = lambda endpoint: bridge
    print(f"ready {bridge._process.pid}", flush=True)
    sys.stdin.readline()
    said = ""
    try:
        visualdub_nuke.dub(node)
    except (visualdub_nuke.DubError, visualdub_nuke.WireError) as e:
        said = f"{type(e).__name__}: {e}"
    same = write_script(nuke.double) == before
    print(json.dumps({"said": said, "same": same, "version": node.knob("version").value()}), flush=True)


main()

"""Visual Dub in Nuke, for scripts and for the node's buttons.

import visualdub_nuke
node = visualdub_nuke.create()  # below the selected Read
node.knob("dialogue").setValue("/show/fr.wav")
node.knob("actor").setValue("ada")
visualdub_nuke.dub(node)
"""

from plugin_nuke.errors import BadSetting, DubError, NoFrames
from plugin_nuke.host import add_menu, cancel, create, dub, our_nodes, refresh, register, start
from plugin_nuke.versions import Version
from visualdub.wire import WireError
from visualdub.wire.hosted import Stopped

__all__ = [
    "BadSetting",
    "DubError",
    "NoFrames",
    "Stopped",
    "Version",
    "WireError",
    "add_menu",
    "cancel",
    "create",
    "dub",
    "our_nodes",
    "refresh",
    "register",
    "start",
]

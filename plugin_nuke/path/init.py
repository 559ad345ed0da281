"""Nuke runs this at its start, with or without a window."""

import visualdub_nuke

visualdub_nuke.register()

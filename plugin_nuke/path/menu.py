"""Nuke runs this at its start where it has windows."""

import visualdub_nuke

visualdub_nuke.add_menu()

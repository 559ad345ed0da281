"""Dubs on a render farm: job bundles, the tasks that run in them, what they cost, and how far that goes."""

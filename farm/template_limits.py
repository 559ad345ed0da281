"""Limits of a chunk that schedulers and the renderer set."""

MOST_FRAMES = 150  # of a chunk in Deadline Cloud
LEAST_FRAMES = 12  # fewer than this are mostly the neighbours that a chunk draws and throws away

"""Clips into packed datasets, and windows of frames out of them."""

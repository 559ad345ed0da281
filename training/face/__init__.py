"""Builds the data of the built-in face model."""

"""The actor package on disk."""

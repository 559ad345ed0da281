"""The commands of the core, one per file."""

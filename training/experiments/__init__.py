"""The paper's tables 3, 4 and 5 in small: each script writes a CSV and a plot; `docs/notes.md` holds what
they gave.
"""

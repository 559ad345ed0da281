"""Experiments: the paper's tables 3, 4 and 5 on a small scale, speech, and privacy. Each script writes tables
and plots into a folder; `docs/notes.md` holds the results.
"""

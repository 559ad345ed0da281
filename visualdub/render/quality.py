"""The qualities of a dub: a draft in a fraction of the time, or the final."""

from __future__ import annotations

from visualdub.errors import BadInput

FINAL, DRAFT = "final", "draft"
QUALITIES = (FINAL, DRAFT)


def require_quality(quality: str) -> None:
    """Raise `BadInput` for a word that is no quality."""
    if quality not in QUALITIES:
        raise BadInput(f"--quality {quality} is not known; expected {' or '.join(QUALITIES)}")

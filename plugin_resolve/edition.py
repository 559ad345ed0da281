"""Which of the three ways Visual Dub takes in this edition of Resolve, told by its name and version alone.

Nothing else is asked first: a call that only Studio has raises a dialog in a free edition, and while it is
open every other call fails.
"""

from __future__ import annotations

from dataclasses import dataclass

STUDIO, FREE, FREE_LUA = "studio", "free", "free-lua"
NO_PYTHON = (21, 1, 0)  # the free edition's first version whose menu lists no script of Python
CAN_SELECT = (21, 0, 4)


@dataclass(frozen=True)
class Edition:
    """An edition and what it means here."""

    way: str  # STUDIO, FREE or FREE_LUA
    title: str
    version: tuple[int, int, int]

    @property
    def in_place(self) -> bool:
        """Whether clips are dubbed from the menu; otherwise by a file that is exported and imported."""
        return self.way != FREE_LUA

    @property
    def sentence(self) -> str:
        """The first line of the window."""
        number = ".".join(map(str, self.version))
        if self.way == STUDIO:
            return f"{self.title} {number}: clips are dubbed in place, as takes."
        if self.way == FREE:
            return f"{self.title} {number}, the free edition: clips are dubbed in place, as takes."
        return (
            f"{self.title} {number}, the free edition, runs no Python from its menu: export the timeline as"
            " OTIO, dub it with vdub dub EDIT --for resolve, and import it again."
        )


def read_edition(product: str, version: tuple[int, int, int]) -> Edition:
    """The edition of the name and version that the program says."""
    if "studio" in product.lower():
        return Edition(STUDIO, product, version)
    return Edition(FREE_LUA if version >= NO_PYTHON else FREE, product, version)

"""A rectangle of whole pixels, the one type of box in the project."""

from __future__ import annotations

from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle of pixels, half open: `right` and `bottom` are the first column and row outside it.

    It is a tuple of four whole numbers, so that it is compared, unpacked and written as JSON like one.
    """

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns inside."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows inside."""
        return self.bottom - self.top

    def slices(self, sub_x: int = 1, sub_y: int = 1) -> tuple[slice, slice]:
        """Row and column slices of the box in a plane subsampled by `sub_x` and `sub_y`, rounded outwards at
        the right and the bottom.
        """
        return (
            slice(self.top // sub_y, -(-self.bottom // sub_y)),
            slice(self.left // sub_x, -(-self.right // sub_x)),
        )

    def common(self, other: Box) -> Box | None:
        """The pixels that are in both; None where there are none."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Box(left, top, right, bottom) if left < right and top < bottom else None

    def within(self, outer: Box) -> tuple[slice, slice]:
        """Row and column slices of the box in a picture of `outer`, which holds it."""
        left, top, right, bottom = self
        return (
            slice(top - outer.top, bottom - outer.top),
            slice(left - outer.left, right - outer.left),
        )

"""Cover large images with tiles."""

from itertools import pairwise, product
from math import ceil
from typing import NamedTuple


class Tiling(NamedTuple):
    """Images with a side of more than `size` pixels are cut into tiles, which overlap by a share of it; 0 cuts none."""

    size: int
    overlap: float

    def cuts(self, height: int, width: int) -> bool:
        """Whether an image of this size is cut."""
        return 0 < self.size < max(height, width)


UNCUT = Tiling(0, 0.0)


class Region(NamedTuple):
    """A rectangle of an image, in whole pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


def tiles(region: Region, size: int, overlap: float) -> list[Region]:
    """Cover a region with tiles of at most size x size.

    With an overlap (a share of size), tiles have the full size if the region does, and the last tile of a row or
    column is moved inside the region. Without an overlap, tiles of nearly equal size contain each pixel once.
    """
    columns = _spans(region.left, region.right, size, overlap)
    rows = _spans(region.top, region.bottom, size, overlap)
    return [Region(left, top, right, bottom) for (top, bottom), (left, right) in product(rows, columns)]


def _spans(start: int, end: int, size: int, overlap: float) -> list[tuple[int, int]]:
    length = end - start
    if length <= size:
        return [(start, end)]
    if overlap == 0:
        count = ceil(length / size)
        edges = [start + round(number * length / count) for number in range(count + 1)]
        return list(pairwise(edges))
    step = max(1, round(size * (1 - overlap)))
    count = ceil((length - size) / step) + 1
    begins = [min(start + number * step, end - size) for number in range(count)]
    return [(begin, begin + size) for begin in begins]

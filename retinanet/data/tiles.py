"""Large pictures cut: into bands that give each split pixels of its own, and bands into tiles."""

from itertools import pairwise, product
from math import ceil
from typing import NamedTuple

from retinanet.data.annotated import LEAST_SIDE, TEST, TRAIN, VAL, Box


class Region(NamedTuple):
    """A rectangle of a picture, in whole pixels; right and bottom are outside."""

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


def bands(width: int, height: int, val_share: float, test_share: float) -> dict[str, Region]:
    """Divide a picture across its longer side into train, val and test, which share no pixel.

    A split whose share is 0 gets no band.
    """
    length = max(width, height)
    test = max(1, round(test_share * length)) if test_share else 0
    val = max(1, round(val_share * length)) if val_share else 0
    edges = [0, length - val - test, length - test, length]
    found = {}
    for split, (start, end) in zip((TRAIN, VAL, TEST), pairwise(edges), strict=True):
        if end > start:
            found[split] = Region(start, 0, end, height) if width >= height else Region(0, start, width, end)
    return found


def tiles(region: Region, size: int, overlap: float) -> list[Region]:
    """Cover a region with tiles of at most size x size.

    With an overlap (a share of size) tiles are of full size where the region is, the last one of a row pushed back
    inside. Without, they lie side by side, as equal as can be, so that each pixel is in exactly one.
    """
    columns = _spans(region.left, region.right, size, overlap)
    rows = _spans(region.top, region.bottom, size, overlap)
    return [Region(left, top, right, bottom) for (top, bottom), (left, right) in product(rows, columns)]


def boxes_inside(boxes: tuple[Box, ...], region: Region, min_visible: float) -> tuple[Box, ...]:
    """The boxes that reach into the region, cut to it and in its pixels.

    One of which it holds less than the share min_visible is a crowd then: not to be found, and no fault where it is.
    """
    kept = []
    for box in boxes:
        left, top, right, bottom = box.xyxy
        cut = (max(left, region.left), max(top, region.top), min(right, region.right), min(bottom, region.bottom))
        width, height = cut[2] - cut[0], cut[3] - cut[1]
        if width < LEAST_SIDE or height < LEAST_SIDE:
            continue
        visible = width * height / ((right - left) * (bottom - top))
        moved = (cut[0] - region.left, cut[1] - region.top, cut[2] - region.left, cut[3] - region.top)
        area = None if box.area is None else box.area * visible
        kept.append(box._replace(xyxy=moved, area=area, iscrowd=box.iscrowd or visible < min_visible))
    return tuple(kept)


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

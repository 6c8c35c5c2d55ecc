"""Cutting of large images: bands of pixels for each split, and the boxes inside a tile."""

from itertools import pairwise

from retinanet.annotations.records import MIN_BOX_SIDE, TEST, TRAIN, VAL, Box
from retinanet.images.tiles import Region


def bands(width: int, height: int, val_share: float, test_share: float) -> dict[str, Region]:
    """Divide an image across its longer side into train, val and test, which share no pixel.

    A split whose share is 0 gets no band.
    """
    length = max(width, height)
    test = max(1, round(test_share * length)) if test_share else 0
    val = max(1, round(val_share * length)) if val_share else 0
    edges = [0, length - val - test, length - test, length]
    regions = {}
    for split, (start, end) in zip((TRAIN, VAL, TEST), pairwise(edges), strict=True):
        if end > start:
            regions[split] = Region(start, 0, end, height) if width >= height else Region(0, start, width, end)
    return regions


def boxes_inside(boxes: tuple[Box, ...], region: Region, min_visible: float) -> tuple[Box, ...]:
    """The boxes that overlap a region, clipped to it, in pixels from its top left corner.

    A box whose visible share of its area is below min_visible becomes an ignored region (iscrowd).
    """
    kept = []
    for box in boxes:
        left, top, right, bottom = box.xyxy
        clipped = (max(left, region.left), max(top, region.top), min(right, region.right), min(bottom, region.bottom))
        width, height = clipped[2] - clipped[0], clipped[3] - clipped[1]
        if width < MIN_BOX_SIDE or height < MIN_BOX_SIDE:
            continue
        visible = width * height / ((right - left) * (bottom - top))
        xyxy = (
            clipped[0] - region.left,
            clipped[1] - region.top,
            clipped[2] - region.left,
            clipped[3] - region.top,
        )
        area = None if box.area is None else box.area * visible
        kept.append(box._replace(xyxy=xyxy, area=area, iscrowd=box.iscrowd or visible < min_visible))
    return tuple(kept)

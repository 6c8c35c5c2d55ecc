"""Large images cut: bands that give each split pixels of its own, and the objects inside a tile."""

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
    found = {}
    for split, (start, end) in zip((TRAIN, VAL, TEST), pairwise(edges), strict=True):
        if end > start:
            found[split] = Region(start, 0, end, height) if width >= height else Region(0, start, width, end)
    return found


def boxes_inside(boxes: tuple[Box, ...], region: Region, min_visible: float) -> tuple[Box, ...]:
    """The boxes that reach into the region, cut to it and in its pixels.

    One of which it holds less than the share min_visible is a crowd then: not to be found, and no fault where it is.
    """
    kept = []
    for box in boxes:
        left, top, right, bottom = box.xyxy
        cut = (max(left, region.left), max(top, region.top), min(right, region.right), min(bottom, region.bottom))
        width, height = cut[2] - cut[0], cut[3] - cut[1]
        if width < MIN_BOX_SIDE or height < MIN_BOX_SIDE:
            continue
        visible = width * height / ((right - left) * (bottom - top))
        moved = (cut[0] - region.left, cut[1] - region.top, cut[2] - region.left, cut[3] - region.top)
        area = None if box.area is None else box.area * visible
        kept.append(box._replace(xyxy=moved, area=area, iscrowd=box.iscrowd or visible < min_visible))
    return tuple(kept)

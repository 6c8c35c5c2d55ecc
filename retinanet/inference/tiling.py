"""An image that is too large for a detector at once: cut into tiles, and what was found in them put together."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from retinanet.images.tiles import Region, Tiling, tiles
from retinanet.inference.detections import Detections

# Boxes of one class with this IoU in two tiles are one object.
SAME_OBJECT = 0.5
# A box that ends within this share of its tile from an edge inside the image is perhaps of a part alone, and
# is left out where a whole one of another tile holds this share of it.
AT_EDGE, COVERED = 0.01, 0.5


def cut(height: int, width: int, tiling: Tiling) -> list[Region]:
    """The tiles of an image of that size; the whole where it is not cut."""
    whole = Region(0, 0, width, height)
    return tiles(whole, tiling.size, tiling.overlap) if tiling.cuts(height, width) else [whole]


def join(regions: Sequence[Region], found: Sequence[Detections]) -> Detections:
    """Detections of an image's tiles, each in pixels of its own, as those of the image, best first.

    Of an object that two tiles have whole the better box is kept, and a part at a tile's edge gives way to the whole in
    another. An object that no tile has whole, larger than their overlap, comes in its parts.
    """
    right, bottom = max(region.right for region in regions), max(region.bottom for region in regions)
    image = Region(0, 0, right, bottom)
    moved = [_moved(one, region) for one, region in zip(found, regions, strict=True)]
    are_parts = [_end_at_edge(one.boxes_xyxy, region, image) for one, region in zip(moved, regions, strict=True)]
    firsts = np.cumsum([0, *(len(one) for one in moved)])
    together = Detections(
        np.concatenate([one.boxes_xyxy for one in moved]),
        np.concatenate([one.scores for one in moved]),
        np.concatenate([one.labels for one in moved]),
    )
    kept = np.ones(len(together), bool)
    rivals: dict[int, list[int]] = defaultdict(list)
    for i, j in combinations(range(len(regions)), 2):
        if not _meet(regions[i], regions[j]):
            continue
        shares, ious = _overlaps(moved[i], moved[j])
        kept[firsts[i] :][: len(moved[i])] &= ~(are_parts[i] & (shares[0] >= COVERED)[:, ~are_parts[j]].any(axis=1))
        kept[firsts[j] :][: len(moved[j])] &= ~(are_parts[j] & (shares[1] >= COVERED)[~are_parts[i]].any(axis=0))
        for one, other in zip(*np.nonzero(ious >= SAME_OBJECT), strict=True):
            rivals[firsts[i] + one].append(firsts[j] + other)
            rivals[firsts[j] + other].append(firsts[i] + one)
    order = np.argsort(-together.scores, kind="stable")
    place = np.argsort(order)
    for row in order:
        if kept[row]:
            kept[[rival for rival in rivals[row] if place[rival] > place[row]]] = False
    return together.rows(order[kept[order]])


def _moved(detections: Detections, region: Region) -> Detections:
    offset = np.array([region.left, region.top] * 2, np.float32)
    return Detections(detections.boxes_xyxy + offset, detections.scores, detections.labels)


def _end_at_edge(boxes: np.ndarray, region: Region, image: Region) -> np.ndarray:
    """(D,) which boxes touch an edge of their tile that is none of the image's."""
    margin = np.array([region.width, region.height] * 2) * AT_EDGE
    edges = np.array(region)
    inside = edges != np.array(image)
    return ((np.abs(boxes - edges) <= margin) & inside).any(axis=1)


def _meet(a: Region, b: Region) -> bool:
    return a.left < b.right and b.left < a.right and a.top < b.bottom and b.top < a.bottom


def _overlaps(a: Detections, b: Detections) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """(D, E) each: the share of a's boxes in b's, that of b's in a's, and the IoU; 0 between two classes."""
    low = np.maximum(a.boxes_xyxy[:, None, :2], b.boxes_xyxy[None, :, :2])
    high = np.minimum(a.boxes_xyxy[:, None, 2:], b.boxes_xyxy[None, :, 2:])
    common = (high - low).clip(0).prod(axis=2) * (a.labels[:, None] == b.labels)
    of_a, of_b = ((one.boxes_xyxy[:, 2:] - one.boxes_xyxy[:, :2]).prod(axis=1) for one in (a, b))
    return (common / of_a[:, None], common / of_b), common / (of_a[:, None] + of_b - common)

"""A picture that is too large for a detector at once: cut into tiles, and what was found in them put together."""

from collections.abc import Sequence

import cv2
import numpy as np

from retinanet.data.tiles import Region, tiles
from retinanet.detections import Detections, Tiling

# Boxes of one class with this IoU are one object that two tiles have seen.
SAME_OBJECT = 0.5
# A box that ends within this share of its tile from an edge inside the picture is perhaps of a part alone, and
# is left out where a whole one holds this share of it.
AT_EDGE, COVERED = 0.01, 0.5


def cut(height: int, width: int, tiling: Tiling) -> list[Region]:
    """The tiles of a picture of that size; the whole where it is no larger than one, or is never cut."""
    whole = Region(0, 0, width, height)
    if not tiling.size or max(height, width) <= tiling.size:
        return [whole]
    return tiles(whole, tiling.size, tiling.overlap)


def join(regions: Sequence[Region], found: Sequence[Detections]) -> Detections:
    """Detections of a picture's tiles, each in pixels of its own, as those of the picture, best first.

    What two tiles have seen is one, and a part at a tile's edge is left out where another tile has the whole.
    """
    right, bottom = max(region.right for region in regions), max(region.bottom for region in regions)
    picture = Region(0, 0, right, bottom)
    moved = [_moved(one, region) for one, region in zip(found, regions, strict=True)]
    is_part = [_ends_at_edge(one.boxes_xyxy, region, picture) for one, region in zip(moved, regions, strict=True)]
    together = Detections(
        np.concatenate([one.boxes_xyxy for one in moved]),
        np.concatenate([one.scores for one in moved]),
        np.concatenate([one.labels for one in moved]),
    )
    together = together.rows(~_is_covered(together, np.concatenate(is_part)))
    corners, sides = together.boxes_xyxy[:, :2], together.boxes_xyxy[:, 2:] - together.boxes_xyxy[:, :2]
    xywh = np.concatenate([corners, sides], axis=1)
    kept = cv2.dnn.NMSBoxesBatched(xywh.tolist(), together.scores.tolist(), together.labels.tolist(), 0.0, SAME_OBJECT)
    return together.rows(np.asarray(kept, np.int64))


def _moved(detections: Detections, region: Region) -> Detections:
    offset = np.array([region.left, region.top] * 2, np.float32)
    return Detections(detections.boxes_xyxy + offset, detections.scores, detections.labels)


def _ends_at_edge(boxes: np.ndarray, region: Region, picture: Region) -> np.ndarray:
    """(D,) which boxes touch an edge of their tile that is none of the picture's."""
    margin = np.array([region.width, region.height] * 2) * AT_EDGE
    edges = np.array(region)
    inside = edges != np.array(picture)
    return ((np.abs(boxes - edges) <= margin) & inside).any(axis=1)


def _is_covered(detections: Detections, is_part: np.ndarray) -> np.ndarray:
    """(D,) which parts lie, with the share COVERED, in a box of their class that is no part."""
    covered = np.zeros(len(detections), bool)
    parts, wholes = detections.rows(is_part), detections.rows(~is_part)
    low = np.maximum(parts.boxes_xyxy[:, None, :2], wholes.boxes_xyxy[None, :, :2])
    high = np.minimum(parts.boxes_xyxy[:, None, 2:], wholes.boxes_xyxy[None, :, 2:])
    areas = (parts.boxes_xyxy[:, 2:] - parts.boxes_xyxy[:, :2]).prod(axis=1)
    shares = (high - low).clip(0).prod(axis=2) / areas[:, None]
    covered[is_part] = ((shares >= COVERED) & (parts.labels[:, None] == wholes.labels)).any(axis=1)
    return covered

"""Merge what neighboring tiles found, so that nothing shows where their borders were."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from retinanet.images.boxes import areas, intersection, iou, share_inside
from retinanet.inference.tiling import EDGE_MARGIN, MIN_COVERED, SAME_OBJECT_IOU
from retinanet.rasters.grid import Grid


class Placed(NamedTuple):
    """D detections in a raster: boxes (D, 4) float64 xyxy in its pixels, scores, labels, and which tile found each.

    centrality (D,) is the distance in pixels from the center of the box to the nearest edge of its tile. cut_off (D,)
    says whether an edge of the tile may have cut off the box.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    tile: np.ndarray
    centrality: np.ndarray
    cut_off: np.ndarray

    def rows(self, index: np.ndarray) -> "Placed":
        return Placed(*(array[index] for array in self))


def merge(rows: Iterable[np.ndarray], grid: Grid) -> Iterator[Placed]:
    """The objects of each row of tiles; rows has what was found in each, (D,) FOUND, from the top.

    A tile speaks for the objects whose centers lie in its core, up to the middle of its overlap with the next tile. A
    center near the border of two cores may lie on either side of it, depending on the tile: boxes up to halfway between
    core and tile are kept as well, if no other tile that shows the object closer to its middle has it. Scores do not
    matter here, so that an object at a border does not get the best of several scores. The rows above and below take
    part in the decision on a row.
    """
    before = current = None
    for row, found in enumerate(rows):
        following = place(found, row, grid)
        if current is not None:
            yield _decide(before, current, following)
        before, current = current, following
    if current is not None:
        yield _decide(before, current, None)


def place(found: np.ndarray, row: int, grid: Grid) -> Placed:
    """What was found in a row of tiles, (D,) FOUND, in pixels of the raster, without what other tiles speak for."""
    lefts, tops = grid.lefts, grid.tops
    corner = np.stack([lefts[found["column"]], np.full(len(found), tops[row])], axis=1).astype(np.float64)
    edges = np.concatenate([corner, corner + grid.tile], axis=1)
    raster = np.array([0, 0, grid.width, grid.height], np.float64)
    unclipped = found["box"].astype(np.float64) + np.tile(corner, 2)
    boxes = np.concatenate([unclipped[:, :2].clip(0, raster[2:]), unclipped[:, 2:].clip(0, raster[2:])], axis=1)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    reach_x, reach_y = _reach(lefts, grid.tile)[found["column"]], _reach(tops, grid.tile)[row]
    reach = np.stack([reach_x, np.broadcast_to(reach_y, reach_x.shape)], axis=1)  # (D, x and y, begin and end)
    is_near = ((centers >= reach[:, :, 0]) & (centers < reach[:, :, 1])).all(axis=1) & (areas(boxes) > 0)
    inner = (edges[:, :2] > 0), (edges[:, 2:] < raster[2:])
    at_edge = np.abs(unclipped - edges) <= grid.tile * EDGE_MARGIN
    centrality = np.minimum(centers - edges[:, :2], edges[:, 2:] - centers).min(axis=1)
    placed = Placed(
        boxes,
        found["score"],
        found["label"],
        row * len(lefts) + found["column"],
        centrality,
        (at_edge & np.concatenate(inner, axis=1)).any(axis=1),
    )
    return placed.rows(is_near)


def _reach(begins: np.ndarray, tile: int) -> np.ndarray:
    """(T, 2) from where to where, in one direction, a center of a box of each tile may lie."""
    overlap = begins[:-1] + tile - begins[1:]
    reach = np.stack([begins, begins + tile], axis=1).astype(np.float64)
    # A quarter of the overlap lies beyond it, the core ends after two quarters.
    reach[1:, 0] += overlap / 4
    reach[:-1, 1] -= overlap / 4
    reach[0, 0], reach[-1, 1] = -np.inf, np.inf
    return reach


def _decide(before: Placed | None, current: Placed, following: Placed | None) -> Placed:
    """The detections of `current` that remain."""
    neighborhood = [placed for placed in (before, current, following) if placed is not None]
    together = Placed(*(np.concatenate(arrays) for arrays in zip(*neighborhood, strict=True)))
    first = len(before.scores) if before is not None else 0
    return current.rows(_kept(together)[first : first + len(current.scores)])


def _kept(placed: Placed) -> np.ndarray:
    """(D,) which detections remain when each object is taken from the tile that shows it closest to its middle."""
    a, b = _overlapping(placed.boxes)
    other_tile = (placed.labels[a] == placed.labels[b]) & (placed.tile[a] != placed.tile[b])
    a, b = a[other_tile], b[other_tile]
    kept = np.ones(len(placed.scores), bool)
    for rows, others in ((a, b), (b, a)):
        covered = share_inside(placed.boxes[rows], placed.boxes[others]) >= MIN_COVERED
        kept[rows[covered & placed.cut_off[rows] & ~placed.cut_off[others]]] = False
    same = iou(placed.boxes[a], placed.boxes[b]) >= SAME_OBJECT_IOU
    rank = np.empty(len(kept), np.int64)
    rank[np.lexsort((-placed.scores, -placed.centrality))] = np.arange(len(kept))
    better, worse = np.where(rank[a] < rank[b], (a, b), (b, a))[:, same]
    in_order = np.argsort(rank[better], kind="stable")
    for winner, loser in zip(better[in_order].tolist(), worse[in_order].tolist(), strict=True):
        if kept[winner]:
            kept[loser] = False
    return kept


def _overlapping(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of rows of boxes that overlap. The boxes lie in a band: sorted by x, few follow before one ends."""
    order = np.argsort(boxes[:, 0], kind="stable")
    following = np.arange(1, len(boxes) + 1)
    counts = np.searchsorted(boxes[order, 0], boxes[order, 2]) - following
    a = np.repeat(np.arange(len(boxes)), counts)
    b = np.arange(len(a)) - np.repeat(np.cumsum(counts) - counts - following, counts)
    a, b = order[a], order[b]
    overlap = intersection(boxes[a], boxes[b]) > 0
    return a[overlap], b[overlap]

"""Tiled inference: an image larger than the detector's input is cut into tiles, whose detections are merged."""

from collections.abc import Sequence

import numpy as np

from retinanet.images.boxes import intersection, iou, share_inside
from retinanet.images.tiles import Region, Tiling, tiles
from retinanet.inference.detections import Detections

# Boxes of one class with at least this IoU, found in two tiles, are one object.
SAME_OBJECT_IOU = 0.5
# A box that ends within this share of the tile's side from an edge inside the image may be cut off by it, ...
EDGE_MARGIN = 0.01
# ... and is dropped if a box of another tile that is not cut off covers at least this share of it.
MIN_COVERED = 0.5


def cut(height: int, width: int, tiling: Tiling) -> list[Region]:
    """The tiles of an image of that size; one region of the full image if it is small enough."""
    image = Region(0, 0, width, height)
    return tiles(image, tiling.size, tiling.overlap) if tiling.cuts(height, width) else [image]


def join(regions: Sequence[Region], tile_detections: Sequence[Detections]) -> Detections:
    """Merge the detections of an image's tiles, each in pixels of its tile, into those of the image, best first.

    Among boxes of one object in several tiles the one with the best score is kept, and a box that is cut off at a
    tile's edge is replaced by the complete box of another tile. An object larger than the overlap of the tiles, which
    no tile shows completely, keeps its partial boxes.
    """
    edges = np.array(regions).reshape(-1, 4)
    counts = np.array([len(detections) for detections in tile_detections])
    tile_of = np.repeat(np.arange(len(regions)), counts)
    boxes = np.concatenate([detections.boxes_xyxy for detections in tile_detections])
    boxes = boxes + edges[tile_of][:, [0, 1, 0, 1]].astype(np.float32)
    scores, labels = (
        np.concatenate([getattr(detections, name) for detections in tile_detections]) for name in ("scores", "labels")
    )
    cut_off = _is_cut_off(boxes, edges[tile_of], image=np.array([0, 0, *edges[:, 2:].max(axis=0)]))
    a, b = _candidate_pairs(edges, boxes, counts)
    a, b = (rows[labels[a] == labels[b]] for rows in (a, b))
    kept = np.ones(len(boxes), bool)
    for rows, others in ((a, b), (b, a)):
        covered = share_inside(boxes[rows], boxes[others]) >= MIN_COVERED
        kept[rows[covered & cut_off[rows] & ~cut_off[others]]] = False
    order = np.argsort(-scores, kind="stable")
    same = iou(boxes[a], boxes[b]) >= SAME_OBJECT_IOU
    _suppress(kept, order, a[same], b[same])
    return Detections(boxes, scores, labels).rows(order[kept[order]])


def _is_cut_off(boxes: np.ndarray, tile_edges: np.ndarray, image: np.ndarray) -> np.ndarray:
    """(D,) whether a box touches an edge of its tile, tile_edges (D, 4), that is not an edge of the image, (4,)."""
    sides = tile_edges[:, 2:] - tile_edges[:, :2]
    margin = np.concatenate([sides, sides], axis=1) * EDGE_MARGIN
    return ((np.abs(boxes - tile_edges) <= margin) & (tile_edges != image)).any(axis=1)


def _candidate_pairs(edges: np.ndarray, boxes: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of boxes (D, 4) that may overlap: all pairs of two tiles that reach into the tiles' common region.

    Tiles are compared only with those that begin left of their right edge, boxes only within a pair of tiles that
    overlap, so that the time grows about like the number of boxes and not like its square.
    """
    first_tile, second_tile = _overlapping_tiles(edges)
    common = np.concatenate(
        [
            np.maximum(edges[first_tile, :2], edges[second_tile, :2]),
            np.minimum(edges[first_tile, 2:], edges[second_tile, 2:]),
        ],
        axis=1,
    )
    first_row = np.cumsum(counts) - counts
    pairs_and_rows = []
    for tile in (first_tile, second_tile):
        pair, row = _ranges(first_row[tile], counts[tile])
        inside = intersection(boxes[row], common[pair]) > 0
        pairs_and_rows.append((pair[inside], row[inside]))
    (pair_a, rows_a), (pair_b, rows_b) = pairs_and_rows
    counts_b = np.bincount(pair_b, minlength=len(common))
    first_b = np.cumsum(counts_b) - counts_b
    a, b = _ranges(first_b[pair_a], counts_b[pair_a])
    return rows_a[a], rows_b[b]


def _overlapping_tiles(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of tiles, of edges (T, 4) xyxy, that share pixels."""
    order = np.argsort(edges[:, 0], kind="stable")
    left, top, right, bottom = edges[order].T
    following = np.arange(1, len(order) + 1)
    # Sorted by their left edge, the tiles that overlap one in x and come after it are neighbors in the order.
    a, b = _ranges(following, np.maximum(np.searchsorted(left, right) - following, 0))
    overlap = (top[a] < bottom[b]) & (top[b] < bottom[a])
    return order[a[overlap]], order[b[overlap]]


def _ranges(starts: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each i, the numbers starts[i] to starts[i] + counts[i], and beside each number its i."""
    owner = np.repeat(np.arange(len(counts)), counts)
    position = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    return owner, starts[owner] + position


def _suppress(kept: np.ndarray, order: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Drop the worse row of each pair a[i], b[i] if the better one is kept; kept is (D,) and order (D,) best first."""
    rank = np.argsort(order)
    ranks = np.sort(np.stack([rank[a], rank[b]], axis=1), axis=1)
    for better, worse in order[ranks[np.argsort(ranks[:, 0], kind="stable")]].tolist():
        if kept[better]:
            kept[worse] = False

"""Anchors for the objects at hand, in the form that RetinaNet takes: sizes in octaves, one a level, and ratios."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from retinanet.data_report.coverage import AnchorSettings, TrainingBoxes, best_ious
from retinanet.images.boxes import iou
from retinanet.model.levels import LEVEL_STRIDES

# So many boxes say as much as a million.
MAX_BOXES = 5000
CLUSTERS = 15
ROUNDS = 50
# An anchor this good is as good as any: what matters is that each object is well over the 0.5 that makes it learned.
ENOUGH = 0.6
# A mean this much lower is as good: anchors stay as near to the present ones as it allows.
SLACK = 0.01
# The smallest size tried, and steps of a third octave up from it.
SMALLEST, STEPS = 4, 16


def fit_anchors(boxes: TrainingBoxes, anchors: AnchorSettings) -> AnchorSettings:
    """The sizes and ratios that fit the boxes best, as many ratios as now; the present ones where they are as good.

    Shapes are found by k-means on IoU; of sizes that double from level to level, or spread wider where the boxes do,
    those with the best mean IoU (up to ENOUGH) over the grid are taken, each class counting the same.
    """
    if not len(boxes.labels):
        return anchors
    boxes = _sample(boxes)
    shapes = boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]
    ratios = _ratios(*kmeans_on_iou(shapes, CLUSTERS), len(anchors.ratios))
    tried = [
        anchors,
        *(anchors._replace(sizes=s, ratios=r) for s in _ladders(shapes) for r in (anchors.ratios, ratios)),
    ]
    scores = [_class_mean(best_ious(boxes, candidate), boxes.labels) for candidate in tried]
    good = [candidate for candidate, score in zip(tried, scores, strict=True) if score >= max(scores) - SLACK]
    return min(good, key=lambda candidate: _distance(candidate, anchors))


def kmeans_on_iou(shapes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(k, 2) widths and heights of at most `count` clusters of shapes (G, 2), and (k,) the share of each.

    The distance is 1 - IoU of boxes on one center. The start is even in area, so the same shapes give the same.
    """
    order = np.argsort(shapes.prod(axis=1), kind="stable")
    centers = np.unique(shapes[order[np.linspace(0, len(order) - 1, count).astype(int)]], axis=0)
    nearest = np.full(len(shapes), -1)
    for _ in range(ROUNDS):
        previous, nearest = nearest, iou(_centered(shapes)[:, None], _centered(centers)).argmax(axis=1)
        if (previous == nearest).all():
            break
        used = np.unique(nearest)
        centers = np.stack([np.exp(np.log(shapes[nearest == k]).mean(axis=0)) for k in used])
        nearest = np.searchsorted(used, nearest)
    return centers, np.bincount(nearest, minlength=len(centers)) / len(shapes)


def _centered(shapes: np.ndarray) -> np.ndarray:
    return np.concatenate([-shapes / 2, shapes / 2], axis=1)


def _ratios(centers: np.ndarray, shares: np.ndarray, count: int) -> tuple[float, ...]:
    """The clusters' ratios, nearest ones joined (weighted, in logarithms) until `count` are left; ascending."""
    groups = sorted(
        [float(np.log(h / w)), float(share)] for (w, h), share in zip(centers, shares, strict=True) if share
    )
    while len(groups) > count:
        gaps = [b[0] - a[0] for a, b in pairwise(groups)]
        at = int(np.argmin(gaps))
        (one, weight), (other, more) = groups[at : at + 2]
        groups[at : at + 2] = [[(one * weight + other * more) / (weight + more), weight + more]]
    return tuple(dict.fromkeys(round(float(np.exp(ratio)), 2) or 0.01 for ratio, _ in groups))


def _ladders(shapes: np.ndarray) -> Iterator[tuple[float, ...]]:
    smallest, largest = np.quantile(np.sqrt(shapes.prod(axis=1)), (0.02, 0.98))
    levels = np.arange(len(LEVEL_STRIDES))
    for start in SMALLEST * 2 ** (np.arange(STEPS) / 3):
        yield tuple(float(round(size)) for size in start * 2**levels)
    wider = (largest / smallest) ** (1 / len(LEVEL_STRIDES))
    if wider > 2:
        yield tuple(float(max(1, round(size))) for size in smallest * wider**levels)


def _sample(boxes: TrainingBoxes) -> TrainingBoxes:
    """At most MOST_BOXES, of each class about as many; always the same."""
    generator = np.random.default_rng(0)
    labels, counts = np.unique(boxes.labels, return_counts=True)
    most = max(20, MAX_BOXES // len(labels))
    chosen = [
        np.flatnonzero(boxes.labels == label)
        if count <= most
        else np.sort(generator.choice(np.flatnonzero(boxes.labels == label), most, replace=False))
        for label, count in zip(labels, counts, strict=True)
    ]
    return boxes.only(np.concatenate(chosen))


def _class_mean(ious: np.ndarray, labels: np.ndarray) -> float:
    enough = np.minimum(ious, ENOUGH)
    return float(np.mean([enough[labels == label].mean() for label in np.unique(labels)]))


def _distance(candidate: AnchorSettings, present: AnchorSettings) -> tuple[bool, float]:
    moved = np.abs(np.log2(candidate.sizes) - np.log2(present.sizes)).mean()
    return candidate.ratios != present.ratios, float(moved)

"""Fit anchor sizes, one for each level, and aspect ratios to the training boxes."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from retinanet.data_report.coverage import AnchorSettings, TrainingBoxes, best_ious
from retinanet.images.boxes import iou
from retinanet.model.levels import LEVEL_STRIDES

# A larger sample changes the result little.
MAX_BOXES = 5000
MIN_BOXES_PER_CLASS = 20
CLUSTERS = 15
MAX_ITERATIONS = 50
# Higher IoUs count as this one: each object has to be well above the 0.5 of a positive anchor, not more.
SUFFICIENT_IOU = 0.6
# Of candidates whose mean IoU is at most this much below the best, the one nearest to the current anchors is taken.
MAX_MEAN_LOSS = 0.01
# Sizes of P3 that are tried: this one in pixels and steps of a third octave up from it.
MIN_SIZE, SIZE_STEPS = 4, 16


def fit_anchors(boxes: TrainingBoxes, anchors: AnchorSettings) -> AnchorSettings:
    """The sizes and ratios that fit the boxes best, with at most as many ratios; the current ones if they fit as well.

    Ratios come from k-means on IoU. Sizes double from level to level, or more if the boxes' range is wider. The score
    of a candidate is the mean over classes of the boxes' best IoU with the anchor grid, up to SUFFICIENT_IOU.
    """
    if not len(boxes.labels):
        return anchors
    boxes = _sample(boxes)
    shapes = boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]
    ratios = _ratios(*kmeans_on_iou(shapes, CLUSTERS), len(anchors.ratios))
    candidates = [
        anchors,
        *(anchors._replace(sizes=s, ratios=r) for s in _size_ladders(shapes) for r in (anchors.ratios, ratios)),
    ]
    scores = [_class_mean(best_ious(boxes, candidate), boxes.labels) for candidate in candidates]
    min_score = max(scores) - MAX_MEAN_LOSS
    good = [candidate for candidate, score in zip(candidates, scores, strict=True) if score >= min_score]
    return min(good, key=lambda candidate: _distance(candidate, anchors))


def kmeans_on_iou(shapes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Cluster shapes (G, 2), width and height, into k <= count: centers (k, 2) and their shares (k,) of the shapes.

    The distance is 1 - IoU of concentric boxes. Initial centers are evenly spaced in area, so the result is
    deterministic.
    """
    order = np.argsort(shapes.prod(axis=1), kind="stable")
    centers = np.unique(shapes[order[np.linspace(0, len(order) - 1, count).astype(int)]], axis=0)
    nearest = np.full(len(shapes), -1)
    for _ in range(MAX_ITERATIONS):
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
    """At most `count` ratios in ascending order: the nearest clusters are merged, by weighted geometric mean."""
    groups = sorted(
        [float(np.log(h / w)), float(share)] for (w, h), share in zip(centers, shares, strict=True) if share
    )
    while len(groups) > count:
        gaps = [b[0] - a[0] for a, b in pairwise(groups)]
        i = int(np.argmin(gaps))
        (low, low_share), (high, high_share) = groups[i : i + 2]
        share = low_share + high_share
        groups[i : i + 2] = [[(low * low_share + high * high_share) / share, share]]
    return tuple(dict.fromkeys(round(float(np.exp(ratio)), 2) or 0.01 for ratio, _ in groups))


def _size_ladders(shapes: np.ndarray) -> Iterator[tuple[float, ...]]:
    smallest, largest = np.quantile(np.sqrt(shapes.prod(axis=1)), (0.02, 0.98))
    levels = np.arange(len(LEVEL_STRIDES))
    for start in MIN_SIZE * 2 ** (np.arange(SIZE_STEPS) / 3):
        yield tuple(float(round(size)) for size in start * 2**levels)
    factor = (largest / smallest) ** (1 / len(LEVEL_STRIDES))
    if factor > 2:
        yield tuple(float(max(1, round(size))) for size in smallest * factor**levels)


def _sample(boxes: TrainingBoxes) -> TrainingBoxes:
    """About MAX_BOXES boxes, with an equal limit for each class; deterministic."""
    generator = np.random.default_rng(0)
    labels, counts = np.unique(boxes.labels, return_counts=True)
    max_per_class = max(MIN_BOXES_PER_CLASS, MAX_BOXES // len(labels))
    chosen = [
        np.flatnonzero(boxes.labels == label)
        if count <= max_per_class
        else np.sort(generator.choice(np.flatnonzero(boxes.labels == label), max_per_class, replace=False))
        for label, count in zip(labels, counts, strict=True)
    ]
    return boxes.only(np.concatenate(chosen))


def _class_mean(ious: np.ndarray, labels: np.ndarray) -> float:
    capped = np.minimum(ious, SUFFICIENT_IOU)
    return float(np.mean([capped[labels == label].mean() for label in np.unique(labels)]))


def _distance(candidate: AnchorSettings, current: AnchorSettings) -> tuple[bool, float]:
    distance = np.abs(np.log2(candidate.sizes) - np.log2(current.sizes)).mean()
    return candidate.ratios != current.ratios, float(distance)

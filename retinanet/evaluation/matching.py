"""COCO's evaluation of boxes on arrays: what pycocotools' COCOeval computes image by image, for all images at once.

In each image and class, the detections, best score first, take the free object that they overlap most, one after the
other. So the detections that come first in their image and class are matched together, then all that come second, and
so on. The results are pycocotools', rounding and order of equal scores included (tests/evaluation/test_matching.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
# Ranges of the area of objects: all, small, medium, large.
AREAS = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))
MAX_DETECTIONS = (1, 10, 100)  # of each image and class; only recall is computed for fewer than 100


class Annotated(NamedTuple):
    """G annotated objects: boxes_xywh (G, 4) float64, images and labels (G,) int64, areas (G,), is_crowd (G,) bool."""

    boxes_xywh: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    is_crowd: np.ndarray


class Detected(NamedTuple):
    """D detections: boxes_xywh (D, 4) float64, images and labels (D,) int64, scores (D,) float64."""

    boxes_xywh: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def rows(self, rows: np.ndarray) -> "Detected":
        return Detected(*(array[rows] for array in self))


@dataclass(frozen=True)
class Evaluation:
    """An evaluation at T IoU thresholds of K classes on N images, numbered in the order of their ids.

    The D detections are class by class, best score first, equal scores in the order of the images: scores (D,), labels
    and images (D,) int64, is_true and is_ignored (T, D) bool. object_counts (N, K) are numbers of single objects.

    precision (T, R, K, A) at R recalls and for A ranges of area, recall (T, K, A + 2) for these and for the best 1 and
    10 detections, and curve_scores (T, R, K) are pycocotools' eval; -1 without objects.
    """

    scores: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    is_true: np.ndarray
    is_ignored: np.ndarray
    object_counts: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    curve_scores: np.ndarray


def evaluate_arrays(
    objects: Annotated, detected: Detected, images: int, classes: int, ious: Sequence[float] | np.ndarray = IOUS
) -> Evaluation:
    """Match the detections to the objects, and compute precision and recall."""
    thresholds = np.asarray(ious, np.float64)
    order = np.lexsort((-detected.scores, detected.images, detected.labels))
    detected = detected.rows(order)
    ranks = _ranks(_groups(detected, images))
    detected, ranks = detected.rows(ranks < MAX_DETECTIONS[-1]), ranks[ranks < MAX_DETECTIONS[-1]]
    pairs = _Pairs.of(objects, detected, images, thresholds)
    by_score = np.lexsort((ranks, detected.images, -detected.scores, detected.labels))
    scores, labels, ranks = detected.scores[by_score], detected.labels[by_score], ranks[by_score]
    counts = np.zeros((images, classes), np.int64)
    columns = AREAS if ious is IOUS else AREAS[:1]
    shape = (len(thresholds), len(RECALLS), classes)
    precision, curve_scores = np.full((*shape, len(columns)), -1.0), np.full(shape, -1.0)
    recall = np.full((len(thresholds), classes, len(columns) + 2), -1.0)
    is_true = is_ignored = np.zeros(0)
    for area, (low, high) in enumerate(columns):
        is_object = ~objects.is_crowd & (objects.areas >= low) & (objects.areas <= high)
        true, ignored = _match(pairs, is_object, objects.is_crowd, len(detected.scores), thresholds)
        areas = detected.boxes_xywh[:, 2] * detected.boxes_xywh[:, 3]
        ignored |= ~true & ((areas < low) | (areas > high))
        true, ignored = (true & ~ignored)[:, by_score], ignored[:, by_score]
        if area == 0:
            is_true, is_ignored = true, ignored
            np.add.at(counts, (objects.images[is_object], objects.labels[is_object]), 1)
        of_class = np.bincount(objects.labels[is_object], minlength=classes)
        for label in np.flatnonzero(of_class):
            rows = slice(*np.searchsorted(labels, [label, label + 1]))
            curve = _curve(true[:, rows], ignored[:, rows], scores[rows], int(of_class[label]))
            precision[:, :, label, area], recall[:, label, area] = curve[0], curve[2]
            if area == 0:
                curve_scores[:, :, label] = curve[1]
                for column, most in enumerate(MAX_DETECTIONS[:-1], start=len(columns)):
                    found = true[:, rows][:, ranks[rows] < most].sum(axis=1)
                    recall[:, label, column] = found / of_class[label]
    return Evaluation(
        scores, labels, detected.images[by_score], is_true, is_ignored, counts, precision, recall, curve_scores
    )


class _Pairs(NamedTuple):
    """P pairs of a detection and an object of its image and class that overlap enough: rows (P,) of both, ious (P,).

    turns (P,): the how-manieth of its image and class the detection is, of those in pairs.
    """

    detected: np.ndarray
    objects: np.ndarray
    ious: np.ndarray
    turns: np.ndarray

    @classmethod
    def of(cls, objects: Annotated, detected: Detected, images: int, thresholds: np.ndarray) -> "_Pairs":
        groups, object_groups = _groups(detected, images), _groups(objects, images)
        order = np.argsort(object_groups, kind="stable")
        first, end = (np.searchsorted(object_groups[order], groups, side) for side in ("left", "right"))
        rows = np.repeat(np.arange(len(groups)), end - first)
        object_rows = order[np.repeat(first, end - first) + _ranks(rows)]
        ious = _overlaps(detected.boxes_xywh[rows], objects.boxes_xywh[object_rows], objects.is_crowd[object_rows])
        near = ious >= min(thresholds.min(), 1 - 1e-10)
        rows, object_rows, ious = rows[near], object_rows[near], ious[near]
        unique, inverse = np.unique(rows, return_inverse=True)
        return cls(rows, object_rows, ious, _ranks(groups[unique])[inverse])

    def rows(self, rows: np.ndarray) -> "_Pairs":
        return _Pairs(*(array[rows] for array in self))


def _match(
    pairs: _Pairs, is_object: np.ndarray, is_crowd: np.ndarray, detections: int, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(T, D) whether a detection is matched, and whether to an object that is ignored: a crowd, or of another size."""
    matched, ignored = np.zeros((2, len(thresholds), detections), bool)
    taken = np.zeros((len(thresholds), len(is_object)), bool)
    # Of a detection's pairs the last that is left counts: objects before ignored ones, the largest overlap, and of
    # equal overlaps the last object.
    pairs = pairs.rows(np.lexsort((pairs.objects, pairs.ious, is_object[pairs.objects], pairs.detected, pairs.turns)))
    for first, end in _runs(pairs.turns):
        turn = pairs.rows(np.arange(first, end))
        free = ~taken[:, turn.objects] & (turn.ious >= np.minimum(thresholds, 1 - 1e-10)[:, None])
        starts = np.flatnonzero(np.diff(turn.detected, prepend=-1))
        chosen = np.maximum.reduceat(np.where(free, np.arange(end - first), -1), starts, axis=1)
        t, column = np.nonzero(chosen >= 0)
        objects = turn.objects[chosen[t, column]]
        matched[t, turn.detected[starts[column]]] = True
        ignored[t, turn.detected[starts[column]]] = ~is_object[objects]
        taken[t, objects] = ~is_crowd[objects]
    return matched, ignored


def _curve(
    is_true: np.ndarray, is_ignored: np.ndarray, scores: np.ndarray, objects: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(T, R) the highest precision at each recall or a higher one, (T, R) its score, and (T,) the highest recall."""
    precision, curve_scores = np.zeros((2, len(is_true), len(RECALLS)))
    if not len(scores):
        return precision, curve_scores, np.zeros(len(is_true))
    true_positives = np.cumsum(is_true, axis=1, dtype=np.float64)
    false_positives = np.cumsum(~is_true & ~is_ignored, axis=1, dtype=np.float64)
    recalls = true_positives / objects
    precisions = true_positives / (false_positives + true_positives + np.spacing(1))
    precisions = np.maximum.accumulate(precisions[:, ::-1], axis=1)[:, ::-1]
    for t, of_threshold in enumerate(recalls):
        reached = np.searchsorted(of_threshold, RECALLS)
        found = reached < len(scores)
        precision[t, found], curve_scores[t, found] = precisions[t, reached[found]], scores[reached[found]]
    return precision, curve_scores, recalls[:, -1]


def _groups(boxes: Annotated | Detected, images: int) -> np.ndarray:
    """(B,) a number for the image and class of each box; ascending by class, then image."""
    return boxes.labels * images + boxes.images


def _ranks(groups: np.ndarray) -> np.ndarray:
    """(B,) the position of each in its run of equal numbers."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))


def _runs(numbers: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and end of each run of equal numbers."""
    starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
    return pairwise([*starts, len(numbers)])


def _overlaps(detected: np.ndarray, objects: np.ndarray, is_crowd: np.ndarray) -> np.ndarray:
    """(P,) IoU, or the share of the detection that is inside a crowd; computed in pycocotools' order."""
    upper = np.minimum(detected[:, 2:] + detected[:, :2], objects[:, 2:] + objects[:, :2])
    sides = upper - np.maximum(detected[:, :2], objects[:, :2])
    areas, object_areas = detected[:, 2] * detected[:, 3], objects[:, 2] * objects[:, 3]
    inside = sides[:, 0] * sides[:, 1]
    union = np.where(is_crowd, areas, areas + object_areas - inside)
    touching = (sides > 0).all(axis=1)
    return np.divide(inside, union, out=np.zeros(len(inside)), where=touching)

"""The score from which a detection counts, chosen for each class on val: its operating point.

Whatever is asked for, a detection is right if it is the first of its class with an IoU of at least 0.5 with an object.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from retinanet.evaluation.matches import Matches
from retinanet.model.weights import DEFAULT_THRESHOLD


class OperatingPoint(NamedTuple):
    """The threshold of a class; reason is empty if it does what was asked for, and otherwise says why it does not."""

    threshold: float
    reason: str = ""


class ClassDetections(NamedTuple):
    """The D detections of a class outside ignored regions, best score first, and its objects.

    scores (D,) float64, is_true (D,) bool, units (D,) int64; objects (U,) int64 are the numbers of objects by unit,
    see Matches.
    """

    scores: np.ndarray
    is_true: np.ndarray
    units: np.ndarray
    objects: np.ndarray


def operating_points(matches: Matches, kind: str, target: float, lowest: float) -> list[OperatingPoint]:
    """A point for each class, from the matches of the val split.

    kind is a key of KINDS, and target the precision or recall asked for. Detections have scores above `lowest`, which
    is the threshold if the recall is out of reach.
    """
    choose = KINDS[kind]
    points = [choose(class_detections(matches, label), target, lowest) for label in range(len(matches.class_names))]
    found = [point.threshold for point in points if not math.isnan(point.threshold)]
    other = float(np.median(found)) if found else DEFAULT_THRESHOLD
    return [point._replace(threshold=other) if math.isnan(point.threshold) else point for point in points]


def class_detections(matches: Matches, label: int, row: int = 0) -> ClassDetections:
    """The detections of a class at an IoU threshold of the matches, by default the first, 0.5."""
    columns = matches.of_class(label)
    counted = ~matches.is_ignored[row, columns]
    scores, is_true, units = matches.scores[columns], matches.is_true[row, columns], matches.units[columns]
    return ClassDetections(scores[counted], is_true[counted], units[counted], matches.objects[:, label])


def measures_at(found: ClassDetections, threshold: float, images: int) -> dict[str, float]:
    """precision, recall and f1 of the detections with at least this score, and false_positives_per_image.

    A measure without a denominator is 0.
    """
    above = found.scores >= threshold
    true, detections, objects = int(found.is_true[above].sum()), int(above.sum()), int(found.objects.sum())
    return {
        "precision": true / max(detections, 1),
        "recall": true / max(objects, 1),
        "f1": 2 * true / max(detections + objects, 1),
        "false_positives_per_image": (detections - true) / images,
    }


def best_f1(found: ClassDetections, *_: float) -> OperatingPoint:
    """The threshold with the best F1."""
    rows, true_positives = _candidates(found)
    f1 = 2 * true_positives / (rows + 1 + max(int(found.objects.sum()), 1))
    if not len(f1) or f1.max() == 0:
        return OperatingPoint(math.nan, "no true positive on val: the median threshold of the other classes")
    return OperatingPoint(_rounded_down(found.scores[rows[f1.argmax()]]))


def with_precision(found: ClassDetections, target: float, *_: float) -> OperatingPoint:
    """The threshold with the most true positives among those whose precision is at least `target`."""
    rows, true_positives = _candidates(found)
    precision = true_positives / (rows + 1)
    if not len(rows) or precision.max() == 0:
        return best_f1(found)
    reached = np.flatnonzero(precision >= target)
    if not len(reached):
        best = precision.argmax()
        reason = f"precision {target:g} is out of reach on val: {precision[best]:.3f} at most"
        return OperatingPoint(_rounded_down(found.scores[rows[best]]), reason)
    return OperatingPoint(_rounded_down(found.scores[rows[reached[-1]]]))


def with_recall(found: ClassDetections, target: float, lowest: float) -> OperatingPoint:
    """The highest threshold that promises the recall, by conformal risk control.

    The expected share of its objects that a new image (or group) misses is at most 1 - target, if the new images are
    exchangeable with those of val; the share of all objects that are missed may differ. Angelopoulos et al. 2024,
    Conformal Risk Control (ICLR), with that share as the loss, which is at most 1.
    """
    of_unit = found.objects[found.units[found.is_true]]
    units, allowed = int((found.objects > 0).sum()), 1 - target
    if allowed * (units + 1) < 1:
        needed = math.ceil(1 / allowed) - 1 if allowed else math.inf
        reason = f"{units} images of val have the class; recall {target:g} needs {needed}"
        return OperatingPoint(lowest, reason)
    # The sum of the units' losses, with the 1 of the new unit, after each true positive.
    losses = units - np.cumsum(1 / of_unit) + 1
    reached = np.flatnonzero(losses <= allowed * (units + 1) + 1e-9)
    if not len(reached):
        best = 1 - (losses.min(initial=units + 1.0)) / (units + 1)
        return OperatingPoint(lowest, f"recall {target:g} is out of reach on val: {max(best, 0):.3f} at most")
    return OperatingPoint(_rounded_down(found.scores[found.is_true][reached[0]]))


KINDS: dict[str, Callable[[ClassDetections, float, float], OperatingPoint]] = {
    "f1": best_f1,
    "precision": with_precision,
    "recall": with_recall,
}


def class_rows(matches: Matches, thresholds: Sequence[float]) -> list[dict]:
    """A row of class, threshold and measures_at it for each class, rounded to four digits."""
    rows, images = [], int(matches.images.sum())
    for label, (name, threshold) in enumerate(zip(matches.class_names, thresholds, strict=True)):
        measures = measures_at(class_detections(matches, label), threshold, images)
        rows.append({"class": name, "threshold": threshold, **{key: round(x, 4) for key, x in measures.items()}})
    return rows


def point_table(val_matches: Matches, points: Sequence[OperatingPoint]) -> list[dict]:
    """The rows of class_rows on val itself, where they are slightly optimistic, with the reasons of the points."""
    rows = class_rows(val_matches, [point.threshold for point in points])
    return [row | {"reason": point.reason} for row, point in zip(rows, points, strict=True)]


def _candidates(found: ClassDetections) -> tuple[np.ndarray, np.ndarray]:
    """The rows whose scores are possible thresholds, and the number of true positives up to each.

    A threshold cannot separate equal scores: only the last of them is a candidate.
    """
    is_last = np.append(found.scores[1:] < found.scores[:-1], True)[: len(found.scores)]
    rows = np.flatnonzero(is_last)
    return rows, np.cumsum(found.is_true)[rows]


def _rounded_down(score: float) -> float:
    """Four digits, so that the detection that the score is of still passes."""
    return math.floor(float(score) * 1e4) / 1e4

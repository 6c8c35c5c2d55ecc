"""An exported model may leave only if it finds what the trained one finds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from retinanet.errors import ExportError
from retinanet.inference.detections import Detections
from retinanet.inference.detector import Detector

# Two detections of one object by the same weights; anything farther apart is another detection.
NEAR_SCORE, NEAR_IOU = 0.05, 0.5


class Agreement(NamedTuple):
    """Over all images: how many detections the trained model has, the share of both models' detections that have a
    partner in the other, the least IoU of such a pair, and the largest difference of its scores."""

    detections: int
    matched_share: float
    min_iou: float
    max_score_difference: float


def compare(trained: Detector, exported: Detector, images: Sequence[np.ndarray], score_tolerance: float) -> Agreement:
    """Pair the detections of two detectors on the same images: same class, most alike box and score.

    A detection without a partner does not count when its score is within score_tolerance of the least that the other
    detector kept on that image: the last bit decides which side of the cut it falls on.
    """
    total = matched = detections = 0
    ious, differences = [], []
    for a, b in zip(trained(images), exported(images), strict=True):
        pairs = _pair(a, b)
        ious += [iou for _, _, iou in pairs]
        differences += [abs(float(a.scores[i] - b.scores[j])) for i, j, _ in pairs]
        detections, matched, total = detections + len(a), matched + 2 * len(pairs), total + 2 * len(pairs)
        total += _missing(a, [i for i, _, _ in pairs], b, score_tolerance)
        total += _missing(b, [j for _, j, _ in pairs], a, score_tolerance)
    share = matched / total if total else 1.0
    return Agreement(detections, share, min(ious, default=1.0), max(differences, default=0.0))


def require_agreement(found: Agreement, min_matched: float, min_iou: float, score_tolerance: float) -> None:
    """Raises ExportError when the two differ by more than rounding.

    min_matched below 1 allows for the few boxes that overlap by just the NMS threshold, where the last bit decides.
    """
    if not (
        found.matched_share >= min_matched
        and found.min_iou >= min_iou
        and found.max_score_difference <= score_tolerance
    ):
        raise ExportError(
            f"the ONNX model differs from the trained one: {found.matched_share:.1%} of {found.detections} detections "
            f"matched (at least {min_matched:.1%} wanted), least IoU {found.min_iou:.4f} (at least {min_iou}), scores "
            f"up to {found.max_score_difference:.2g} apart (at most {score_tolerance}); the file was removed"
        )


def _missing(found: Detections, paired: list[int], other: Detections, score_tolerance: float) -> int:
    alone = np.delete(found.scores, paired)
    return int((abs(alone - other.scores.min()) > score_tolerance).sum()) if len(other) else len(alone)


def _pair(a: Detections, b: Detections) -> list[tuple[int, int, float]]:
    """(row of a, row of b, IoU): each with the free detection of its class and about its score that overlaps most."""
    free = set(range(len(b)))
    pairs = []
    for i in range(len(a)):
        near = [j for j in free if b.labels[j] == a.labels[i] and abs(b.scores[j] - a.scores[i]) <= NEAR_SCORE]
        if near:
            ious = {j: _iou(a.boxes_xyxy[i], b.boxes_xyxy[j]) for j in near}
            best = max(ious, key=ious.__getitem__)
            if ious[best] > NEAR_IOU:
                pairs.append((i, best, ious[best]))
                free.remove(best)
    return pairs


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    overlap = float(np.prod(sides.clip(min=0)))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - overlap
    return overlap / union if union > 0 else 0.0

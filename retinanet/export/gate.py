"""The export gate: an exported model in float32 must give the same detections as the trained one, others its AP."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from retinanet.errors import ExportError
from retinanet.images.boxes import iou
from retinanet.inference.detections import Detections
from retinanet.inference.detector import Detector

# Detections that differ more than this are of two objects.
COUNTERPART_SCORE_DISTANCE, COUNTERPART_IOU = 0.05, 0.5


class Agreement(NamedTuple):
    """Over all images: the number of the trained model's detections, the share of both models' detections that have a
    counterpart, the minimum IoU of counterparts, and the maximum difference of their scores."""

    detections: int
    matched_share: float
    min_iou: float
    max_score_difference: float


def compare(trained: Detector, exported: Detector, images: Sequence[np.ndarray], score_tolerance: float) -> Agreement:
    """Pair detections of the same class and of similar boxes and scores by two detectors on the same images.

    A detection without a counterpart is not counted if its score is within score_tolerance of the lowest score that the
    other detector kept on that image: rounding decides whether it is among the best detections_per_image.
    """
    total = matched = detections = 0
    ious: list[float] = []
    differences: list[float] = []
    for a, b in zip(trained(images), exported(images), strict=True):
        pairs = _pair(a, b)
        ious += [pair_iou for _, _, pair_iou in pairs]
        differences += [abs(float(a.scores[i] - b.scores[j])) for i, j, _ in pairs]
        detections, matched, total = detections + len(a), matched + 2 * len(pairs), total + 2 * len(pairs)
        total += _unpaired(a, [i for i, _, _ in pairs], b, score_tolerance)
        total += _unpaired(b, [j for _, j, _ in pairs], a, score_tolerance)
    share = matched / total if total else 1.0
    return Agreement(detections, share, min(ious, default=1.0), max(differences, default=0.0))


def require_agreement(agreement: Agreement, min_matched: float, min_iou: float, score_tolerance: float) -> None:
    """Raise ExportError if the two models differ by more than rounding; the message names each limit exceeded.

    min_matched below 1 allows for boxes whose overlap is at the NMS threshold, where rounding decides.
    """
    # Each condition is written so that NaN fails.
    failures = []
    if not agreement.matched_share >= min_matched:
        failures.append(
            f"{agreement.matched_share:.1%} of the detections are found by both models "
            f"({agreement.detections} by the trained one; export.min_matched is {min_matched:.1%})"
        )
    if not agreement.min_iou >= min_iou:
        failures.append(f"boxes overlap with an IoU of only {agreement.min_iou:.4f} (export.min_iou is {min_iou})")
    if not agreement.max_score_difference <= score_tolerance:
        failures.append(
            f"scores differ by up to {agreement.max_score_difference:.2g} (export.score_tolerance is {score_tolerance})"
        )
    if failures:
        raise ExportError(
            f"the exported model differs from the trained one: {'; '.join(failures)}; nothing was exported. "
            "Check the packages of the runtime, or change the limits"
        )


def require_small_loss(name: str, trained_ap: float, exported_ap: float, limit: float, key: str) -> None:
    """Raise ExportError if the exported model loses more than `limit`, the value of the setting `key`, in AP on val."""
    loss = trained_ap - exported_ap
    if not loss <= limit:  # NaN fails
        raise ExportError(
            f"{name} loses {loss:.4f} AP on val ({trained_ap:.4f} in PyTorch, {exported_ap:.4f} exported; {key} is "
            f"{limit:g}); nothing was exported. Leave it out of export.runtimes, or raise the limit"
        )


def _unpaired(detections: Detections, paired_rows: list[int], other: Detections, score_tolerance: float) -> int:
    """The number of detections without a counterpart, except those at the lowest score that the other detector kept."""
    scores = np.delete(detections.scores, paired_rows)
    return int((abs(scores - other.scores.min()) > score_tolerance).sum()) if len(other) else len(scores)


def _pair(a: Detections, b: Detections) -> list[tuple[int, int, float]]:
    """(row of a, row of b, IoU) of counterparts.

    Each row of a, best first, is paired with the unpaired row of b of highest IoU.
    """
    ious = iou(a.boxes_xyxy[:, None], b.boxes_xyxy)
    is_near = (a.labels[:, None] == b.labels) & (abs(a.scores[:, None] - b.scores) <= COUNTERPART_SCORE_DISTANCE)
    candidates = np.where(is_near & (ious > COUNTERPART_IOU), ious, 0)
    pairs = []
    for row in range(len(a)):
        if candidates[row].max(initial=0) > 0:
            counterpart = int(candidates[row].argmax())
            pairs.append((row, counterpart, float(candidates[row, counterpart])))
            candidates[:, counterpart] = 0
    return pairs

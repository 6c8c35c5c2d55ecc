"""Metrics at IoU thresholds other than COCO's, as some fields report them."""

from collections.abc import Sequence

import numpy as np

from retinanet.dataset.coco import CocoDataset
from retinanet.evaluation.coco_metrics import evaluate
from retinanet.evaluation.matches import class_precisions, matches_of
from retinanet.evaluation.operating_points import class_detections, measures_at


def metrics_at_ious(
    ground_truth: CocoDataset, results: Sequence[dict], ious: Sequence[float], thresholds: Sequence[float]
) -> dict[str, float]:
    """For each IoU, e.g. 0.4: AP40, and precision_40, recall_40 and f1_40 of detections at the thresholds, (K,).

    All are means over the classes that have objects. results are COCO results rows. Raises EvaluationError like
    coco_metrics.
    """
    if not ious:
        return {}
    matches = matches_of(evaluate(ground_truth, results, ious), ground_truth)
    labels = [label for label, count in enumerate(matches.objects.sum(axis=0)) if count]
    precisions = np.mean([class_precisions(matches, label).mean(axis=1) for label in labels], axis=0)
    metrics: dict[str, float] = {}
    for row, iou in enumerate(ious):
        percent = round(100 * iou)
        metrics[f"AP{percent}"] = float(precisions[row])
        measures = [measures_at(class_detections(matches, label, row), thresholds[label], 1) for label in labels]
        for name in ("precision", "recall", "f1"):
            metrics[f"{name}_{percent}"] = float(np.mean([of_class[name] for of_class in measures]))
    return metrics

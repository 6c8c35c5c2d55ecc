"""Precision-recall curves, and the score threshold of the best F1 for each class."""

import math
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pycocotools.cocoeval import COCOeval

from retinanet.dataset.coco import CocoDataset
from retinanet.evaluation.intervals import metric_values
from retinanet.evaluation.matches import Matches

# More curves than this are drawn in gray, behind their mean.
MAX_COLORED_CLASSES = 10


def precision_recall(evaluation: COCOeval, ground_truth: CocoDataset) -> list[dict]:
    """Rows of class, recall, precision and score at IoU 0.5, one for each of COCO's 101 recalls that is reached.

    Precision is the maximum at this or a higher recall, so its mean over all 101 recalls (0 if not reached) is AP50.
    score is the threshold that gives this recall.
    """
    # (T, R, K, areas, max_detections) of T IoU thresholds and R recalls
    precision, scores = (evaluation.eval[name][0, :, :, 0, -1] for name in ("precision", "scores"))
    return [
        {
            "class": name,
            "recall": round(float(recall), 2),
            "precision": round(float(precision[i, label]), 4),
            "score": round(float(scores[i, label]), 4),
        }
        for label, name in enumerate(ground_truth.class_names)
        for i, recall in enumerate(evaluation.params.recThrs)
        if precision[i, label] > 0
    ]


def class_table(matches: Matches) -> list[dict]:
    """A row for each class: class, objects, AP, AP50, best_threshold, and precision, recall and f1 at that threshold.

    best_threshold maximizes F1 at IoU 0.5 on the evaluated images themselves, so precision, recall and f1 are slightly
    optimistic. It is 1 for a class without true positives. AP and AP50 are None for a class without objects.
    """
    metrics = metric_values(matches)
    rows = []
    for label, name in enumerate(matches.class_names):
        columns, objects = matches.of_class(label), int(matches.objects[:, label].sum())
        counted = ~matches.is_ignored[0, columns]
        scores, is_true = matches.scores[columns][counted], matches.is_true[0, columns][counted]
        threshold, at_threshold = best_threshold(scores, is_true, objects)
        row = {"class": name, "objects": objects} | {kind: metrics.get(f"{kind}/{name}") for kind in ("AP", "AP50")}
        row |= {"best_threshold": threshold, **at_threshold}
        rows.append({key: round(float(x), 4) if isinstance(x, float) else x for key, x in row.items()})
    return rows


def best_threshold(scores: np.ndarray, is_true: np.ndarray, objects: int) -> tuple[float, dict[str, float]]:
    """The score threshold with the best F1, and precision, recall and f1 at it; 1 and zeros without true positives.

    scores (D,) and is_true (D,) bool are of one class's detections; objects is the number of its objects.
    """
    order = np.argsort(-scores, kind="stable")
    scores, true_positives = scores[order], np.cumsum(is_true[order])
    # A threshold cannot separate equal scores: only the last of them is a candidate.
    last = np.flatnonzero(np.append(scores[1:] < scores[:-1], True)) if len(scores) else np.zeros(0, np.int64)
    f1 = 2 * true_positives[last] / (last + 1 + max(objects, 1))
    if not len(f1) or f1.max() == 0:
        return 1.0, {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    best = last[f1.argmax()]
    # Rounded down to four digits, so that the detection it comes from still passes.
    threshold = math.floor(float(scores[best]) * 1e4) / 1e4
    precision, recall = true_positives[best] / (best + 1), true_positives[best] / objects
    return threshold, {"precision": float(precision), "recall": float(recall), "f1": float(f1.max())}


def draw_precision_recall(rows: list[dict], path: Path) -> None:
    """Draw the rows of precision_recall as a PNG, one curve for each class."""
    curves: dict[str, list[dict]] = {}
    for row in rows:
        curves.setdefault(row["class"], []).append(row)
    figure = Figure(figsize=(7, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title("Precision and recall at IoU 0.5")
    is_colored = len(curves) <= MAX_COLORED_CLASSES
    for name, curve in curves.items():
        style = {"label": f"{name}  AP50 {_area(curve):.3f}"} if is_colored else {"color": "0.8", "linewidth": 0.8}
        axes.plot([row["recall"] for row in curve], [row["precision"] for row in curve], **style)
    if not is_colored:
        recalls = np.linspace(0, 1, 101)
        precisions = [{row["recall"]: row["precision"] for row in curve} for curve in curves.values()]
        mean = [np.mean([by_recall.get(round(r, 2), 0) for by_recall in precisions]) for r in recalls]
        axes.plot(recalls, mean, color="black", label=f"mean of {len(curves)} classes  AP50 {np.mean(mean):.3f}")
    if curves:
        axes.legend(loc="lower left")
    else:
        axes.text(0.5, 0.5, "no true positives", ha="center", va="center")
    axes.grid(alpha=0.3)
    figure.savefig(path)


def _area(curve: list[dict]) -> float:
    return sum(row["precision"] for row in curve) / 101

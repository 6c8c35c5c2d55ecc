"""Precision-recall curves, and a table of the classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from retinanet.dataset.coco import CocoDataset
from retinanet.evaluation.intervals import metric_values
from retinanet.evaluation.matches import Matches
from retinanet.evaluation.matching import RECALLS, Evaluation
from retinanet.evaluation.operating_points import class_rows

# More curves than this are drawn in gray, behind their mean.
MAX_COLORED_CLASSES = 10


def precision_recall(evaluation: Evaluation, ground_truth: CocoDataset) -> list[dict]:
    """Rows of class, recall, precision and score at IoU 0.5, one for each of COCO's 101 recalls that is reached.

    Precision is the maximum at this or a higher recall, so its mean over all 101 recalls (0 if not reached) is AP50.
    score is the threshold that gives this recall.
    """
    precision, scores = evaluation.precision[0, :, :, 0], evaluation.curve_scores[0]  # (R, K)
    return [
        {
            "class": name,
            "recall": round(float(recall), 2),
            "precision": round(float(precision[i, label]), 4),
            "score": round(float(scores[i, label]), 4),
        }
        for label, name in enumerate(ground_truth.class_names)
        for i, recall in enumerate(RECALLS)
        if precision[i, label] > 0
    ]


def class_table(matches: Matches, thresholds: Sequence[float]) -> list[dict]:
    """A row for each class: class, objects, AP, AP50, threshold, and the measures of its detections from there on.

    These are precision, recall, f1 and false_positives_per_image at IoU 0.5, of scores of at least the class's
    threshold, (K,). AP and AP50 are None for a class without objects.
    """
    metrics = metric_values(matches)
    rows = []
    for row, objects in zip(class_rows(matches, thresholds), matches.objects.sum(axis=0).tolist(), strict=True):
        averages = {kind: metrics.get(f"{kind}/{row['class']}") for kind in ("AP", "AP50")}
        rounded = {kind: None if value is None else round(value, 4) for kind, value in averages.items()}
        rows.append({"class": row["class"], "objects": objects, **rounded, **row})
    return rows


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

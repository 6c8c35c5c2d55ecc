"""What a score threshold costs and buys: precision and recall by class, and where the two are best together."""

import math
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pycocotools.cocoeval import COCOeval

from retinanet.dataset.coco import CocoDataset

# More classes than this are drawn gray behind their mean: nobody tells so many colors apart.
CLASSES_IN_COLOR = 10


def precision_recall(evaluation: COCOeval, ground_truth: CocoDataset) -> list[dict]:
    """Rows of class, recall, precision and score at IoU .5: those of COCO's 101 recalls that are reached.

    Precision is the best at this recall or a higher one, so the mean over all 101 (0 beyond the last) is AP50. score
    is the threshold to set for it.
    """
    # precision, scores: IoU thresholds x recalls x classes x object sizes x detections allowed
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


def class_table(evaluation: COCOeval, ground_truth: CocoDataset) -> list[dict]:
    """A row for each class: class, objects, AP, AP50, best_threshold, and precision, recall and f1 at that threshold.

    best_threshold is the score that gives the best F1 at IoU .5 on these very images, so the figures beside it are
    a little rosy; it is 1 where no detection finds an object. AP and AP50 are None for a class without objects.
    """
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    rows = []
    for label, name in enumerate(ground_truth.class_names):
        scores, hits, objects = _decisions(evaluation, label)
        threshold, at = best_threshold(scores, hits, objects)
        row = {"class": name, "objects": objects, "AP": None, "AP50": None}
        if objects:
            row |= {"AP": precision[:, :, label].mean(), "AP50": precision[0, :, label].mean()}
        row |= {"best_threshold": threshold, **at}
        rows.append({key: round(float(x), 4) if isinstance(x, float) else x for key, x in row.items()})
    return rows


def best_threshold(scores: np.ndarray, hits: np.ndarray, objects: int) -> tuple[float, dict[str, float]]:
    """The score (D,) to cut at for the best F1, and the precision, recall and f1 it gives; 1 and zeros without hits."""
    order = np.argsort(-scores, kind="stable")
    scores, found = scores[order], np.cumsum(hits[order])
    # One cannot cut between equal scores.
    last = np.flatnonzero(np.append(scores[1:] < scores[:-1], True)) if len(scores) else np.zeros(0, np.int64)
    f1 = 2 * found[last] / (last + 1 + max(objects, 1))
    if not len(f1) or f1.max() == 0:
        return 1.0, {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    best = last[f1.argmax()]
    # Down, so that the scores it was found on pass it when written with four digits.
    threshold = math.floor(float(scores[best]) * 1e4) / 1e4
    at = {"precision": found[best] / (best + 1), "recall": found[best] / objects, "f1": f1.max()}
    return threshold, {name: float(value) for name, value in at.items()}


def draw_precision_recall(rows: list[dict], path: Path) -> None:
    """Draw what precision_recall gives as a PNG, a line for each class."""
    curves: dict[str, list[dict]] = {}
    for row in rows:
        curves.setdefault(row["class"], []).append(row)
    figure = Figure(figsize=(7, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title("Precision and recall at IoU 0.5")
    few = len(curves) <= CLASSES_IN_COLOR
    for name, curve in curves.items():
        style = {"label": f"{name}  AP50 {_area(curve):.3f}"} if few else {"color": "0.8", "linewidth": 0.8}
        axes.plot([row["recall"] for row in curve], [row["precision"] for row in curve], **style)
    if not few:
        recalls = np.linspace(0, 1, 101)
        at = {name: {row["recall"]: row["precision"] for row in curve} for name, curve in curves.items()}
        mean = [np.mean([by_recall.get(round(r, 2), 0) for by_recall in at.values()]) for r in recalls]
        axes.plot(recalls, mean, color="black", label=f"mean of {len(curves)} classes  AP50 {np.mean(mean):.3f}")
    if curves:
        axes.legend(loc="lower left")
    else:
        axes.text(0.5, 0.5, "no detection finds an object", ha="center", va="center")
    axes.grid(alpha=0.3)
    figure.savefig(path)


def _area(curve: list[dict]) -> float:
    return sum(row["precision"] for row in curve) / 101


def _decisions(evaluation: COCOeval, label: int) -> tuple[np.ndarray, np.ndarray, int]:
    """One class at IoU .5: scores (D,) and hits (D,) bool of the detections that count, and the number of objects."""
    images, sizes = len(evaluation.params.imgIds), len(evaluation.params.areaRng)
    # evalImgs runs over classes, then object sizes (the first is all), then images; None where there is nothing.
    first = label * sizes * images
    judged = [of_image for of_image in evaluation.evalImgs[first : first + images] if of_image]
    scores, hits = [np.zeros(0)], [np.zeros(0, bool)]
    for of_image in judged:
        counts = ~of_image["dtIgnore"][0].astype(bool)
        scores.append(np.asarray(of_image["dtScores"])[counts])
        hits.append(of_image["dtMatches"][0][counts] > 0)
    objects = sum(int((np.asarray(of_image["gtIgnore"]) == 0).sum()) for of_image in judged)
    return np.concatenate(scores), np.concatenate(hits), objects

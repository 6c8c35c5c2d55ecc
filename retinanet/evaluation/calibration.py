"""Calibration: whether detections with a score of 0.8 are right in 80% of the cases."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from retinanet.evaluation.matches import Matches
from retinanet.evaluation.operating_points import class_detections

BINS = 10


def reliability(matches: Matches) -> list[dict]:
    """A row for each tenth of the scores that has detections: from, to, detections, mean score, precision.

    A detection is right if it is the first of its class with an IoU of at least 0.5 with an object; those in ignored
    regions are left out.
    """
    found = [class_detections(matches, label) for label in range(len(matches.class_names))]
    scores, is_true = (np.concatenate([getattr(of, name) for of in found]) for name in ("scores", "is_true"))
    # As in scikit-learn, a score on an edge belongs to the tenth below it.
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], scores)
    return [
        {
            "from": tenth / BINS,
            "to": (tenth + 1) / BINS,
            "detections": int((bins == tenth).sum()),
            "mean_score": round(float(scores[bins == tenth].mean()), 4),
            "precision": round(float(is_true[bins == tenth].mean()), 4),
        }
        for tenth in np.unique(bins).tolist()
    ]


def calibration_error(rows: Sequence[dict]) -> float:
    """The expected calibration error (Naeini et al. 2015): the mean over detections of |score - precision|."""
    total = sum(row["detections"] for row in rows)
    return sum(row["detections"] * abs(row["mean_score"] - row["precision"]) for row in rows) / max(total, 1)


def draw_reliability(rows: Sequence[dict], path: Path) -> None:
    """Draw precision over score as a PNG, with the numbers of detections below."""
    figure = Figure(figsize=(6, 6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color="0.7", linestyle="--", label="calibrated")
    if rows:
        scores = [row["mean_score"] for row in rows]
        upper.plot(scores, [row["precision"] for row in rows], marker="o", label="model")
        lower.bar([row["from"] for row in rows], [row["detections"] for row in rows], 1 / BINS, align="edge")
    upper.set(ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    upper.set_title(f"Calibration at IoU 0.5: expected error {calibration_error(rows):.3f}")
    upper.legend(loc="upper left")
    lower.set(xlabel="score", ylabel="detections")
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    figure.savefig(path)

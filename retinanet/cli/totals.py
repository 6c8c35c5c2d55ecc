"""How many objects a set of images has: a detector on all of them, corrected by a few that a person counted.

Prediction-powered inference, Angelopoulos et al. 2023 (Science 382) and, for the weight, PPI++ (arXiv 2311.01453).
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
# With fewer, the spread of the detector's errors is not known.
MIN_COUNTED = 10
# A detector that is right on nearly all images shows no error on a few of them, and the interval would have no width.
# So two more images are thought of in its spread: with one object too many, and with one too few.
UNSEEN_ERRORS = 2.0


class Total(NamedTuple):
    """The number of objects on all images, with its 95% interval; detected is the detector's own sum.

    more is the number of further images to count until the interval is within `precision` of the total (about).
    """

    value: float
    low: float
    high: float
    detected: int
    more: int


def total_of(detected: np.ndarray, rows: np.ndarray, counted: np.ndarray, precision: float = 0.05) -> Total:
    """The total of a class on N images.

    detected (N,) int are the numbers of detections by image, rows (C,) int64 the images that a person counted, a random
    draw of at least MIN_COUNTED, and counted (C,) int their numbers of objects.
    """
    images, count = len(detected), len(rows)
    weight = _weight(detected[rows], counted)
    errors = counted - weight * detected[rows]
    value = weight * float(detected.sum()) + images * float(errors.mean())
    squares = float(((errors - errors.mean()) ** 2).sum()) + UNSEEN_ERRORS
    deviation = math.sqrt(squares / (count - 1))
    t = float(stats.t.ppf((1 + LEVEL) / 2, count - 1))
    # The counted images are a part of all: only the others are uncertain.
    half = t * images * deviation * math.sqrt((1 - count / images) / count)
    without_limit = (t * deviation * images / max(precision * value, 1e-9)) ** 2
    needed = math.ceil(without_limit / (1 + without_limit / images))
    low = max(value - half, float(counted.sum()))
    return Total(value, low, max(value + half, low), int(detected.sum()), max(0, min(needed, images) - count))


def _weight(detected: np.ndarray, counted: np.ndarray) -> float:
    """How far to trust the detector, 0 (not at all) to 1: that with the least variance on the counted images."""
    spread = float(((detected - detected.mean()) ** 2).sum())
    if not spread:
        return 1.0
    common = float(((detected - detected.mean()) * (counted - counted.mean())).sum())
    return min(1.0, max(0.0, common / spread))

"""95% intervals of AP over independent units, and of the difference of two models on the same units.

The jackknife leaves out one unit (of many units, one of at most MAX_BLOCKS blocks) at a time. The interval of a metric
is Student's t on the logit scale, that of a difference on its own scale; their coverage is in docs/evaluation.md.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats

from retinanet.evaluation.matches import Matches, class_areas, class_precisions

LEVEL = 0.95
# With fewer units the interval of a metric is too narrow: whether a few odd images are drawn decides.
MIN_UNITS = 50
# A class may be on fewer of the units. The difference of two models varies less than their metrics do.
MIN_CLASS_UNITS = MIN_PAIRED_UNITS = 20
MAX_BLOCKS = 200
# Intervals are computed for these, and for AP and AP50 of each class. Each selects the first and last IoU threshold.
THRESHOLDS = {"AP": slice(0, 10), "AP50": slice(0, 1), "AP75": slice(5, 6)}
CLASS_KINDS = ("AP", "AP50")
MAX_BATCH = 20_000_000  # numbers in memory: sets of weights times detections


class Interval(NamedTuple):
    """A value and its 95% interval; low and high are NaN if there are too few units, and reason says so."""

    value: float
    low: float
    high: float
    reason: str = ""

    def __str__(self) -> str:
        edges = "" if self.reason else f" (95% interval {self.low:.3f} to {self.high:.3f})"
        return f"{self.value:.3f}{edges}"


class Difference(NamedTuple):
    """The gain of one model over another with its interval; unit_deviation is the standard deviation of a unit.

    The standard error is unit_deviation / sqrt(units), with `freedom` degrees of freedom. low and high are NaN if there
    are too few units, see reason.
    """

    value: float
    low: float
    high: float
    units: int
    unit_deviation: float
    freedom: float
    reason: str = ""

    def at(self, level: float) -> "Difference":
        """The same difference with the interval of another confidence."""
        half = float(stats.t.ppf((1 + level) / 2, self.freedom)) * self.unit_deviation / math.sqrt(self.units)
        return self._replace(low=self.value - half, high=self.value + half)


class _Jackknifed(NamedTuple):
    """A metric, its values without each of B blocks (B,), and the degrees of freedom of their variance."""

    value: float
    left_out: np.ndarray
    freedom: float

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(_variance(self.left_out))


def intervals(matches: Matches) -> dict[str, Interval]:
    """The interval of each metric; none for a class without objects."""
    return {name: _logit_interval(metric, len(matches.images)) for name, metric in _jackknife(matches).items()}


def metric_values(matches: Matches) -> dict[str, float]:
    """The metrics that have intervals, without them: as pycocotools has them."""
    by_class = {}
    for label, name in enumerate(matches.class_names):
        if matches.objects[:, label].any():
            precisions = class_precisions(matches, label)
            by_class[name] = {kind: float(precisions[chosen].mean()) for kind, chosen in THRESHOLDS.items()}
    of_classes = {f"{kind}/{name}": by_class[name][kind] for name in by_class for kind in CLASS_KINDS}
    return {kind: float(np.mean([of[kind] for of in by_class.values()])) for kind in THRESHOLDS} | of_classes


def interval_report(matches: Matches, found: Mapping[str, Interval]) -> dict:
    """The intervals as JSON: numbers of images and independent units, and for each metric low and high, or a reason."""
    rows = {}
    for name, interval in found.items():
        row = {"value": round(interval.value, 4)}
        edges = {"low": round(interval.low, 4), "high": round(interval.high, 4)}
        rows[name] = row | ({"no interval": interval.reason} if interval.reason else edges)
    units = {"images": int(matches.images.sum()), "independent units": len(matches.images)}
    return units | {"level": LEVEL, "metrics": rows}


def deciding_edges(found: Mapping[str, Interval]) -> dict[str, float]:
    """AP50_low, AP50_high, AP_low and AP_high, as far as there are intervals."""
    edges: dict[str, float] = {}
    for name in ("AP50", "AP"):
        if not found[name].reason:
            edges |= {f"{name}_low": found[name].low, f"{name}_high": found[name].high}
    return edges


def differences(new: Matches, old: Matches, level: float = LEVEL) -> dict[str, Difference]:
    """The gain of each metric from `old` to `new`, two models on the same images of the same classes.

    level is the confidence of the intervals.
    """
    return {name: _difference(metric, len(new.images), level) for name, metric in _jackknife(new, old).items()}


def units_to_decide(difference: Difference, power: float = 0.8, level: float = LEVEL) -> float:
    """The number of units with which a true gain of this size is found with this probability; inf if it is 0."""
    if difference.value == 0:
        return math.inf
    quantiles = stats.norm.ppf((1 + level) / 2) + stats.norm.ppf(power)
    return (quantiles * difference.unit_deviation / difference.value) ** 2


def _jackknife(matches: Matches, minus: Matches | None = None) -> dict[str, _Jackknifed]:
    """The metrics of the matches, or their differences to those of other matches of the same units."""
    blocks = _blocks(len(matches.images))
    by_class = _class_averages(matches, blocks)
    if minus is not None:
        of_other = _class_averages(minus, blocks)
        by_class = {kind: values - of_other[kind] for kind, values in by_class.items()}
    blocks_with_objects = ((blocks @ matches.objects) > 0).sum(axis=0)
    present = np.flatnonzero(blocks_with_objects)
    freedoms = (blocks_with_objects - 1)[present]
    metrics = {}
    for kind in THRESHOLDS:
        values = by_class[kind][present]
        mean = values.mean(axis=0)
        freedom = min(len(blocks) - 1, _joint_freedom([_variance(row[1:]) for row in values], freedoms))
        metrics[kind] = _Jackknifed(mean[0], mean[1:], freedom)
    for label, freedom in zip(present, freedoms, strict=True):
        for kind in CLASS_KINDS:
            values = by_class[kind][label]
            metrics[f"{kind}/{matches.class_names[label]}"] = _Jackknifed(values[0], values[1:], freedom)
    return metrics


def _class_averages(matches: Matches, blocks: np.ndarray) -> dict[str, np.ndarray]:
    """AP, AP50 and AP75 of each class, (K, 1 + B): as pycocotools has it, and as the area without each block."""
    averages = {kind: np.zeros((len(matches.class_names), 1 + len(blocks))) for kind in THRESHOLDS}
    for label in range(len(matches.class_names)):
        columns = matches.of_class(label)
        rows = max(1, MAX_BATCH // max(1, columns.stop - columns.start))
        batches = [1 - blocks[first : first + rows] for first in range(0, len(blocks), rows)]
        areas = np.concatenate([class_areas(matches, label, weights) for weights in batches])
        precisions = class_precisions(matches, label)
        for kind, thresholds in THRESHOLDS.items():
            averages[kind][label, 0] = precisions[thresholds].mean()
            averages[kind][label, 1:] = areas[:, thresholds].mean(axis=1)
    return averages


def _blocks(units: int) -> np.ndarray:
    """(B, U) 0 or 1: the units of each block, a unit each or, of many units, drawn at random."""
    count = units // math.ceil(units / MAX_BLOCKS)
    block_of = np.arange(units) % count
    if count < units:
        np.random.default_rng(0).shuffle(block_of)
    return np.equal(np.arange(count)[:, None], block_of).astype(np.float64)


def _joint_freedom(variances: list[float], freedoms: np.ndarray) -> float:
    """Degrees of freedom of a sum of independent terms (Welch and Satterthwaite): rare classes have few."""
    if min(freedoms) == 0:
        return 0
    squares = sum(variance**2 / freedom for variance, freedom in zip(variances, freedoms, strict=True))
    return sum(variances) ** 2 / squares if squares else math.inf


def _variance(left_out: np.ndarray) -> float:
    blocks = len(left_out)
    return float((blocks - 1) / blocks * ((left_out - left_out.mean()) ** 2).sum())


def _logit_interval(metric: _Jackknifed, units: int) -> Interval:
    value = float(metric.value)
    if units < MIN_UNITS:
        return Interval(value, math.nan, math.nan, _too_few(units, MIN_UNITS))
    if metric.freedom + 1 < MIN_CLASS_UNITS:
        return Interval(value, math.nan, math.nan, _too_few(metric.freedom + 1, MIN_CLASS_UNITS))
    if not 0 < value < 1 or not metric.error:
        return Interval(value, math.nan, math.nan, "every image gives the same value")
    logit, error = math.log(value / (1 - value)), metric.error / (value * (1 - value))
    half = stats.t.ppf((1 + LEVEL) / 2, metric.freedom) * error
    low, high = (1 / (1 + math.exp(-edge)) for edge in (logit - half, logit + half))
    return Interval(value, low, high)


def _difference(metric: _Jackknifed, units: int, level: float) -> Difference:
    value = float(metric.value)
    deviation = metric.error * math.sqrt(units) if metric.freedom else math.nan
    difference = Difference(value, math.nan, math.nan, units, deviation, metric.freedom)
    if metric.freedom + 1 < MIN_PAIRED_UNITS:
        return difference._replace(reason=_too_few(metric.freedom + 1, MIN_PAIRED_UNITS))
    return difference.at(level)


def _too_few(units: float, needed: int) -> str:
    return f"it rests on {math.floor(units)} independent images or groups; an interval needs {needed}"

"""Whether a version is better than the one in production, and how sure that is."""

import math
from typing import NamedTuple

from retinanet.evaluation.intervals import LEVEL, THRESHOLDS, Difference, differences, units_to_decide
from retinanet.evaluation.matches import Matches, is_same_test_set
from retinanet.evaluation.slices import slice_differences

POWER = 0.8
MAX_IMAGES = 100_000  # more test images than this are not named: nobody labels them


class Gate(NamedTuple):
    """What a version must reach, as in section promote of params.yaml. A latency or memory of 0 is not limited."""

    metric: str
    floor: float
    min_gain: float = 0.0
    max_class_loss: float = 1.0
    accepts_undecided: bool = False
    max_latency_ms: float = 0.0
    max_memory_mb: float = 0.0


class Evaluated(NamedTuple):
    """A version's metric on the test set, and its matches there; None if they are not at hand."""

    value: float
    matches: Matches | None = None


class Verdict(NamedTuple):
    """answer is `better`, `not better` or `undecided`; reason has the interval of the gain, or why there is none."""

    answer: str
    reason: str


BETTER, NOT_BETTER, UNDECIDED = "better", "not better", "undecided"


def compare(candidate: Evaluated, production: Evaluated, gate: Gate, earlier: int = 0) -> Verdict:
    """Compare two versions on the same test set, which has decided about `earlier` other versions before.

    The candidate is better if the interval of its gain, over the same images, lies above 0 and the gain is at least
    gate.min_gain. It is not better if its gain is 0 or less, below gate.min_gain, or if a class or slice falls by more
    than gate.max_class_loss with the same confidence, which holds for all classes and slices together. The confidence
    is 95% for the first version and rises with each further one (Bonferroni): of many equally good versions, some look
    better on one test set by chance.
    """
    level = 1 - (1 - LEVEL) / (earlier + 1)
    new, old = candidate.matches, production.matches
    found: dict[str, Difference] = {}
    parts: dict[str, Difference] = {}
    if new and old and is_same_test_set(new, old):
        found = differences(new, old, level)
        parts = _classes(found, gate.metric) | _slices(new, old, gate.metric)
    difference = found.get(gate.metric)
    gain = candidate.value - production.value
    summary = f"it gains {gain:+.4f}{_interval(difference, level)}"
    if earlier and difference and not difference.reason:
        summary += f", as this test set has decided about {earlier} version{'s' * (earlier > 1)} before"
    if gain <= 0:
        return Verdict(NOT_BETTER, summary)
    if gain < gate.min_gain - 1e-9:
        return Verdict(NOT_BETTER, f"{summary}; promote.min_gain is {gate.min_gain:g}")
    if fallen := _fallen_part(parts, gate, level):
        return Verdict(NOT_BETTER, fallen)
    if difference is None or not new:
        return Verdict(UNDECIDED, f"{summary}, for which there is no interval on this test set")
    if difference.low > 0:
        return Verdict(BETTER, summary)
    if difference.reason:
        return Verdict(UNDECIDED, summary)
    return Verdict(UNDECIDED, f"{summary}; {_images_to_decide(difference, new, level)}")


def _classes(found: dict[str, Difference], metric: str) -> dict[str, Difference]:
    """The differences of the classes that have an interval."""
    return {name: row for name, row in found.items() if name.startswith(f"{metric}/") and not row.reason}


def _slices(new: Matches, old: Matches, metric: str) -> dict[str, Difference]:
    """The differences of the slices that have an interval, by the names that a message gives them."""
    rows = slice_differences(new, old, metric) if metric in THRESHOLDS else {}
    return {f"{metric} of the slice {kind}: {part or 'none'}": row for (kind, part), row in rows.items()}


def _fallen_part(parts: dict[str, Difference], gate: Gate, level: float) -> str:
    """The class or slice that certainly falls by more than allowed; empty if there is none."""
    level = 1 - (1 - level) / max(1, len(parts))  # of many parts, some look worse by chance (Bonferroni)
    fallen = {name: row for name, row in parts.items() if row.at(level).high < -gate.max_class_loss}
    if not fallen:
        return ""
    worst = min(fallen, key=lambda name: fallen[name].value)
    row = fallen[worst].at(level)
    among = f", of {len(parts)} classes and slices" if len(parts) > 1 else ""
    return (
        f"{worst} changes by {row.value:+.4f}{_interval(row, level)}{among}; "
        f"promote.max_class_loss is {gate.max_class_loss:g}"
    )


def _interval(difference: Difference | None, level: float) -> str:
    if difference is None:
        return ""
    if difference.reason:
        return f" ({difference.reason})"
    return f" ({100 * level:.4g}% interval {difference.low:+.4f} to {difference.high:+.4f})"


def _images_to_decide(difference: Difference, matches: Matches, level: float) -> str:
    units = units_to_decide(difference, POWER, level) - difference.units
    images = units * matches.images.sum() / len(matches.images)
    if not math.isfinite(images) or images > MAX_IMAGES:
        return "no reasonable number of test images would tell"
    # Two digits: the estimate is no better.
    rounded = max(1, round(images, 2 - len(str(round(images)))) if images >= 10 else math.ceil(images))
    return f"about {rounded:.0f} more test images would tell (power {POWER:.0%})"

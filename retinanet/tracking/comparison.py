"""Whether a version is better than the one in production, and how sure that is."""

import math
from typing import NamedTuple

from retinanet.evaluation.intervals import LEVEL, Difference, differences, units_to_decide
from retinanet.evaluation.matches import Matches, is_same_test_set

POWER = 0.8
MAX_IMAGES = 100_000  # more test images than this are not named: nobody labels them


class Gate(NamedTuple):
    """What a version must reach, as in section promote of params.yaml."""

    metric: str
    floor: float
    min_gain: float = 0.0
    max_class_loss: float = 1.0
    accepts_undecided: bool = False


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
    gate.min_gain. It is not better if its gain is 0 or less, below gate.min_gain, or if a class falls by more than
    gate.max_class_loss with the same confidence. The confidence is 95% for the first version and rises with each
    further one (Bonferroni): of many equally good versions, some look better on one test set by chance.
    """
    level = 1 - (1 - LEVEL) / (earlier + 1)
    found: dict[str, Difference] = {}
    if candidate.matches and production.matches and is_same_test_set(candidate.matches, production.matches):
        found = differences(candidate.matches, production.matches, level)
    difference = found.get(gate.metric)
    gain = candidate.value - production.value
    summary = f"it gains {gain:+.4f}{_interval(difference, level)}"
    if earlier and difference and not difference.reason:
        summary += f", as this test set has decided about {earlier} version{'s' * (earlier > 1)} before"
    if gain <= 0:
        return Verdict(NOT_BETTER, summary)
    if gain < gate.min_gain - 1e-9:
        return Verdict(NOT_BETTER, f"{summary}; promote.min_gain is {gate.min_gain:g}")
    if fallen := _fallen_class(found, gate, level):
        return Verdict(NOT_BETTER, fallen)
    if difference is None or not candidate.matches:
        return Verdict(UNDECIDED, f"{summary}, for which there is no interval on this test set")
    if difference.low > 0:
        return Verdict(BETTER, summary)
    if difference.reason:
        return Verdict(UNDECIDED, summary)
    return Verdict(UNDECIDED, f"{summary}; {_images_to_decide(difference, candidate.matches, level)}")


def _fallen_class(found: dict[str, Difference], gate: Gate, level: float) -> str:
    """The class that certainly falls by more than allowed, of those with an interval; empty if there is none."""
    of_classes = {name: row for name, row in found.items() if name.startswith(f"{gate.metric}/") and not row.reason}
    fallen = [name for name, row in of_classes.items() if row.high < -gate.max_class_loss]
    if not fallen:
        return ""
    worst = min(fallen, key=lambda name: of_classes[name].value)
    row = of_classes[worst]
    return (
        f"{worst} changes by {row.value:+.4f}{_interval(row, level)}; promote.max_class_loss is {gate.max_class_loss:g}"
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

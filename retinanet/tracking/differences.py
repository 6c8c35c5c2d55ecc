"""What differs between two models: settings, code and data, and their metrics on the same images."""

from collections.abc import Mapping

from retinanet.evaluation.intervals import Difference, differences, metric_values
from retinanet.evaluation.matches import is_same_test_set
from retinanet.tracking.sides import Side

NONE = "none"


def differences_text(model_name: str, new: Side, old: Side, metric: str) -> str:
    """Lines about what `old` has and `new` has instead; metric is shown if they were measured on other test sets."""
    changed = _changed(old, new) or ["settings, data and code are equal"]
    return "\n".join([f"{model_name}: {old.name} -> {new.name}", "", *changed, "", *_metric_lines(new, old, metric)])


def _changed(old: Side, new: Side) -> list[str]:
    """Facts that differ, of the sections that both sides know."""
    shared = _sections(old.facts) & _sections(new.facts)
    names = [name for name in dict.fromkeys([*old.facts, *new.facts]) if _section(name) in shared]
    if old.is_file != new.is_file:  # a file carries some settings of a section
        names = [name for name in names if name in old.facts and name in new.facts]
    values = {name: (old.facts.get(name, NONE), new.facts.get(name, NONE)) for name in names}
    return [f"{name}: {before} -> {after}" for name, (before, after) in values.items() if before != after]


def _sections(facts: Mapping[str, str]) -> set[str]:
    return {_section(name) for name in facts}


def _section(name: str) -> str:
    """`train` of train.epochs, `data` of a data set's digest."""
    return name.split(".")[0].split(" ")[0]


def _metric_lines(new: Side, old: Side, metric: str) -> list[str]:
    if old.matches and new.matches and is_same_test_set(old.matches, new.matches):
        before, after = metric_values(old.matches), metric_values(new.matches)
        found = differences(new.matches, old.matches)
        reasons = {difference.reason for difference in found.values()}
        shared = reasons.pop() if len(reasons) == 1 else ""
        lines = [
            f"{name}: {before[name]:.4f} -> {after[name]:.4f}, {_gain(difference, bool(shared))}"
            for name, difference in found.items()
        ]
        return [*lines, *([f"no 95% intervals: {shared}"] if shared else [])]
    shown = [NONE if side.value is None else f"{side.value:.4f}" for side in (old, new)]
    return [
        f"{metric}: {shown[0]} -> {shown[1]}, as recorded: there is no interval of the difference, because they were "
        "not evaluated on the same test set, or what their runs stored is lost"
    ]


def _gain(difference: Difference, is_reason_said: bool) -> str:
    if difference.reason:
        return f"{difference.value:+.4f}" + ("" if is_reason_said else f" ({difference.reason})")
    is_clear = difference.low > 0 or difference.high < 0
    edges = f"{difference.value:+.4f} (95% interval {difference.low:+.4f} to {difference.high:+.4f})"
    return edges if is_clear else f"{edges}, undecided"

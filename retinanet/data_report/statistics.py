"""What prepare found, in figures: the content of reports/data/figures.json."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from retinanet.annotations.records import SPLITS, TRAIN, AnnotatedSet, Finding
from retinanet.data_report.anchor_fit import fit_anchors
from retinanet.data_report.coverage import (
    THRESHOLDS,
    AnchorSettings,
    TrainingBoxes,
    best_ious,
    coverage_by_class,
    training_boxes,
)
from retinanet.data_report.distributions import distributions
from retinanet.dataset.coco import CocoDataset
from retinanet.prepare.checks import Checked, CheckedPicture
from retinanet.prepare.copies import Copies, look_alikes
from retinanet.prepare.store import Stored, split_figures

NAMED = 8  # examples in a line


@dataclass(frozen=True)
class Found:
    """All that prepare knows at its end; renamed: class names by those they replaced."""

    source: AnnotatedSet
    checked: Checked
    copies: Copies
    stored: list[Stored]
    datasets: dict[str, CocoDataset]
    remarks: list[str]
    renamed: dict[str, str]

    def splits_of(self) -> dict[str, str]:
        """The split, or splits of its tiles, by picture."""
        splits: dict[str, set[str]] = {}
        for one in self.stored:
            splits.setdefault(str(one.part.picture.source.file), set()).add(one.part.split)
        return {file: " and ".join(s for s in SPLITS if s in of_file) for file, of_file in splits.items()}


def examine(
    found: Found, anchors: AnchorSettings, short_side: int, long_side: int, min_coverage: float
) -> dict[str, object]:
    """The figures, and under `warnings` what should be looked at before training."""
    train = found.datasets[TRAIN]
    boxes = training_boxes(train, short_side, long_side)
    coverage, warning = _coverage(boxes, train.class_names, anchors, min_coverage)
    splits_of = found.splits_of()
    splits = {split: split_figures(dataset) for split, dataset in found.datasets.items()}
    traits = Counter(trait for picture in found.checked.pictures for trait in picture.facts.traits)
    return {
        "format": found.source.format,
        "category_ids": dict(zip(train.class_names, train.category_ids, strict=True)),
        "renamed_classes": found.renamed,
        "splits": splits,
        "warnings": [*_missing_classes(splits), *_leaks(found.copies, splits_of), *warning],
        "remarks": [*found.source.remarks, *found.remarks],
        "skipped_pictures": _listed([*found.source.skipped, *found.checked.skipped_pictures]),
        "skipped_boxes": _listed(found.checked.skipped_boxes),
        "clipped_boxes": _listed(found.checked.clipped_boxes),
        "read_as_rgb": dict(sorted(traits.items())),
        "same_bytes": [_with_splits(group, splits_of) for group in found.copies.same],
        "near_duplicates": [_with_splits(group, splits_of) for group in look_alikes(found.copies.near)],
        "anchor_coverage": {"training_size": [short_side, long_side], **coverage},
        "distributions": distributions(found.datasets, boxes),
    }


def _coverage(
    boxes: TrainingBoxes, class_names: Sequence[str], anchors: AnchorSettings, min_coverage: float
) -> tuple[dict, list[str]]:
    classes = coverage_by_class(best_ious(boxes, anchors), boxes.labels, class_names)
    reached = f"IoU {THRESHOLDS[0]}"
    poor = {name: one for name, one in classes.items() if one[reached] < min_coverage}
    figures = {"anchors": anchors._asdict(), "classes": classes}
    if not poor:
        return figures, []
    fitted = fit_anchors(boxes, anchors)
    fitted_classes = coverage_by_class(best_ious(boxes, fitted), boxes.labels, class_names)
    which = ", ".join(
        f"{one[reached]:.0%} of {one['boxes']} {name} ({_median_size(boxes, class_names.index(name))})"
        for name, one in list(poor.items())[:NAMED]
    )
    text = f"anchors reach few objects with {reached} at the training size: {which}{_more(poor)}; "
    if fitted == anchors:
        text += "no other sizes and ratios reach clearly more: a larger model.short_side and long_side would"
    else:
        now, then = (_share_of(which, poor, reached) for which in (classes, fitted_classes))
        sizes, ratios = (", ".join(f"{value:g}" for value in values) for values in (fitted.sizes, fitted.ratios))
        text += (
            f"model.anchors.sizes [{sizes}] and ratios [{ratios}] would reach {then:.0%} of them, not {now:.0%} "
            "(`retinanet fit-anchors --write`)"
        )
    return figures | {"proposal": {"anchors": fitted._asdict(), "classes": fitted_classes}}, [text]


def _median_size(boxes: TrainingBoxes, label: int) -> str:
    own = boxes.xyxy[boxes.labels == label]
    width, height = np.median(own[:, 2:] - own[:, :2], axis=0)
    return f"median {width:.0f} x {height:.0f} px"


def _share_of(classes: dict[str, dict], names: Iterable[str], reached: str) -> float:
    boxes = sum(classes[name]["boxes"] for name in names)
    return sum(classes[name]["boxes"] * classes[name][reached] for name in names) / boxes


def _missing_classes(splits: dict[str, dict]) -> list[str]:
    warnings = []
    for split, figures in splits.items():
        missing = [name for name, count in figures["boxes"].items() if not count]
        if missing:
            what = "cannot be learnt" if split == TRAIN else "left out of its figures"
            warnings.append(f"no {', '.join(missing[:NAMED])}{_more(missing)} in {split}: {what}")
    return warnings


def _leaks(copies: Copies, splits_of: dict[str, str]) -> list[str]:
    pairs = [
        f"{pair.first.source.file} ({one}) and {pair.second.source.file} ({other})"
        for pair in copies.near
        if (one := splits_of.get(str(pair.first.source.file)))
        and (other := splits_of.get(str(pair.second.source.file)))
        and one != other
    ]
    if not pairs:
        return []
    count = "1 pair looks" if len(pairs) == 1 else f"{len(pairs)} pairs look"
    return [f"{count} the same in different splits: {'; '.join(pairs[:NAMED])}{_more(pairs)}"]


def _listed(findings: Iterable[Finding]) -> list[dict]:
    return [{"file": one.file.encode("utf-8", "replace").decode(), "reason": one.reason} for one in findings]


def _with_splits(group: Sequence[CheckedPicture], splits_of: dict[str, str]) -> dict[str, str]:
    return {file: splits_of.get(file, "left out") for file in (str(picture.source.file) for picture in group)}


def _more(things: Sequence | dict) -> str:
    return " …" if len(things) > NAMED else ""

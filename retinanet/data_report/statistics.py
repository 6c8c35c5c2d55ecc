"""The statistics of the prepared data: reports/data/statistics.json."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from retinanet.annotations.records import TRAIN, Finding
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
from retinanet.errors import first_of
from retinanet.images.preprocess import InputSize
from retinanet.prepare.findings import FINDING_LISTS, Findings, look_alikes_across_splits, missing_classes
from retinanet.prepare.near_duplicates import clusters
from retinanet.prepare.store import split_statistics


def data_statistics(
    findings: Findings,
    datasets: Mapping[str, CocoDataset],
    anchors: AnchorSettings,
    input_size: InputSize,
    min_coverage: float,
) -> dict[str, Any]:
    """Counts, findings, anchor coverage and histograms; `warnings` are messages to read before training."""
    train = datasets[TRAIN]
    boxes = training_boxes(train, input_size)
    coverage, coverage_warning = _coverage(boxes, train.class_names, anchors, min_coverage)
    splits = {split: split_statistics(dataset) for split, dataset in datasets.items()}
    counts = {split: values["boxes"] for split, values in splits.items()}
    return {
        "format": findings.format,
        "category_ids": dict(zip(train.class_names, train.category_ids, strict=True)),
        "renamed_classes": findings.renamed_classes,
        "splits": splits,
        "warnings": [
            *findings.warnings,
            *missing_classes(counts),
            *look_alikes_across_splits(findings),
            *coverage_warning,
        ],
        "remarks": findings.remarks,
        **{name: _listed(getattr(findings, name)) for name in FINDING_LISTS},
        "read_as_rgb": findings.traits,
        "same_bytes": [_with_splits(group, findings.splits_of) for group in findings.same_bytes],
        "near_duplicates": [_with_splits(group, findings.splits_of) for group in clusters(findings.look_alikes)],
        "anchor_coverage": {"training_size": list(input_size), **coverage},
        "distributions": distributions(datasets, boxes),
    }


def _coverage(
    boxes: TrainingBoxes, class_names: Sequence[str], anchors: AnchorSettings, min_coverage: float
) -> tuple[dict, list[str]]:
    classes = coverage_by_class(best_ious(boxes, anchors), boxes.labels, class_names)
    reached = f"IoU {THRESHOLDS[0]}"
    poor = {name: row for name, row in classes.items() if row[reached] < min_coverage}
    statistics = {"anchors": anchors._asdict(), "classes": classes}
    if not poor:
        return statistics, []
    fitted = fit_anchors(boxes, anchors)
    fitted_classes = coverage_by_class(best_ious(boxes, fitted), boxes.labels, class_names)
    named = [
        f"{row[reached]:.0%} of {row['boxes']} {name} ({_median_size(boxes, class_names.index(name))})"
        for name, row in poor.items()
    ]
    text = f"anchors reach few objects with {reached} at the training size: {first_of(named)}; "
    if fitted == anchors:
        text += "no other sizes and ratios reach clearly more; increase model.short_side and model.long_side"
    else:
        current_share, fitted_share = (_share_of(rows, poor, reached) for rows in (classes, fitted_classes))
        sizes, ratios = (", ".join(f"{value:g}" for value in values) for values in (fitted.sizes, fitted.ratios))
        text += (
            f"model.anchors.sizes [{sizes}] and ratios [{ratios}] would reach {fitted_share:.0%} of them, "
            f"not {current_share:.0%} (`retinanet fit-anchors --write`)"
        )
    return statistics | {"proposal": {"anchors": fitted._asdict(), "classes": fitted_classes}}, [text]


def _median_size(boxes: TrainingBoxes, label: int) -> str:
    class_boxes = boxes.xyxy[boxes.labels == label]
    width, height = np.median(class_boxes[:, 2:] - class_boxes[:, :2], axis=0)
    return f"median {width:.0f} x {height:.0f} px"


def _share_of(classes: dict[str, dict], names: Iterable[str], reached: str) -> float:
    boxes = sum(classes[name]["boxes"] for name in names)
    return sum(classes[name]["boxes"] * classes[name][reached] for name in names) / boxes


def _listed(findings: Iterable[Finding]) -> list[dict]:
    return [{"file": _printable(finding.file), "reason": finding.reason} for finding in findings]


def _with_splits(group: Iterable[str], splits_of: Mapping[str, str]) -> dict[str, str]:
    return {_printable(file): splits_of.get(file, "left out") for file in group}


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()

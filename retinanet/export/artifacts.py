"""Write exported models, each checked against the trained one, and a row for each in a table that compares them."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from retinanet.dataset.coco import CocoDataset
from retinanet.errors import ExportError
from retinanet.export.accuracy import Accuracy, measure_accuracy
from retinanet.export.gate import Agreement, compare, require_agreement, require_small_loss
from retinanet.export.runtimes import RUNTIMES, Precision
from retinanet.export.source import Source
from retinanet.export.speed import Speed
from retinanet.inference.detector import Detector


class Limits(NamedTuple):
    """The settings of the same names in section export of params.yaml."""

    min_matched: float
    min_iou: float
    score_tolerance: float
    max_loss_bf16: float
    max_loss_int8: float


class Checked(NamedTuple):
    """An exported model that passed the gate: what it computes in, its agreement with PyTorch, its accuracies."""

    precision: Precision
    agreement: Agreement
    accuracy: dict[str, Accuracy]


class Gate:
    """Compares exported models with the trained one: their detections on some images, their AP on splits.

    splits has "val" and "test"; it may be empty if all models compute in float32.
    """

    def __init__(
        self, trained: Detector, images: Sequence[np.ndarray], splits: Mapping[str, CocoDataset], limits: Limits
    ):
        self.trained, self.images, self.splits, self.limits = trained, images, splits, limits

    @cached_property
    def accuracy(self) -> dict[str, Accuracy]:
        """The trained model's, by split."""
        return self._accuracy(self.trained)

    def check(self, name: str, precision: Precision, exported: Detector) -> Checked:
        """Raise ExportError if a model differs by more than its precision explains."""
        limits = self.limits
        agreement = compare(self.trained, exported, self.images, limits.score_tolerance)
        if precision == "fp32":
            require_agreement(agreement, limits.min_matched, limits.min_iou, limits.score_tolerance)
        accuracy = self._accuracy(exported)
        if precision != "fp32":
            aps = self.accuracy["val"].ap, accuracy["val"].ap
            limit = limits.max_loss_bf16 if precision == "bf16" else limits.max_loss_int8
            require_small_loss(name, *aps, limit, f"export.max_loss_{precision}")
        return Checked(precision, agreement, accuracy)

    def _accuracy(self, detector: Detector) -> dict[str, Accuracy]:
        return {split: measure_accuracy(detector, dataset) for split, dataset in self.splits.items()}


def export(name: str, folder: Path, source: Source, gate: Gate) -> Checked:
    """Write the model for a runtime of RUNTIMES into a folder, in the first of its ways that passes the gate.

    Raises ExportError if none does.
    """
    runtime = RUNTIMES[name]
    path = folder / runtime.file_name
    attempts = {"": runtime.write, **runtime.more_exact}
    for number, (way, write) in enumerate(attempts.items(), start=1):
        write(path, source)
        try:
            return gate.check(f"{name}{way}", runtime.precision(), runtime.open_detector(path))
        except ExportError as error:
            if number == len(attempts):
                raise
            print(f"export: {str(error).partition(';')[0]}; it is written again, more exactly", flush=True)
    raise AssertionError("there is at least one way")


def table_row(name: str, checked: Checked | None, gate: Gate, files: Sequence[Path], speed: Speed) -> dict[str, Any]:
    """A model's row in the table; checked is None for the trained model itself."""
    row: dict[str, Any] = {"runtime": name, "precision": checked.precision if checked else "fp32"}
    row |= {"megabytes": round(sum(file.stat().st_size for file in files) / 1e6, 1)}
    row |= {"median_ms": round(speed.median_ms, 1), "p95_ms": round(speed.p95_ms, 1)}
    row |= {"memory_megabytes": round(speed.memory_megabytes)}
    accuracy = checked.accuracy if checked else gate.accuracy
    row |= {f"{split}_AP": round(accuracy[split].ap, 4) for split in gate.splits}
    if checked and gate.splits:
        change = accuracy["test"].gain(gate.accuracy["test"])
        edges = (None if math.isnan(edge) else round(edge, 4) for edge in (change.low, change.high))
        row |= dict(zip(("test_AP_change", "change_low", "change_high"), (round(change.value, 4), *edges), strict=True))
    return row | (checked.agreement._asdict() if checked else {})

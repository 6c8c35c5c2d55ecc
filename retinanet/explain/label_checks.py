"""The labels to look at first: confident detections that contradict the ground truth, ranked by image.

A detector that has learned from many labels disagrees with a wrong one. What it finds with confidence where nothing is
labeled may be an object that nobody labeled, and so on; a person has to look.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from retinanet.dataset.coco import CocoDataset, ImageInfo
from retinanet.evaluation.errors import BACKGROUND_ERROR, CLASS, NO_OBJECT, TRUE_POSITIVE, match_detections
from retinanet.inference.detections import Detections

# What may be wrong with a label.
UNLABELED, MISDRAWN, WRONG_CLASS = "unlabeled object", "misdrawn box", "wrong class"
CHECKS = (UNLABELED, MISDRAWN, WRONG_CLASS)
# A detection that is a true positive with less IoU may show that the object's box is misdrawn.
WELL_DRAWN_IOU = 0.75


class Finding(NamedTuple):
    """A detection, with its box (4,), that contradicts the ground truth: the object of that row, or NO_OBJECT."""

    label: int
    score: float
    box_xyxy: np.ndarray
    object_row: int
    iou: float


class ImageToCheck(NamedTuple):
    """An image and what may be wrong on it, best score first; total is the sum of the scores."""

    image: ImageInfo
    total: float
    findings: tuple[Finding, ...]

    def detections(self) -> Detections:
        boxes = np.array([finding.box_xyxy for finding in self.findings], np.float32)
        scores = np.array([finding.score for finding in self.findings], np.float32)
        return Detections(boxes, scores, np.array([finding.label for finding in self.findings], np.int64))


def labels_to_check(
    dataset: CocoDataset, detections: Mapping[int, Detections], thresholds: Sequence[float]
) -> dict[str, list[ImageToCheck]]:
    """For each of CHECKS, the images to look at, the highest total first.

    detections are by image id; those below the threshold of their class, (K,), do not count.
    """
    found: dict[str, list[ImageToCheck]] = {check: [] for check in CHECKS}
    for image in dataset.images:
        confident = detections[image.id].above(thresholds)
        matching = match_detections(confident, dataset.objects[image.id])
        findings: dict[str, list[Finding]] = defaultdict(list)
        for row, (outcome, overlap) in enumerate(zip(matching.outcomes, matching.ious.tolist(), strict=True)):
            object_row = int(matching.object_rows[row])
            if check := _check_of(outcome, overlap, object_row in matching.unmatched):
                label, score = int(confident.labels[row]), float(confident.scores[row])
                findings[check].append(Finding(label, score, confident.boxes_xyxy[row], object_row, overlap))
        for check, rows in findings.items():
            total = sum(finding.score for finding in rows)
            found[check].append(ImageToCheck(image, total, tuple(sorted(rows, key=lambda row: -row.score))))
    return {check: sorted(images, key=lambda image: -image.total) for check, images in found.items()}


def table(dataset: CocoDataset, to_check: Mapping[str, Sequence[ImageToCheck]]) -> list[dict[str, object]]:
    """A row for each finding, in the order in which to look at them; boxes in pixels of the image."""
    rows: list[dict[str, object]] = []
    for check, images in to_check.items():
        for rank, (image, total, findings) in enumerate(images, start=1):
            objects = dataset.objects[image.id]
            for finding in findings:
                row: dict[str, object] = {"check": check, "rank": rank, "image": image.file_name}
                row |= {"image_total": round(total, 3), "detected": dataset.class_names[finding.label]}
                row |= {"score": round(finding.score, 3), **_sides("", finding.box_xyxy)}
                if finding.object_row != NO_OBJECT:
                    labeled = dataset.class_names[objects.labels[finding.object_row]]
                    box = objects.boxes_xyxy[finding.object_row]
                    row |= {"labeled": labeled, "iou": round(finding.iou, 3), **_sides("label_", box)}
                rows.append(row)
    return rows


COLUMNS = (
    *("check", "rank", "image", "image_total", "detected", "score", "left", "top", "right", "bottom"),
    *("labeled", "iou", "label_left", "label_top", "label_right", "label_bottom"),
)


def _check_of(outcome: str, overlap: float, is_unmatched: bool) -> str | None:
    if outcome == TRUE_POSITIVE and overlap < WELL_DRAWN_IOU:
        return MISDRAWN
    if outcome == BACKGROUND_ERROR:
        return UNLABELED
    # An object that was also found with its own class is labeled right.
    return WRONG_CLASS if outcome == CLASS and is_unmatched else None


def _sides(prefix: str, box_xyxy: np.ndarray) -> dict[str, object]:
    names = (f"{prefix}{side}" for side in ("left", "top", "right", "bottom"))
    return dict(zip(names, (round(float(side), 1) for side in box_xyxy), strict=True))

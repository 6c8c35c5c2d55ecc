"""Error analysis: the outcome of each detection on an image, and their counts over a dataset.

The kinds of error are those of TIDE (Bolya et al. 2020, A General Toolbox for Identifying Object Detection Errors).

Ignored regions (`iscrowd`: COCO's crowds, VOC's difficult objects, objects truncated by tiling) are treated as in
COCO's evaluation, see coco_metrics: a detection of the region's class that is not a true positive and has at least half
of its area inside the region is ignored, whatever its size and however many there are. A region is not matched by IoU,
so all small false positives inside one difficult object are ignored. count_errors reports the number.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from retinanet.dataset.coco import CocoDataset, Objects
from retinanet.images.boxes import iou, share_inside
from retinanet.inference.detections import Detections

TRUE_POSITIVE = "true positive"  # the first detection of its class on an object, with an IoU of at least 0.5
DUPLICATE = "duplicate"  # the object already has a true positive
CLASS = "class"  # on an object of another class
LOCALIZATION = "localization"  # IoU between 0.1 and 0.5 with an object of its class
CLASS_AND_LOCALIZATION = "class and localization"  # IoU between 0.1 and 0.5 with an object of another class
BACKGROUND_ERROR = "background"  # IoU below 0.1 with every object
IGNORED = "ignored"  # at least half inside an ignored region of its class; neither right nor wrong
OUTCOMES = (TRUE_POSITIVE, DUPLICATE, CLASS, LOCALIZATION, CLASS_AND_LOCALIZATION, BACKGROUND_ERROR, IGNORED)

MATCH_IOU, NEAR_IOU = 0.5, 0.1
NO_OBJECT = -1


class Matching(NamedTuple):
    """The D detections of one image, matched to its objects.

    outcomes (D,) are among OUTCOMES; object_rows (D,) int64 are the rows of the objects that the outcomes refer to, or
    NO_OBJECT; ious (D,) are the overlaps with these objects. unmatched are the rows of the objects without a true
    positive; missed are those of them that no class or localization error refers to.
    """

    outcomes: tuple[str, ...]
    object_rows: np.ndarray
    ious: np.ndarray
    unmatched: tuple[int, ...]
    missed: tuple[int, ...]


def match_detections(detections: Detections, objects: Objects) -> Matching:
    """Match each detection, best first, to the unmatched object of its class that it overlaps most."""
    overlaps = _overlaps(detections, objects)  # (D, G)
    same_class = detections.labels[:, None] == objects.labels[None, :]
    single = objects.is_single
    unmatched = single.copy()
    outcomes: list[str] = []
    object_rows = np.full(len(detections), NO_OBJECT)
    for row in range(len(detections)):
        same = same_class[row]
        rules = (
            (TRUE_POSITIVE, same & unmatched, MATCH_IOU),
            (IGNORED, same & ~single, MATCH_IOU),
            (DUPLICATE, same & single, MATCH_IOU),
            (CLASS, ~same & single, MATCH_IOU),
            (LOCALIZATION, same & single, NEAR_IOU),
            (CLASS_AND_LOCALIZATION, ~same & single, NEAR_IOU),
        )
        outcome = BACKGROUND_ERROR
        for name, candidates, min_overlap in rules:
            among_candidates = np.where(candidates, overlaps[row], 0)
            if among_candidates.max(initial=0) >= min_overlap:
                outcome, object_rows[row] = name, among_candidates.argmax()
                break
        if outcome == TRUE_POSITIVE:
            unmatched[object_rows[row]] = False
        outcomes.append(outcome)
    explained = {int(object_rows[row]) for row, name in enumerate(outcomes) if name in (CLASS, LOCALIZATION)}
    rows = tuple(np.flatnonzero(unmatched).tolist())
    ious = np.array([overlaps[row, g] if g != NO_OBJECT else 0 for row, g in enumerate(object_rows)], np.float64)
    return Matching(tuple(outcomes), object_rows, ious, rows, tuple(g for g in rows if g not in explained))


def count_errors(ground_truth: CocoDataset, detections: Mapping[int, Detections]) -> dict[str, int]:
    """The number of objects, detections, detections of each outcome and missed objects, over all images.

    detections are by image id. `ignored` are those that the evaluation forgives because of an ignored region.
    """
    counts: Counter = Counter()
    for image in ground_truth.images:
        objects = ground_truth.objects[image.id]
        matching = match_detections(detections[image.id], objects)
        counts.update(matching.outcomes)
        counts["objects"] += objects.count
        counts["detections"] += len(matching.outcomes)
        counts["missed"] += len(matching.missed)
    return {name: counts[name] for name in ("objects", "detections", *OUTCOMES, "missed")}


def confusion(ground_truth: CocoDataset, detections: Mapping[int, Detections]) -> list[dict]:
    """Rows of actual and predicted class names: one per object, and one per detection without an object.

    An object without a detection is predicted, a detection without an object is actually BACKGROUND_ERROR. Ignored
    regions and the detections inside them have no row.
    """
    names, rows = ground_truth.class_names, []
    for image in ground_truth.images:
        objects, found = ground_truth.objects[image.id], detections[image.id]
        matching = match_detections(found, objects)
        confused: set[int] = set()
        for outcome, g, label in zip(matching.outcomes, matching.object_rows.tolist(), found.labels, strict=True):
            is_confusion = outcome == CLASS and g in matching.unmatched and g not in confused
            if is_confusion:
                confused.add(g)
            if outcome != IGNORED:
                has_object = outcome == TRUE_POSITIVE or is_confusion
                actual = names[objects.labels[g]] if has_object else BACKGROUND_ERROR
                rows.append({"actual": actual, "predicted": names[label]})
        undetected = [g for g in matching.unmatched if g not in confused]
        rows += [{"actual": names[objects.labels[g]], "predicted": BACKGROUND_ERROR} for g in undetected]
    return rows


def detections_above(
    ground_truth: CocoDataset, results: Sequence[dict], thresholds: Sequence[float]
) -> dict[int, Detections]:
    """COCO results rows as Detections by image id, keeping scores of at least the class's threshold, (K,)."""
    label_of = {category_id: label for label, category_id in enumerate(ground_truth.category_ids)}
    kept: dict[int, list[dict]] = {image.id: [] for image in ground_truth.images}
    for row in sorted(results, key=lambda row: -row["score"]):
        if row["score"] >= thresholds[label_of[row["category_id"]]]:
            kept[row["image_id"]].append(row)
    return {image_id: _detections(rows, label_of) for image_id, rows in kept.items()}


def _detections(rows: list[dict], label_of: Mapping[int, int]) -> Detections:
    boxes = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores = np.array([row["score"] for row in rows], np.float32)
    return Detections(boxes, scores, np.array([label_of[row["category_id"]] for row in rows], np.int64))


def _overlaps(detections: Detections, objects: Objects) -> np.ndarray:
    """(D, G) IoU with objects, and the share of the detection inside for ignored regions."""
    detected = detections.boxes_xyxy[:, None].astype(np.float64)
    annotated = objects.boxes_xyxy.astype(np.float64)
    return np.where(objects.iscrowd, share_inside(detected, annotated), iou(detected, annotated))

"""What went wrong, image by image: each detection judged, and the faults counted.

The kinds of fault are those of TIDE (Bolya et al. 2020, A General Toolbox for Identifying Object Detection Errors).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from pycocotools import mask

from retinanet.dataset.coco import CocoDataset, Objects
from retinanet.inference.detections import Detections

HIT = "hit"  # the first detection of its class on an object, with IoU of at least .5
DUPLICATE = "duplicate"  # another detection already has the object
CLASS = "class"  # on an object of another class
LOCALIZATION = "localization"  # near an object of its class, with IoU between .1 and .5
CLASS_AND_LOCALIZATION = "class and localization"  # near an object of another class
FALSE_ALARM = "background"  # nowhere near an object
IGNORED = "ignored"  # on a crowd region, where it counts neither way
OUTCOMES = (HIT, DUPLICATE, CLASS, LOCALIZATION, CLASS_AND_LOCALIZATION, FALSE_ALARM, IGNORED)

MATCH_IOU, NEAR_IOU = 0.5, 0.1
BACKGROUND_CLASS = "background"
NOTHING = -1


class Judgement(NamedTuple):
    """One image's D detections against its objects.

    outcomes (D,) of the kinds above; objects (D,) int64: the row of the object that the outcome is about, or NOTHING;
    ious (D,) with that object; unfound: rows of the objects that no detection hits; missed: those of them that no
    class or localization fault explains.
    """

    outcomes: tuple[str, ...]
    objects: np.ndarray
    ious: np.ndarray
    unfound: tuple[int, ...]
    missed: tuple[int, ...]


def judge(detections: Detections, objects: Objects) -> Judgement:
    """Match detections, best first, each to the unfound object of its class that it overlaps most; name the rest."""
    ious = _ious(detections, objects)  # (D, G)
    same = detections.labels[:, None] == objects.labels[None, :]
    single = objects.is_single
    free = single.copy()
    outcomes, about = [], np.full(len(detections), NOTHING)
    for row in range(len(detections)):
        choices = (
            (HIT, same[row] & free, MATCH_IOU),
            (IGNORED, same[row] & ~single, MATCH_IOU),
            (DUPLICATE, same[row] & single, MATCH_IOU),
            (CLASS, ~same[row] & single, MATCH_IOU),
            (LOCALIZATION, same[row] & single, NEAR_IOU),
            (CLASS_AND_LOCALIZATION, ~same[row] & single, NEAR_IOU),
        )
        outcome = FALSE_ALARM
        for kind, among, least in choices:
            overlaps = np.where(among, ious[row], 0)
            if overlaps.max(initial=0) >= least:
                outcome, about[row] = kind, overlaps.argmax()
                break
        if outcome == HIT:
            free[about[row]] = False
        outcomes.append(outcome)
    explained = {int(about[row]) for row, kind in enumerate(outcomes) if kind in (CLASS, LOCALIZATION)}
    unfound = tuple(np.flatnonzero(free).tolist())
    at = np.array([ious[row, g] if g != NOTHING else 0 for row, g in enumerate(about)], np.float64)
    return Judgement(tuple(outcomes), about, at, unfound, tuple(g for g in unfound if g not in explained))


def count_errors(ground_truth: CocoDataset, detections: Mapping[int, Detections]) -> dict[str, int]:
    """How many detections had each outcome, and how many objects were missed, over all images."""
    counts: Counter = Counter()
    for image in ground_truth.images:
        objects = ground_truth.objects[image.id]
        judgement = judge(detections[image.id], objects)
        counts.update(judgement.outcomes)
        counts["objects"] += objects.count
        counts["detections"] += len(judgement.outcomes)
        counts["missed"] += len(judgement.missed)
    return {name: counts[name] for name in ("objects", "detections", *OUTCOMES, "missed")}


def confusion(ground_truth: CocoDataset, detections: Mapping[int, Detections]) -> list[dict]:
    """Rows of actual and predicted class names, one for each object and each detection that is on none.

    `background` stands for the other side of a missed object and of a false alarm. Crowds and what lies on them are
    left out.
    """
    names, rows = ground_truth.class_names, []
    for image in ground_truth.images:
        objects, found = ground_truth.objects[image.id], detections[image.id]
        judgement = judge(found, objects)
        confused: set[int] = set()
        for kind, about, label in zip(judgement.outcomes, judgement.objects.tolist(), found.labels, strict=True):
            taken_for = kind == CLASS and about in judgement.unfound and about not in confused
            if taken_for:
                confused.add(about)
            if kind != IGNORED:
                actual = names[objects.labels[about]] if kind == HIT or taken_for else BACKGROUND_CLASS
                rows.append({"actual": actual, "predicted": names[label]})
        left = [g for g in judgement.unfound if g not in confused]
        rows += [{"actual": names[objects.labels[g]], "predicted": BACKGROUND_CLASS} for g in left]
    return rows


def detections_above(
    ground_truth: CocoDataset, results: Sequence[dict], thresholds: Sequence[float]
) -> dict[int, Detections]:
    """COCO results rows as Detections by image id, each class cut at its own threshold, thresholds (K,)."""
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


def _ious(detections: Detections, objects: Objects) -> np.ndarray:
    """(D, G); with a crowd, the share of the detection that lies in it."""
    if not len(detections) or not len(objects):
        return np.zeros((len(detections), len(objects)))
    return np.asarray(mask.iou(_xywh(detections.boxes_xyxy), _xywh(objects.boxes_xyxy), objects.iscrowd.tolist()))


def _xywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    boxes = boxes_xyxy.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes

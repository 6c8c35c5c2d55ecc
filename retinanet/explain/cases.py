"""Which detections and objects of a dataset to look at: for each class, hits, false positives and missed objects."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from retinanet.dataset.coco import CocoDataset, Objects
from retinanet.evaluation.errors import IGNORED, MATCH_IOU, TRUE_POSITIVE, match_detections
from retinanet.images.boxes import areas, iou
from retinanet.inference.detections import Detections

# Kinds of cases; of few that may be shown, the first are preferred.
FALSE_POSITIVE, MISSED, HIT = "false positive", "missed object", "hit"
KINDS = (FALSE_POSITIVE, MISSED, HIT)
DETECTION = "detection"  # on an image without ground truth


@dataclass(frozen=True, eq=False)
class Case:
    """A detection, or an object that has none, on an image.

    box_xyxy (4,) is that of the detection or of the missed object. score is the detection's; for a missed object that
    of the best detection of its class on it, which is below the threshold, and 0 without one. error is the detection's
    outcome (evaluation.errors), MISSED, or empty without ground truth. object_row is the object that the outcome refers
    to, or NO_OBJECT.
    """

    kind: str
    error: str
    image_id: int
    label: int
    score: float
    box_xyxy: np.ndarray
    object_row: int
    iou: float


def select_cases(
    dataset: CocoDataset,
    detections: Mapping[int, Detections],
    thresholds: Sequence[float],
    cases_per_kind: int,
    max_cases: int,
) -> tuple[Case, ...]:
    """Up to cases_per_kind of each kind and class, worst false positive, worst miss and best hit first.

    detections are by image id and may have any score: those below the threshold of their class, (K,), only tell how
    nearly a missed object was found. A miss is worse the less it was found, then the larger it is. Objects with a
    localization or class error are not missed objects here: the error is among the false positives.
    """
    by_kind: dict[tuple[str, int], list[Case]] = defaultdict(list)
    for image in dataset.images:
        for case in _cases_of(image.id, dataset.objects[image.id], detections[image.id], thresholds):
            by_kind[case.kind, case.label].append(case)
    ranked = {key: sorted(cases, key=_worst_first)[:cases_per_kind] for key, cases in by_kind.items()}
    order = [(kind, label) for kind in KINDS for label in range(len(dataset.class_names))]
    # The first case of every class and kind, then the second: so that no class is left out if there are too many.
    chosen = [ranked[key][rank] for rank in range(cases_per_kind) for key in order if rank < len(ranked.get(key, ()))]
    return tuple(sorted(chosen[:max_cases], key=lambda case: (KINDS.index(case.kind), case.label)))


def _cases_of(image_id: int, objects: Objects, found: Detections, thresholds: Sequence[float]) -> Iterator[Case]:
    detections = found.above(thresholds)
    matching = match_detections(detections, objects)
    for row, outcome in enumerate(matching.outcomes):
        if outcome != IGNORED:
            yield Case(
                HIT if outcome == TRUE_POSITIVE else FALSE_POSITIVE,
                outcome,
                image_id,
                int(detections.labels[row]),
                float(detections.scores[row]),
                detections.boxes_xyxy[row],
                int(matching.object_rows[row]),
                float(matching.ious[row]),
            )
    for row in matching.missed:
        box, label = objects.boxes_xyxy[row], int(objects.labels[row])
        on_object = (found.labels == label) & (iou(found.boxes_xyxy, box) >= MATCH_IOU)
        # Confident detections on it are the true positives of other objects.
        on_object &= found.scores < np.float64(thresholds[label])
        score = float(found.scores[on_object].max(initial=0))
        yield Case(MISSED, MISSED, image_id, label, score, box, row, 0.0)


def _worst_first(case: Case) -> tuple[float, float]:
    if case.kind == MISSED:
        return case.score, -float(areas(case.box_xyxy))
    return -case.score, 0.0

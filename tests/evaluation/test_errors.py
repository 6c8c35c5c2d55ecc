from collections import Counter

import numpy as np
import pytest

from benchmarks.pycocotools_reference import pycocotools_evaluation
from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.evaluation.coco_metrics import coco_metrics
from retinanet.evaluation.errors import (
    BACKGROUND_ERROR,
    CLASS,
    CLASS_AND_LOCALIZATION,
    DUPLICATE,
    IGNORED,
    LOCALIZATION,
    NO_OBJECT,
    TRUE_POSITIVE,
    confusion,
    count_errors,
    detections_above,
    match_detections,
)
from retinanet.inference.detections import Detections

CAT, DOG = 0, 1
BOX, FAR = [0, 0, 100, 100], [500, 500, 600, 600]
SHIFTED = [50, 0, 150, 100]  # IoU 1/3 with BOX


def objects(*rows):
    """rows of (box_xyxy, label) or (box_xyxy, label, iscrowd)."""
    return Objects(
        np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[1] for row in rows], np.int64),
        np.array([len(row) > 2 and row[2] for row in rows], bool),
    )


def detections(*rows):
    """rows of (box_xyxy, label), best first."""
    scores = np.linspace(0.9, 0.5, len(rows), dtype=np.float32)
    return Detections(
        np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        scores,
        np.array([row[1] for row in rows], np.int64),
    )


def dataset(*images_objects):
    images = tuple(ImageInfo(i, f"{i}.png", 800, 800) for i in range(1, len(images_objects) + 1))
    return CocoDataset(images, ("cat", "dog"), (3, 7), dict(enumerate(images_objects, start=1)))


@pytest.mark.parametrize(
    ("box", "label", "outcome", "about"),
    [
        (BOX, CAT, TRUE_POSITIVE, 0),
        (BOX, DOG, CLASS, 0),
        (SHIFTED, CAT, LOCALIZATION, 0),
        (SHIFTED, DOG, CLASS_AND_LOCALIZATION, 0),
        (FAR, CAT, BACKGROUND_ERROR, NO_OBJECT),
    ],
)
def test_match_detections_names_the_outcome_and_its_object(box, label, outcome, about):
    matching = match_detections(detections((box, label)), objects((BOX, CAT)))
    assert matching.outcomes == (outcome,)
    assert matching.object_rows.tolist() == [about]


def test_match_detections_gives_the_iou_with_that_object():
    assert match_detections(detections((SHIFTED, CAT)), objects((BOX, CAT))).ious == pytest.approx([1 / 3])


def test_the_second_detection_of_an_object_is_a_duplicate():
    assert match_detections(detections((BOX, CAT), (BOX, CAT)), objects((BOX, CAT))).outcomes == (
        TRUE_POSITIVE,
        DUPLICATE,
    )


def test_two_objects_in_one_place_match_one_detection_each():
    assert match_detections(detections((BOX, CAT), (BOX, CAT)), objects((BOX, CAT), (BOX, CAT))).outcomes == (
        TRUE_POSITIVE,
        TRUE_POSITIVE,
    )


def test_a_detection_inside_an_ignored_region_is_ignored_and_the_region_is_never_missed():
    matching = match_detections(detections(([10, 10, 30, 30], CAT)), objects((BOX, CAT, True)))
    assert (matching.outcomes, matching.unmatched) == ((IGNORED,), ())


def test_an_object_with_a_class_error_is_unmatched_but_not_missed():
    matching = match_detections(detections((BOX, DOG)), objects((BOX, CAT), (FAR, CAT)))
    assert (matching.unmatched, matching.missed) == ((0, 1), (1,))


def test_images_without_objects_or_detections():
    assert match_detections(detections((BOX, CAT)), objects()).outcomes == (BACKGROUND_ERROR,)
    assert match_detections(detections(), objects((BOX, CAT))).missed == (0,)
    assert match_detections(detections(), objects()).outcomes == ()


def test_count_errors_counts_each_outcome():
    truth = dataset(objects((BOX, CAT), (FAR, DOG)), objects())
    counts = count_errors(truth, {1: detections((BOX, CAT), (BOX, CAT), (SHIFTED, CAT)), 2: detections((BOX, DOG))})
    expected = {
        "objects": 2,
        "detections": 4,
        TRUE_POSITIVE: 1,
        DUPLICATE: 1,
        LOCALIZATION: 1,
        BACKGROUND_ERROR: 1,
        "missed": 1,
    }
    assert {name: count for name, count in counts.items() if count} == expected


def test_confusion_has_a_row_for_each_object_and_each_detection_without_one():
    truth = dataset(objects((BOX, CAT), (FAR, CAT)), objects(([200, 0, 300, 100], DOG), ([0, 300, 99, 399], CAT, True)))
    found = {
        1: detections((BOX, DOG), (BOX, DOG)),  # the cat detected as a dog, twice; the far cat missed
        2: detections(([200, 0, 300, 100], DOG), ([0, 300, 99, 399], CAT)),  # a true positive; one in an ignored region
    }
    assert Counter((row["actual"], row["predicted"]) for row in confusion(truth, found)) == {
        ("cat", "dog"): 1,
        ("background", "dog"): 1,
        ("cat", "background"): 1,
        ("dog", "dog"): 1,
    }


def test_detections_above_applies_the_threshold_of_each_class():
    rows = [
        {"image_id": 1, "category_id": 3, "bbox": [0, 0, 10, 20], "score": 0.5},
        {"image_id": 1, "category_id": 7, "bbox": [0, 0, 10, 20], "score": 0.6},
        {"image_id": 1, "category_id": 7, "bbox": [5, 5, 10, 20], "score": 0.7},
    ]
    found = detections_above(dataset(objects(), objects()), rows, thresholds=[0.55, 0.6])
    assert found[1].labels.tolist() == [DOG, DOG]
    assert found[1].boxes_xyxy.tolist() == [[5, 5, 15, 25], [0, 0, 10, 20]]
    assert len(found[2]) == 0


SMALL_BOXES = [[x, 2, x + 5, 7] for x in range(0, 95, 5)]  # 19 boxes of 5 x 5 inside BOX


def results(boxes, score):
    return [
        {"image_id": 1, "category_id": 3, "bbox": [x, y, right - x, bottom - y], "score": score}
        for x, y, right, bottom in boxes
    ]


def test_small_false_positives_inside_an_ignored_region_are_forgiven_and_counted():
    """The bias that coco_metrics documents: with the same boxes elsewhere, AP is 1 / 20."""
    truth = dataset(objects((FAR, CAT), (BOX, CAT, True)))
    true_positive = results([FAR], 0.5)
    inside = true_positive + results(SMALL_BOXES, 0.9)
    elsewhere = true_positive + results([[x, y + 300, right, bottom + 300] for x, y, right, bottom in SMALL_BOXES], 0.9)
    assert coco_metrics(truth, inside)["AP"] == pytest.approx(1)
    assert coco_metrics(truth, elsewhere)["AP"] == pytest.approx(1 / 20)
    counts = count_errors(truth, detections_above(truth, inside, [0.0, 0.0]))
    assert (counts[IGNORED], counts[TRUE_POSITIVE], counts[BACKGROUND_ERROR]) == (19, 1, 0)


def test_ignored_detections_and_true_positives_are_those_of_pycocotools():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 300, (40, 2))
    boxes = np.hstack([low, low + rng.uniform(20, 150, (40, 2))])
    truth = dataset(objects(*zip(boxes.tolist(), [CAT] * 40, (rng.random(40) < 0.3).tolist(), strict=True)))
    rows = []
    for box in [*boxes, *boxes + rng.normal(0, 4, boxes.shape), *SMALL_BOXES]:
        rows += results([box], float(rng.random()))
    counts = count_errors(truth, detections_above(truth, rows, [0.0, 0.0]))
    of_image = pycocotools_evaluation(truth, rows).evalImgs[0]  # cats of all sizes
    ignored = of_image["dtIgnore"][0].astype(bool)
    assert counts[IGNORED] == ignored.sum() > 5
    assert counts[TRUE_POSITIVE] == ((of_image["dtMatches"][0] > 0) & ~ignored).sum() > 20

from collections import Counter

import numpy as np
import pytest

from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.evaluation.errors import (
    CLASS,
    CLASS_AND_LOCALIZATION,
    DUPLICATE,
    FALSE_ALARM,
    HIT,
    IGNORED,
    LOCALIZATION,
    NOTHING,
    confusion,
    count_errors,
    detections_above,
    judge,
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
        (BOX, CAT, HIT, 0),
        (BOX, DOG, CLASS, 0),
        (SHIFTED, CAT, LOCALIZATION, 0),
        (SHIFTED, DOG, CLASS_AND_LOCALIZATION, 0),
        (FAR, CAT, FALSE_ALARM, NOTHING),
    ],
)
def test_one_detection_against_one_cat(box, label, outcome, about):
    judgement = judge(detections((box, label)), objects((BOX, CAT)))
    assert judgement.outcomes == (outcome,)
    assert judgement.objects.tolist() == [about]


def test_the_iou_is_with_the_object_it_is_about():
    assert judge(detections((SHIFTED, CAT)), objects((BOX, CAT))).ious == pytest.approx([1 / 3])


def test_the_second_detection_of_an_object_is_a_duplicate():
    assert judge(detections((BOX, CAT), (BOX, CAT)), objects((BOX, CAT))).outcomes == (HIT, DUPLICATE)


def test_two_objects_in_one_place_take_a_detection_each():
    assert judge(detections((BOX, CAT), (BOX, CAT)), objects((BOX, CAT), (BOX, CAT))).outcomes == (HIT, HIT)


def test_a_detection_inside_a_crowd_is_ignored_and_a_crowd_is_never_missed():
    judgement = judge(detections(([10, 10, 30, 30], CAT)), objects((BOX, CAT, True)))
    assert (judgement.outcomes, judgement.unfound) == ((IGNORED,), ())


def test_an_object_that_a_fault_explains_is_unfound_but_not_missed():
    judgement = judge(detections((BOX, DOG)), objects((BOX, CAT), (FAR, CAT)))
    assert (judgement.unfound, judgement.missed) == ((0, 1), (1,))


def test_images_without_objects_or_detections():
    assert judge(detections((BOX, CAT)), objects()).outcomes == (FALSE_ALARM,)
    assert judge(detections(), objects((BOX, CAT))).missed == (0,)
    assert judge(detections(), objects()).outcomes == ()


def test_counts_add_up():
    truth = dataset(objects((BOX, CAT), (FAR, DOG)), objects())
    counts = count_errors(truth, {1: detections((BOX, CAT), (BOX, CAT), (SHIFTED, CAT)), 2: detections((BOX, DOG))})
    expected = {"objects": 2, "detections": 4, HIT: 1, DUPLICATE: 1, LOCALIZATION: 1, FALSE_ALARM: 1, "missed": 1}
    assert {name: count for name, count in counts.items() if count} == expected


def test_confusion_has_a_row_for_each_object_and_each_stray_detection():
    truth = dataset(objects((BOX, CAT), (FAR, CAT)), objects(([200, 0, 300, 100], DOG), ([0, 300, 99, 399], CAT, True)))
    found = {
        1: detections((BOX, DOG), (BOX, DOG)),  # the cat taken for a dog, twice; the far cat missed
        2: detections(([200, 0, 300, 100], DOG), ([0, 300, 99, 399], CAT)),  # a hit; one on a crowd
    }
    assert Counter((row["actual"], row["predicted"]) for row in confusion(truth, found)) == {
        ("cat", "dog"): 1,
        ("background", "dog"): 1,
        ("cat", "background"): 1,
        ("dog", "dog"): 1,
    }


def test_results_are_cut_at_the_threshold_of_their_class():
    rows = [
        {"image_id": 1, "category_id": 3, "bbox": [0, 0, 10, 20], "score": 0.5},
        {"image_id": 1, "category_id": 7, "bbox": [0, 0, 10, 20], "score": 0.6},
        {"image_id": 1, "category_id": 7, "bbox": [5, 5, 10, 20], "score": 0.7},
    ]
    found = detections_above(dataset(objects(), objects()), rows, thresholds=[0.55, 0.6])
    assert found[1].labels.tolist() == [DOG, DOG]
    assert found[1].boxes_xyxy.tolist() == [[5, 5, 15, 25], [0, 0, 10, 20]]
    assert len(found[2]) == 0

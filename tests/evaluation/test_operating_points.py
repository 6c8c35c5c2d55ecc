import math

import numpy as np
import pytest

from retinanet.evaluation.matches import Matches
from retinanet.evaluation.operating_points import (
    ClassDetections,
    best_f1,
    measures_at,
    operating_points,
    point_table,
    with_precision,
    with_recall,
)


def detections(*scored: tuple[float, bool], objects: int) -> ClassDetections:
    """Detections of a class, best score first, each on an image of its own; `objects` images have an object each."""
    scores, is_true = zip(*scored, strict=True) if scored else ((), ())
    return ClassDetections(
        np.array(scores, np.float64), np.array(is_true, bool), np.arange(len(scored)), np.ones(objects, np.int64)
    )


def all_found(images: int) -> ClassDetections:
    """One object on each image; image i is found with score 1 - i / 100."""
    return detections(*((1 - i / 100, True) for i in range(images)), objects=images)


def test_best_f1_is_that_of_a_count_by_hand():
    found = detections((0.9, True), (0.8, False), (0.7, True), objects=2)
    # from 0.9: P 1, R 1/2, F1 2/3; from 0.8: P 1/2, R 1/2; from 0.7: P 2/3, R 1, F1 4/5
    assert best_f1(found) == (0.7, "")
    assert measures_at(found, 0.7, images=2) == pytest.approx(
        {"precision": 2 / 3, "recall": 1, "f1": 0.8, "false_positives_per_image": 0.5}
    )


def test_a_threshold_does_not_separate_equal_scores():
    # alone the true positive would have precision 1, but the false positive has the same score
    found = detections((0.9, True), (0.9, False), objects=1)
    assert best_f1(found).threshold == 0.9
    assert with_precision(found, 0.9) == (0.9, "precision 0.9 is out of reach on val: 0.500 at most")


def test_thresholds_are_rounded_down_so_that_their_detection_passes():
    assert best_f1(detections((0.71239, True), objects=1)).threshold == 0.7123


def test_precision_keeps_as_many_true_positives_as_it_allows():
    found = detections((0.9, True), (0.8, False), (0.7, True), (0.6, True), (0.5, False), objects=4)
    # precision by threshold: 1, 1/2, 2/3, 3/4, 3/5
    assert [with_precision(found, target).threshold for target in (0.95, 0.75, 0.7, 0.6)] == [0.9, 0.6, 0.6, 0.5]


def test_recall_leaves_room_for_the_next_image():
    # 39 images: 0.05 * (39 + 1) = 2 misses may be counted, one of them for the image to come
    point = with_recall(all_found(39), 0.95, lowest=0.05)
    assert point.reason == "" and point.threshold == pytest.approx(1 - 37 / 100)


def test_recall_is_of_images_with_one_or_many_objects_alike():
    # an image with 10 objects of which one is missed loses 0.1
    many = ClassDetections(np.full(9, 0.9), np.ones(9, bool), np.zeros(9, np.int64), np.array([10] + [0] * 30))
    assert with_recall(many, 0.45, lowest=0.05) == (0.9, "")  # (0.1 + 1) / 2 <= 0.55
    assert with_recall(many, 0.46, lowest=0.05).reason == "recall 0.46 is out of reach on val: 0.450 at most"


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (all_found(18), "18 images of val have the class; recall 0.95 needs 19"),
        (detections(objects=19), "recall 0.95 is out of reach on val: 0.000 at most"),
        (detections((0.9, True), objects=40), "recall 0.95 is out of reach on val: 0.024 at most"),
    ],
)
def test_recall_that_val_cannot_promise_takes_the_lowest_threshold_and_says_so(found, reason):
    assert with_recall(found, 0.95, lowest=0.05) == (0.05, reason)


def test_recall_with_19_images_needs_all_of_them():
    assert with_recall(all_found(19), 0.95, lowest=0.05).threshold == pytest.approx(1 - 18 / 100)


@pytest.mark.parametrize("seed", range(3))
def test_images_that_were_not_used_miss_at_most_the_promised_share_on_average(seed):
    generator = np.random.default_rng(seed)
    lost = []
    for _ in range(300):
        # An image's objects are easy or hard together; some are never found.
        ease = generator.beta(8, 1, 120)
        counts = generator.integers(1, 12, 120)
        units = np.repeat(np.arange(120), counts)
        scores = np.clip(ease[units] - generator.exponential(0.05, len(units)), 0, 1)
        is_true = scores > 0.1
        for_choice, objects = units < 60, np.where(np.arange(120) < 60, counts, 0)
        order = np.argsort(-scores[for_choice], kind="stable")
        chosen = ClassDetections(
            scores[for_choice][order], is_true[for_choice][order], units[for_choice][order], objects
        )
        missed = ~(is_true & (scores >= with_recall(chosen, 0.9, lowest=0.05).threshold))
        lost.append((np.bincount(units, missed)[60:] / counts[60:]).mean())
    assert 0.07 < np.mean(lost) <= 0.1


def two_classes() -> Matches:
    """Cats are found with 0.9 and 0.8, one false positive has 0.7; no dog is found."""
    is_true = np.tile([True, True, False], (10, 1))
    objects = np.array([[1, 0], [1, 1]])
    return Matches(
        ("cat", "dog"),
        np.ones(2, np.int64),
        objects,
        np.array([0.9, 0.8, 0.7]),
        np.zeros(3, np.int64),
        np.array([0, 1, 1]),
        is_true,
        np.zeros_like(is_true),
    )


def test_a_class_that_is_never_right_has_the_threshold_of_the_others():
    cat, dog = operating_points(two_classes(), "f1", 0.9, lowest=0.05)
    assert cat == (0.8, "") and dog.threshold == 0.8 and "no true positive on val" in dog.reason


def test_without_any_true_positive_every_class_has_the_default():
    nothing = two_classes()
    nothing.is_true[:] = False
    assert [point.threshold for point in operating_points(nothing, "precision", 0.9, lowest=0.05)] == [0.3, 0.3]


def test_ignored_detections_count_neither_as_right_nor_as_wrong():
    matches = two_classes()
    matches.is_ignored[:, 2] = True
    rows = point_table(matches, operating_points(matches, "precision", 0.9, lowest=0.05))
    assert rows[0] == {
        "class": "cat",
        "threshold": 0.8,
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "false_positives_per_image": 0.0,
        "reason": "",
    }
    assert not any(math.isnan(row["threshold"]) for row in rows)

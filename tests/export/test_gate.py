import numpy as np
import pytest

from retinanet.errors import ExportError
from retinanet.export.gate import Agreement, compare, require_agreement
from retinanet.inference.detections import Detections

IMAGE = [np.zeros((50, 50, 3), np.uint8)]


def detector_of(boxes, scores, labels):
    return lambda images: [Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores), np.array(labels))]


A = detector_of([[0, 0, 10, 10], [20, 20, 40, 40]], [0.9, 0.5], [0, 1])


def test_compare_ignores_the_order():
    b = detector_of([[20, 20, 40, 40], [0, 0, 10, 10]], [0.5, 0.9], [1, 0])
    assert compare(A, b, IMAGE, 1e-3) == Agreement(2, 1.0, 1.0, 0.0)


def test_compare_measures_iou_and_score_difference():
    found = compare(A, detector_of([[0, 0, 10, 9], [20, 20, 40, 40]], [0.9, 0.51], [0, 1]), IMAGE, 1e-3)
    assert found.min_iou == pytest.approx(0.9)
    assert found.max_score_difference == pytest.approx(0.01)


@pytest.mark.parametrize(
    "b",
    [detector_of([[20, 20, 40, 40]], [0.5], [1]), detector_of([[0, 0, 10, 10], [20, 20, 40, 40]], [0.9, 0.5], [1, 1])],
)
def test_compare_counts_a_missing_or_relabeled_detection(b):
    assert compare(A, b, IMAGE, 1e-3).matched_share < 0.7


def test_no_detections_by_both_models_is_agreement():
    nothing = detector_of([], [], [])
    require_agreement(compare(nothing, nothing, IMAGE, 1e-3), 1, 1, 0)


@pytest.mark.parametrize(
    ("agreement", "message"),
    [
        (Agreement(9, 0.98, 1, 0), r"98.0% of the detections are found by both .* export.min_matched is 99.0%"),
        (Agreement(9, 1, 0.98, 0), r"boxes overlap with an IoU of only 0.9800 \(export.min_iou is 0.99\)"),
        (Agreement(9, 1, 1, 0.01), r"scores differ by up to 0.01 \(export.score_tolerance is 0.001\)"),
        (Agreement(9, 1, 1, float("nan")), "scores differ by up to nan"),
    ],
)
def test_require_agreement_names_the_limit_that_is_exceeded(agreement, message):
    with pytest.raises(ExportError, match=f"differs from the trained one: {message}"):
        require_agreement(agreement, min_matched=0.99, min_iou=0.99, score_tolerance=1e-3)


def test_a_detection_at_the_lowest_kept_score_needs_no_partner():
    b = detector_of([[0, 0, 10, 10], [60, 60, 70, 70]], [0.9, 0.5005], [0, 1])  # the last one kept is another
    assert compare(A, b, IMAGE, 1e-3).matched_share == 1

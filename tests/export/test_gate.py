import numpy as np
import pytest

from retinanet.errors import ExportError
from retinanet.export.gate import Agreement, compare, require_agreement
from retinanet.inference.detections import Detections

IMAGE = [np.zeros((50, 50, 3), np.uint8)]


def saying(boxes, scores, labels):
    return lambda images: [Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores), np.array(labels))]


A = saying([[0, 0, 10, 10], [20, 20, 40, 40]], [0.9, 0.5], [0, 1])


def test_the_same_in_another_order():
    b = saying([[20, 20, 40, 40], [0, 0, 10, 10]], [0.5, 0.9], [1, 0])
    assert compare(A, b, IMAGE, 1e-3) == Agreement(2, 1.0, 1.0, 0.0)


def test_a_box_one_pixel_off_and_another_score():
    found = compare(A, saying([[0, 0, 10, 9], [20, 20, 40, 40]], [0.9, 0.51], [0, 1]), IMAGE, 1e-3)
    assert found.min_iou == pytest.approx(0.9)
    assert found.max_score_difference == pytest.approx(0.01)


@pytest.mark.parametrize(
    "b", [saying([[20, 20, 40, 40]], [0.5], [1]), saying([[0, 0, 10, 10], [20, 20, 40, 40]], [0.9, 0.5], [1, 1])]
)
def test_a_lost_or_renamed_detection_has_no_partner(b):
    assert compare(A, b, IMAGE, 1e-3).matched_share < 0.7


def test_nothing_on_both_sides_is_agreement():
    nothing = saying([], [], [])
    require_agreement(compare(nothing, nothing, IMAGE, 1e-3), 1, 1, 0)


@pytest.mark.parametrize(
    "bad",
    [Agreement(9, 0.98, 1, 0), Agreement(9, 1, 0.98, 0), Agreement(9, 1, 1, 0.01), Agreement(9, 1, 1, float("nan"))],
)
def test_each_limit_counts(bad):
    with pytest.raises(ExportError, match="the file was removed"):
        require_agreement(bad, min_matched=0.99, min_iou=0.99, score_tolerance=1e-3)


def test_a_detection_at_the_cut_need_not_have_a_partner():
    b = saying([[0, 0, 10, 10], [60, 60, 70, 70]], [0.9, 0.5005], [0, 1])  # another one took the last place
    assert compare(A, b, IMAGE, 1e-3).matched_share == 1

import math

import pytest
import torch

from retinanet.model.decode import decode

ANCHORS = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [90, 90, 110, 110]])
SETTINGS = {"score_threshold": 0.5, "nms_iou": 0.5, "candidates_per_level": 1000, "detections_per_image": 300}


def found(logits, **changed):
    """Detections with boxes where the anchors lie; the first three anchors are one level, the last another."""
    deltas = torch.zeros(1, 4, 4)
    return decode(torch.tensor([logits]), deltas, ANCHORS, [3, 1], [(100, 100)], **(SETTINGS | changed))[0]


def test_overlapping_boxes_of_one_class_become_the_better_one():
    detections = found([[1.0], [2.0], [-9.0], [-9.0]])
    assert detections.anchor_index.tolist() == [1]
    torch.testing.assert_close(detections.scores, torch.tensor([2.0]).sigmoid())


def test_overlapping_boxes_of_two_classes_stay_best_first():
    detections = found([[1.0, -9], [-9, 2.0], [-9, -9], [-9, -9]])
    assert detections.labels.tolist() == [1, 0]


def test_boxes_are_clipped_to_the_image():
    assert found([[-9.0], [-9.0], [-9.0], [3.0]]).boxes_xyxy.tolist() == [[90, 90, 100, 100]]


def test_score_must_exceed_the_threshold():
    assert len(found([[0.0], [-9.0], [-9.0], [-9.0]]).scores) == 0  # p = .5 exactly


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, [1, 0, 2]), (1.0, [])])
def test_threshold_of_zero_keeps_all_and_of_one_keeps_nothing(threshold, kept):
    # The sigmoid of 50 is 1 in float32.
    detections = found([[1.0], [50.0], [-9.0], [-math.inf]], score_threshold=threshold, nms_iou=1.0)
    assert detections.anchor_index.tolist() == kept


def test_candidates_are_limited_per_level():
    # One candidate a level: the best of the first three anchors, and the last.
    detections = found([[1.0], [-9.0], [2.0], [0.5]], candidates_per_level=1)
    assert detections.anchor_index.tolist() == [2, 3]


def test_detections_per_image_limits_detections():
    assert found([[1.0], [-9.0], [2.0], [3.0]], detections_per_image=2).anchor_index.tolist() == [3, 2]


def test_no_detections_have_empty_tensors():
    detections = found([[-9.0]] * 4)
    assert detections.boxes_xyxy.shape == (0, 4) and detections.labels.dtype == torch.int64


def test_box_outside_the_image_is_dropped():
    deltas = torch.zeros(1, 4, 4)
    sizes = [(100, 80)]  # the last anchor begins at x = 90, in the padding
    assert decode(torch.full((1, 4, 1), 3.0), deltas, ANCHORS, [3, 1], sizes, **SETTINGS)[0].anchor_index.tolist() == [
        0,
        2,
    ]

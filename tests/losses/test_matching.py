import torch

from retinanet.losses.matching import BACKGROUND, IGNORE, match_anchors


def test_anchor_between_the_thresholds_is_ignored():
    gt_boxes = torch.tensor([[0.0, 0, 10, 10]])
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 4.5], [50, 50, 60, 60]])  # IoU 1, .45, 0
    assert match_anchors(anchors, gt_boxes).tolist() == [0, IGNORE, BACKGROUND]


def test_object_below_the_thresholds_gets_its_nearest_anchor():
    gt_boxes = torch.tensor([[0.0, 0, 2, 2]])
    anchors = torch.tensor([[0.0, 0, 10, 10], [5, 5, 15, 15]])  # IoU .04, 0
    assert match_anchors(anchors, gt_boxes).tolist() == [0, BACKGROUND]


def test_nearest_anchor_of_an_object_keeps_its_own_best_object():
    # The second anchor is the best that the small object has, but itself overlaps the large one more.
    gt_boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 3, 3]])
    anchors = torch.tensor([[0.0, 0, 10, 10.5], [0, 0, 7, 7]])  # IoU .95, .49 and .086, .18
    assert match_anchors(anchors, gt_boxes).tolist() == [0, 0]


def test_object_that_overlaps_no_anchor_gets_none():
    gt_boxes = torch.tensor([[90.0, 90, 92, 92], [0, 0, 10, 10]])
    anchors = torch.tensor([[0.0, 0, 10, 10], [5, 5, 15, 15], [50, 50, 60, 60]])  # IoU with the second: 1, .14, 0
    assert match_anchors(anchors, gt_boxes).tolist() == [1, BACKGROUND, BACKGROUND]
    assert match_anchors(anchors, gt_boxes[:1]).tolist() == [BACKGROUND] * 3


def test_image_without_objects_is_all_background():
    anchors = torch.rand(5, 4)
    assert match_anchors(anchors, torch.zeros(0, 4)).tolist() == [BACKGROUND] * 5


def test_background_half_inside_a_crowd_is_ignored():
    anchors = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [6, 0, 16, 10]])  # of which .9, .5, .4 in the crowd
    crowd = torch.tensor([[1.0, 0, 10, 10]])
    assert match_anchors(anchors, torch.zeros(0, 4), crowd).tolist() == [IGNORE, IGNORE, BACKGROUND]


def test_object_inside_a_crowd_is_matched():
    box = torch.tensor([[0.0, 0, 10, 10]])
    assert match_anchors(box, box, torch.tensor([[0.0, 0, 50, 50]])).tolist() == [0]

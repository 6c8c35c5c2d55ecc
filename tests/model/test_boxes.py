import math

import torch
from torchvision.ops import box_iou

from retinanet.model.boxes import clip, decode, encode, have_area, pairwise_iou, pairwise_share_inside


def test_encode_a_box_twice_as_large_and_moved():
    anchor = torch.tensor([[0.0, 0, 10, 20]])  # center (5, 10)
    box = torch.tensor([[0.0, 0, 20, 40]])  # center (10, 20)
    torch.testing.assert_close(encode(box, anchor), torch.tensor([[0.5, 0.5, math.log(2), math.log(2)]]))


def test_decode_undoes_encode():
    torch.manual_seed(0)
    anchors, boxes = (torch.cat([c := torch.rand(50, 2) * 100, c + 1 + torch.rand(50, 2) * 50], 1) for _ in range(2))
    torch.testing.assert_close(decode(encode(boxes, anchors), anchors), boxes)


def test_decode_limits_the_size():
    box = decode(torch.tensor([[0.0, 0, 50, 50]]), torch.tensor([[0.0, 0, 16, 16]]))
    torch.testing.assert_close(box[0, 2] - box[0, 0], torch.tensor(1000.0))


def test_clip_to_each_images_size():
    boxes = torch.tensor([[[-5.0, -5, 50, 50]], [[-5.0, -5, 50, 50]]])
    sizes = torch.tensor([[[20, 30]], [[100, 40]]])  # (height, width)
    assert clip(boxes, sizes).tolist() == [[[0, 0, 30, 20]], [[0, 0, 40, 50]]]


def test_iou_equals_torchvisions():
    torch.manual_seed(0)
    a, b = (torch.cat([c := torch.rand(n, 2) * 10, c + torch.rand(n, 2) * 10], 1) for n in (7, 11))
    torch.testing.assert_close(pairwise_iou(a, b), box_iou(a, b))


def test_iou_of_empty_boxes_is_zero():
    point = torch.tensor([[3.0, 3, 3, 3]])
    assert pairwise_iou(point, point).item() == 0


def test_share_inside_of_partial_full_and_no_overlap():
    box, point = [0.0, 0, 10, 10], [3.0, 3, 3, 3]
    others = torch.tensor([[0.0, 0, 100, 100], [5, 5, 20, 20], [20, 20, 30, 30]])
    assert pairwise_share_inside(torch.tensor([box, point]), others).tolist() == [[1, 0.25, 0], [0, 0, 0]]


def test_have_area_is_false_for_lines_and_points():
    boxes = torch.tensor([[0.0, 0, 5, 5], [0, 0, 5, 0], [3, 3, 3, 3], [0, 0, 1, 1], [0, 0, 0.9, 8]])
    assert have_area(boxes).tolist() == [True, False, False, True, False]

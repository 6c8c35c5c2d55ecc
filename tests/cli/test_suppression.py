import numpy as np
import torch
import torchvision

from retinanet.cli.suppression import suppress_across_classes
from retinanet.inference.detections import Detections


def test_of_overlapping_boxes_of_two_classes_the_better_one_is_kept():
    # IoU of the first and the second: 8 / 10 = 0.8; the third lies apart.
    boxes = np.array([[0, 0, 10, 1], [0, 0, 8, 1], [20, 0, 30, 1]], np.float32)
    detections = Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 1, 1]))
    assert suppress_across_classes(detections, 0.5).labels.tolist() == [0, 1]
    assert len(suppress_across_classes(detections, 0.85)) == 3


def test_detections_are_those_of_torchvision():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 80, (300, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (300, 2))], axis=1).astype(np.float32)
    detections = Detections(boxes, np.sort(rng.uniform(0, 1, 300).astype(np.float32))[::-1].copy(), np.arange(300) % 7)
    expected = torchvision.ops.nms(torch.from_numpy(boxes), torch.from_numpy(detections.scores), 0.45)
    found = suppress_across_classes(detections, 0.45)
    assert 10 < len(found) < 200
    np.testing.assert_array_equal(found.boxes_xyxy, boxes[expected.numpy()])


def test_no_detections_stay_none():
    assert len(suppress_across_classes(Detections.empty(), 0.5)) == 0

import numpy as np

from retinanet.inference.detections import Detections


def test_above_keeps_scores_equal_to_the_threshold():
    found = Detections(np.zeros((3, 4), np.float32), np.array([0.9, 0.5, 0.2]), np.array([0, 1, 2]))
    assert found.above(0.5).labels.tolist() == [0, 1]


def test_above_compares_each_detection_with_the_threshold_of_its_class():
    found = Detections(np.zeros((4, 4), np.float32), np.array([0.9, 0.5, 0.5, 0.2]), np.array([0, 1, 0, 1]))
    assert found.above((0.6, 0.2)).scores.tolist() == [0.9, 0.5, 0.2]


def test_empty_has_the_shapes_of_detections():
    empty = Detections.empty()
    assert len(empty) == 0 and empty.boxes_xyxy.shape == (0, 4)
    assert len(empty.above(0.5)) == len(empty.above((0.5, 0.5))) == 0


def test_resized_scales_x_and_y_by_their_own_ratio():
    found = Detections(np.array([[10, 10, 20, 40]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
    assert found.resized((50, 100), (100, 50)).boxes_xyxy.tolist() == [[5, 20, 10, 80]]

import numpy as np

from retinanet.inference.detections import Detections


def test_cut_at_a_score_keeps_equal_ones():
    found = Detections(np.zeros((3, 4), np.float32), np.array([0.9, 0.5, 0.2]), np.array([0, 1, 2]))
    assert found.above(0.5).labels.tolist() == [0, 1]


def test_none_has_the_shapes_of_some():
    nothing = Detections.none()
    assert len(nothing) == 0 and nothing.boxes_xyxy.shape == (0, 4) and len(nothing.above(0.5)) == 0

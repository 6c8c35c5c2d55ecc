import numpy as np
import pytest

from retinanet.dataset.coco import Objects
from retinanet.drawing import GROUND_TRUTH_COLOR, IGNORED_COLOR
from retinanet.explain.panels import LABELS_SIDE, MISSED_COLOR, class_color, crops_panel, heated, labels_panel
from retinanet.inference.detections import Detections

BOX, OTHER = [20, 20, 60, 60], [120, 20, 160, 60]


def gray(height=100, width=200):
    return np.full((height, width, 3), 90, np.uint8)


def objects(*boxes, crowds=False):
    count = len(boxes)
    return Objects(
        np.array(boxes, np.float32).reshape(-1, 4), np.zeros(count, np.int64), np.full(count, crowds, dtype=bool)
    )


def found(*boxes):
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.full(count, 0.9, np.float32), np.zeros(count, np.int64)
    )


def crops(image, box, truth=None):
    return crops_panel(image, np.zeros(image.shape[:2], np.float32), np.array(box), MISSED_COLOR, 128, truth)


def has(panel, color):
    return bool((panel == np.array(color)).all(axis=2).any())


@pytest.mark.parametrize("box", [BOX, [190, 0, 200, 10], [0, 90, 10, 100]])
def test_crops_are_two_squares_also_at_the_edge_of_the_image(box):
    assert crops(gray(), box).shape == (128, 256, 3)


def test_crops_of_an_image_of_one_pixel():
    assert crops(gray(1, 1), [0, 0, 1, 1]).shape[2] == 3


def test_crops_have_the_ground_truth_on_the_left_only():
    panel = crops(gray(), BOX, objects(BOX, [30, 30, 70, 70]))
    left, right = panel[:, :128], panel[:, 128:]
    assert has(left, GROUND_TRUTH_COLOR) and not has(right, GROUND_TRUTH_COLOR)
    assert has(left, MISSED_COLOR) and has(right, MISSED_COLOR)


def test_crops_have_ignored_regions_in_gray():
    panel = crops(gray(), BOX, objects([30, 30, 70, 70], crowds=True))
    assert has(panel, IGNORED_COLOR) and not has(panel, GROUND_TRUTH_COLOR)


def test_heated_is_transparent_at_0_and_bright_at_1():
    image = np.zeros((1, 2, 3), np.uint8)
    view = heated(image, np.array([[0.0, 1.0]], np.float32))
    assert view[0, 0].tolist() == [0, 0, 0]
    assert view[0, 1].max() > 150


def test_labels_panel_draws_detections_over_the_ground_truth():
    panel = labels_panel(gray(), objects(BOX, OTHER), found(BOX))
    assert max(panel.shape) == LABELS_SIDE
    assert has(panel, class_color(0)) and has(panel, GROUND_TRUTH_COLOR)


def test_labels_panel_draws_ignored_regions_in_gray():
    panel = labels_panel(gray(), objects(BOX, crowds=True), found())
    assert has(panel, IGNORED_COLOR) and not has(panel, GROUND_TRUTH_COLOR)


def test_labels_panel_without_boxes_is_the_image():
    assert (labels_panel(gray(), objects(), found()) == 90).all()

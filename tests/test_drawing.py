import numpy as np
import pytest

from retinanet.drawing import COLORS, MIN_DRAWN_SIDE, draw_boxes, draw_detections
from retinanet.inference.detections import Detections

RED = (255, 0, 0)


def gray(height, width):
    return np.full((height, width, 3), 128, np.uint8)


def test_draw_boxes_outlines_inside_the_edges_of_a_copy():
    image = gray(100, 100)
    drawn = draw_boxes(image, np.array([[20.0, 30, 60, 80]]), [""], RED)
    is_red = (drawn == RED).all(axis=2)
    rows, columns = np.nonzero(is_red)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (30, 79, 20, 59)
    assert not is_red[40:70, 30:50].any()
    assert (image == 128).all()


def test_without_boxes_the_image_is_unchanged():
    image = gray(600, 500)
    assert (draw_boxes(image, np.zeros((0, 4)), [], RED) == image).all()
    assert (draw_detections(image, Detections.empty(), ["cat"]) == image).all()


def test_a_caption_at_the_upper_right_corner_stays_inside():
    drawn = draw_boxes(gray(200, 200), np.array([[190.0, 0, 200, 10]]), ["platelet 0.99"], RED)
    assert (drawn[2, 120:190] == RED).all(axis=1).sum() > 40


def test_a_caption_that_would_cover_another_is_not_drawn():
    box = [50.0, 100, 150, 150]
    one = draw_boxes(gray(600, 600), np.array([box]), ["first"], RED)
    both = draw_boxes(gray(600, 600), np.array([box, box]), ["first", "second"], RED)
    assert (one == both).all()


def test_small_images_are_enlarged_with_their_boxes():
    found = Detections(np.array([[10, 10, 20, 20]], np.float32), np.array([0.9], np.float32), np.array([0]))
    drawn = draw_detections(gray(40, 60), found, ["cell"])
    assert drawn.shape == (320, 480, 3)
    assert tuple(drawn[100, 80]) == COLORS[0]


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2000, 3)])
def test_draw_detections_on_extreme_sizes(size):
    found = Detections(np.array([[0, 0, 1, 1]], np.float32), np.array([0.5], np.float32), np.array([1]))
    assert max(draw_detections(gray(*size), found, ["a", "b"]).shape) >= MIN_DRAWN_SIDE


def test_draw_boxes_accepts_boxes_outside_the_image_or_of_negative_size():
    boxes = np.array([[-50.0, -50, -10, -10], [30, 30, 20, 20], [90, 90, 900, 900]])
    assert draw_boxes(gray(100, 100), boxes, ["a", "b", "c"], RED).shape == (100, 100, 3)

from dataclasses import replace

import numpy as np

from retinanet.dataset.coco import Objects
from retinanet.drawing import CROWD_COLOR
from retinanet.evaluation.errors import judge
from retinanet.explain.examples import Example, Explained
from retinanet.explain.panels import (
    CROP_SIDE,
    IMAGE_SIDE,
    UNFOUND_COLOR,
    class_color,
    detections_panel,
    heat_panel,
    heated,
    letter,
    strip,
    truth_panel,
)
from retinanet.inference.detections import Detections

CLASSES = ("cat", "dog")


def example(boxes=(), truth=(), size=(100, 200)):
    detections = Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.5, len(boxes), dtype=np.float32),
        np.zeros(len(boxes), np.int64),
    )
    objects = Objects(
        np.array(truth, np.float32).reshape(-1, 4), np.zeros(len(truth), np.int64), np.zeros(len(truth), bool)
    )
    heat = np.zeros(size, np.float32)
    explained = tuple(Explained(row, "surest hit", heat, 3, 8) for row in range(min(1, len(boxes))))
    gray = np.full((*size, 3), 90, np.uint8)
    return Example("x.png", gray, detections, objects, judge(detections, objects), explained)


def has(panel, color):
    return bool((panel == np.array(color)).all(axis=2).any())


def test_detections_are_drawn_in_the_color_of_their_class():
    panel = detections_panel(example(boxes=[[20, 20, 60, 60]]), CLASSES)
    assert max(panel.shape) == IMAGE_SIDE
    assert has(panel, class_color(0))


def test_objects_that_were_not_found_are_red():
    box, other = [20, 20, 60, 60], [120, 20, 160, 60]
    assert not has(truth_panel(example(boxes=[box], truth=[box]), CLASSES), UNFOUND_COLOR)
    panel = truth_panel(example(boxes=[box], truth=[box, other]), CLASSES)
    assert has(panel, UNFOUND_COLOR)
    assert has(panel, class_color(0))


def test_a_crowd_is_gray_and_never_missed():
    shown = example(truth=[[20, 20, 60, 60]])
    crowd = replace(shown.objects, iscrowd=np.array([True]))
    panel = truth_panel(shown._replace(objects=crowd, judgement=judge(shown.detections, crowd)), CLASSES)
    assert has(panel, CROWD_COLOR) and not has(panel, UNFOUND_COLOR)


def test_a_image_with_nothing_on_it_is_drawn_as_it_is():
    nothing = example()
    assert (detections_panel(nothing, CLASSES) == 90).all()
    assert (truth_panel(nothing, CLASSES) == 90).all()
    assert strip(nothing, CLASSES).shape[0] == CROP_SIDE


def test_the_heat_panel_is_two_squares_also_at_the_edge_of_the_image():
    at_the_edge = example(boxes=[[190, 0, 200, 10]])
    assert heat_panel(at_the_edge, at_the_edge.explained[0]).shape == (CROP_SIDE, 2 * CROP_SIDE, 3)


def test_the_heat_panel_of_a_image_of_one_pixel():
    tiny = example(boxes=[[0, 0, 1, 1]], size=(1, 1))
    assert heat_panel(tiny, tiny.explained[0]).shape[2] == 3


def test_no_heat_leaves_the_image_and_most_heat_is_bright():
    image = np.zeros((1, 2, 3), np.uint8)
    view = heated(image, np.array([[0.0, 1.0]], np.float32))
    assert view[0, 0].tolist() == [0, 0, 0]
    assert view[0, 1].max() > 150


def test_letters_go_on_after_z():
    assert [letter(i) for i in (0, 25, 26)] == ["A", "Z", "A1"]

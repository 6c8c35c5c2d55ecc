from dataclasses import replace

import numpy as np

from retinanet.dataset.coco import Objects
from retinanet.drawing import GROUND_TRUTH_COLOR, IGNORED_COLOR
from retinanet.evaluation.errors import match_detections
from retinanet.explain.examples import Example, Explained
from retinanet.explain.panels import (
    CROP_SIDE,
    IMAGE_SIDE,
    LABELS_SIDE,
    MISSED_COLOR,
    class_color,
    crops_panel,
    detections_panel,
    heat_panel,
    heated,
    labels_panel,
    letter,
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
    explained = tuple(Explained(row, "most confident true positive", heat, 3, 8) for row in range(min(1, len(boxes))))
    gray = np.full((*size, 3), 90, np.uint8)
    return Example("x.png", gray, detections, objects, match_detections(detections, objects), explained)


def has(panel, color):
    return bool((panel == np.array(color)).all(axis=2).any())


def test_detections_panel_uses_the_color_of_the_class():
    panel = detections_panel(example(boxes=[[20, 20, 60, 60]]), CLASSES)
    assert max(panel.shape) == IMAGE_SIDE
    assert has(panel, class_color(0))


def test_truth_panel_draws_missed_objects_in_red():
    box, other = [20, 20, 60, 60], [120, 20, 160, 60]
    assert not has(truth_panel(example(boxes=[box], truth=[box]), CLASSES), MISSED_COLOR)
    panel = truth_panel(example(boxes=[box], truth=[box, other]), CLASSES)
    assert has(panel, MISSED_COLOR)
    assert has(panel, class_color(0))


def test_truth_panel_draws_ignored_regions_in_gray():
    shown = example(truth=[[20, 20, 60, 60]])
    crowd = replace(shown.objects, iscrowd=np.array([True]))
    panel = truth_panel(shown._replace(objects=crowd, matching=match_detections(shown.detections, crowd)), CLASSES)
    assert has(panel, IGNORED_COLOR) and not has(panel, MISSED_COLOR)


def test_panels_without_boxes_are_the_image():
    nothing = example()
    assert (detections_panel(nothing, CLASSES) == 90).all()
    assert (truth_panel(nothing, CLASSES) == 90).all()


def test_heat_panel_at_the_edge_of_the_image_is_two_squares():
    at_the_edge = example(boxes=[[190, 0, 200, 10]])
    assert heat_panel(at_the_edge, at_the_edge.explained[0]).shape == (CROP_SIDE, 2 * CROP_SIDE, 3)


def test_heat_panel_of_an_image_of_one_pixel():
    tiny = example(boxes=[[0, 0, 1, 1]], size=(1, 1))
    assert heat_panel(tiny, tiny.explained[0]).shape[2] == 3


def test_heated_is_transparent_at_0_and_bright_at_1():
    image = np.zeros((1, 2, 3), np.uint8)
    view = heated(image, np.array([[0.0, 1.0]], np.float32))
    assert view[0, 0].tolist() == [0, 0, 0]
    assert view[0, 1].max() > 150


def test_letter_after_z_is_a1():
    assert [letter(i) for i in (0, 25, 26)] == ["A", "Z", "A1"]


def test_crops_panel_draws_the_ground_truth_on_the_left_crop_only():
    shown = example(truth=[[20, 20, 60, 60], [30, 30, 70, 70]])
    heat = np.zeros((100, 200), np.float32)
    panel = crops_panel(shown.image, heat, np.array([20, 20, 60, 60]), MISSED_COLOR, 128, shown.objects)
    assert panel.shape == (128, 256, 3)
    left, right = panel[:, :128], panel[:, 128:]
    assert has(left, GROUND_TRUTH_COLOR) and not has(right, GROUND_TRUTH_COLOR)
    assert has(left, MISSED_COLOR) and has(right, MISSED_COLOR)


def test_labels_panel_draws_detections_over_the_ground_truth():
    box = [20, 20, 60, 60]
    shown = example(boxes=[box], truth=[box, [120, 20, 160, 60]])
    panel = labels_panel(shown.image, shown.objects, shown.detections)
    assert max(panel.shape) == LABELS_SIDE
    assert has(panel, class_color(0)) and has(panel, GROUND_TRUTH_COLOR)
    # At the left edge of the box that both have.
    assert panel[96, 48].tolist() == list(class_color(0))

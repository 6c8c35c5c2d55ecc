import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from retinanet.data_report.coverage import AnchorSettings, TrainingBoxes, anchor_shapes, best_ious, coverage_by_class
from retinanet.data_report.coverage import training_boxes as boxes_at
from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.images.preprocess import InputSize
from retinanet.model.anchors import cell_anchors, level_anchors, octave_sizes
from retinanet.model.levels import LEVEL_STRIDES

USUAL = AnchorSettings((32, 64, 128, 256, 512), 3, (0.5, 1.0, 2.0))
ONE = AnchorSettings((32, 64, 128, 256, 512), 1, (1.0,))


def boxes(*xyxy, size=(128, 128)) -> TrainingBoxes:
    return TrainingBoxes(np.array(xyxy, float), np.tile(size, (len(xyxy), 1)), np.zeros(len(xyxy), int))


def test_best_iou_of_a_box_on_an_anchor_is_1():
    assert best_ious(boxes((16, 16, 48, 48)), ONE) == pytest.approx([1.0])


def test_best_iou_of_a_box_between_cells():
    """32 px wide, 4 px from the nearest of the centers that lie 8 apart: 28 / 36."""
    assert best_ious(boxes((20, 16, 52, 48)), ONE) == pytest.approx([28 / 36])


def test_best_iou_of_a_small_box_is_its_share_of_the_smallest_anchor():
    assert best_ious(boxes((28, 28, 36, 36)), ONE) == pytest.approx([64 / 1024])


@pytest.mark.parametrize("convention", ["exact", "torchvision"])
@pytest.mark.parametrize("size", [(128, 160), (352, 480), (608, 416)])
def test_best_ious_equal_those_with_all_anchors_of_the_model(convention, size):
    generator = np.random.default_rng(0)
    low = generator.uniform(0, 1, (60, 2)) * np.array(size)[::-1]
    high = np.minimum(low + generator.uniform(2, 200, (60, 2)), np.array(size)[::-1])
    random_boxes = boxes(*np.concatenate([low, high], axis=1), size=size)
    settings = USUAL._replace(convention=convention)
    anchors, grid = [], [side // 8 for side in size]
    for level, stride in enumerate(LEVEL_STRIDES):
        grid = [-(-side // 2) for side in grid] if level else grid
        cell = cell_anchors(octave_sizes(settings.sizes[level], 3, convention), list(settings.ratios), convention)
        anchors.append(level_anchors(cell, tuple(grid), stride, size, convention))
    best = box_iou(torch.from_numpy(random_boxes.xyxy).float(), torch.cat(anchors)).amax(dim=1)
    np.testing.assert_allclose(best_ious(random_boxes, settings), best.numpy(), atol=1e-5)


@pytest.mark.parametrize("convention", ["exact", "torchvision"])
def test_anchor_shapes_equal_the_models(convention):
    shapes = anchor_shapes(USUAL._replace(convention=convention))
    for level in range(5):
        cell = cell_anchors(octave_sizes(USUAL.sizes[level], 3, convention), list(USUAL.ratios), convention)
        np.testing.assert_allclose(shapes[level], (cell[:, 2:] - cell[:, :2]).numpy(), rtol=1e-6)


def test_training_boxes_are_scaled_and_exclude_ignored_regions():
    """An image 100 x 50 with its short side made 100: twice the size, padded to 128 x 224."""
    objects = Objects(np.array([[1, 2, 11, 22], [0, 0, 50, 50]], np.float32), np.array([1, 0]), np.array([False, True]))
    empty = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    images = (ImageInfo(1, "a", 100, 50), ImageInfo(2, "b", 10, 10))
    found = boxes_at(CocoDataset(images, ("cat", "dog"), (1, 2), {1: objects, 2: empty}), InputSize(100, 1000))
    assert found.xyxy.tolist() == [[2, 4, 22, 44]]
    assert found.input_sizes.tolist() == [[128, 224]]
    assert found.labels.tolist() == [1]


def test_coverage_without_boxes_is_empty():
    empty = boxes_at(CocoDataset((), ("cat",), (1,), {}), InputSize(100, 100))
    assert best_ious(empty, USUAL).shape == (0,)
    assert coverage_by_class(np.zeros(0), np.zeros(0, int), ["cat"]) == {}


def test_coverage_by_class_gives_shares_of_each_class():
    ious, labels = np.array([0.5, 0.45, 0.1, 0.9]), np.array([0, 0, 0, 2])
    assert coverage_by_class(ious, labels, ["cat", "dog", "cow"]) == {
        "cat": {"boxes": 3, "IoU 0.5": 0.3333, "IoU 0.4": 0.6667},
        "cow": {"boxes": 1, "IoU 0.5": 1.0, "IoU 0.4": 1.0},
    }

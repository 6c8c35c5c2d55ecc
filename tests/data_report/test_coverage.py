import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from retinanet.data_report.coverage import AnchorSettings, TrainingBoxes, anchor_shapes, best_ious, coverage_by_class
from retinanet.data_report.coverage import training_boxes as boxes_at
from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.images.preprocess import InputSize
from retinanet.model.anchors import cell_anchors, level_anchors, level_sizes
from retinanet.model.levels import LEVEL_STRIDES

USUAL = AnchorSettings((32, 64, 128, 256, 512), 3, (0.5, 1.0, 2.0))
ONE = AnchorSettings((32, 64, 128, 256, 512), 1, (1.0,))


def boxes(*xyxy, size=(128, 128)) -> TrainingBoxes:
    return TrainingBoxes(np.array(xyxy, float), np.tile(size, (len(xyxy), 1)), np.zeros(len(xyxy), int))


def test_a_box_on_an_anchor_has_iou_1():
    assert best_ious(boxes((16, 16, 48, 48)), ONE) == pytest.approx([1.0])


def test_a_box_between_the_cells_has_less():
    """32 px wide, 4 px from the nearest of the centers that lie 8 apart: 28 / 36."""
    assert best_ious(boxes((20, 16, 52, 48)), ONE) == pytest.approx([28 / 36])


def test_a_small_box_is_a_small_share_of_the_smallest_anchor():
    assert best_ious(boxes((28, 28, 36, 36)), ONE) == pytest.approx([64 / 1024])


@pytest.mark.parametrize("convention", ["exact", "torchvision"])
@pytest.mark.parametrize("size", [(128, 160), (352, 480), (608, 416)])
def test_the_best_is_that_of_all_the_models_anchors(convention, size):
    generator = np.random.default_rng(0)
    low = generator.uniform(0, 1, (60, 2)) * np.array(size)[::-1]
    high = np.minimum(low + generator.uniform(2, 200, (60, 2)), np.array(size)[::-1])
    some = boxes(*np.concatenate([low, high], axis=1), size=size)
    settings = USUAL._replace(convention=convention)
    everything, grid = [], [side // 8 for side in size]
    for level, stride in enumerate(LEVEL_STRIDES):
        grid = [-(-side // 2) for side in grid] if level else grid
        cell = cell_anchors(level_sizes(settings.sizes[level], 3, convention), list(settings.ratios), convention)
        everything.append(level_anchors(cell, tuple(grid), stride, size, convention))
    best = box_iou(torch.from_numpy(some.xyxy).float(), torch.cat(everything)).amax(dim=1)
    np.testing.assert_allclose(best_ious(some, settings), best.numpy(), atol=1e-5)


@pytest.mark.parametrize("convention", ["exact", "torchvision"])
def test_shapes_are_the_models(convention):
    shapes = anchor_shapes(USUAL._replace(convention=convention))
    for level in range(5):
        cell = cell_anchors(level_sizes(USUAL.sizes[level], 3, convention), list(USUAL.ratios), convention)
        np.testing.assert_allclose(shapes[level], (cell[:, 2:] - cell[:, :2]).numpy(), rtol=1e-6)


def test_boxes_are_taken_at_the_training_size_and_crowds_left_out():
    """An image 100 x 50 with its short side made 100: twice the size, padded to 128 x 224."""
    objects = Objects(np.array([[1, 2, 11, 22], [0, 0, 50, 50]], np.float32), np.array([1, 0]), np.array([False, True]))
    none = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    images = (ImageInfo(1, "a", 100, 50), ImageInfo(2, "b", 10, 10))
    found = boxes_at(CocoDataset(images, ("cat", "dog"), (1, 2), {1: objects, 2: none}), InputSize(100, 1000))
    assert found.xyxy.tolist() == [[2, 4, 22, 44]]
    assert found.input_sizes.tolist() == [[128, 224]]
    assert found.labels.tolist() == [1]


def test_no_boxes_at_all():
    empty = boxes_at(CocoDataset((), ("cat",), (1,), {}), InputSize(100, 100))
    assert best_ious(empty, USUAL).shape == (0,)
    assert coverage_by_class(np.zeros(0), np.zeros(0, int), ["cat"]) == {}


def test_coverage_counts_each_class():
    ious, labels = np.array([0.5, 0.45, 0.1, 0.9]), np.array([0, 0, 0, 2])
    assert coverage_by_class(ious, labels, ["cat", "dog", "cow"]) == {
        "cat": {"boxes": 3, "IoU 0.5": 0.3333, "IoU 0.4": 0.6667},
        "cow": {"boxes": 1, "IoU 0.5": 1.0, "IoU 0.4": 1.0},
    }

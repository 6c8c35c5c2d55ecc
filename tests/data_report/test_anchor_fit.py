import numpy as np
import pytest

from retinanet.data_report.anchor_fit import fit_anchors, kmeans_on_iou
from retinanet.data_report.coverage import AnchorSettings, TrainingBoxes, best_ious

USUAL = AnchorSettings((32, 64, 128, 256, 512), 3, (0.5, 1.0, 2.0))


def boxes(shapes: np.ndarray, labels=None) -> TrainingBoxes:
    """Boxes of these widths and heights, anywhere on an image 640 x 640."""
    low = np.random.default_rng(0).uniform(0, 1, shapes.shape) * (640 - shapes)
    labels = np.zeros(len(shapes), int) if labels is None else labels
    return TrainingBoxes(np.concatenate([low, low + shapes], axis=1), np.full((len(shapes), 2), 640), labels)


def shapes_like(width: float, height: float, count: int = 200) -> np.ndarray:
    return np.array([width, height]) * np.random.default_rng(1).uniform(0.8, 1.25, (count, 2))


def test_kmeans_finds_the_clusters():
    centers, shares = kmeans_on_iou(np.concatenate([shapes_like(10, 10, 300), shapes_like(100, 200, 100)]), 2)
    np.testing.assert_allclose(centers, [[10, 10], [100, 200]], rtol=0.1)
    assert shares == pytest.approx([0.75, 0.25])


def test_kmeans_of_one_shape_is_one_cluster():
    centers, shares = kmeans_on_iou(np.full((50, 2), 20.0), 9)
    assert centers == pytest.approx(np.array([[20.0, 20.0]]))
    assert shares.tolist() == [1.0]


def test_fit_anchors_keeps_anchors_that_fit():
    fitting = np.concatenate([shapes_like(60, 60), shapes_like(90, 180), shapes_like(180, 90)])
    assert fit_anchors(boxes(fitting), USUAL) == USUAL


def test_fit_anchors_to_small_objects_decreases_sizes():
    small = boxes(shapes_like(14, 14))
    fitted = fit_anchors(small, USUAL)
    assert fitted.sizes[0] < 20 and fitted.ratios == USUAL.ratios
    assert (best_ious(small, USUAL) >= 0.5).mean() < 0.1
    assert (best_ious(small, fitted) >= 0.5).mean() > 0.75


def test_fit_anchors_to_long_objects_increases_ratios():
    long = boxes(shapes_like(20, 200))
    fitted = fit_anchors(long, USUAL)
    assert min(fitted.ratios) > 5 and max(fitted.ratios) < 20
    assert (best_ious(long, fitted) >= 0.5).mean() > (best_ious(long, USUAL) >= 0.5).mean() + 0.3


def test_fit_anchors_weights_classes_equally():
    shapes = np.concatenate([shapes_like(100, 100, 2000), shapes_like(12, 12, 40)])
    fitting = boxes(shapes, np.array([0] * 2000 + [1] * 40))
    assert fit_anchors(fitting, USUAL).sizes[0] < 20


def test_fit_anchors_without_boxes_changes_nothing():
    assert fit_anchors(boxes(np.zeros((0, 2))), USUAL) == USUAL


def test_fit_anchors_returns_at_most_as_many_ratios():
    wild = np.random.default_rng(2).uniform(5, 300, (500, 2))
    for ratios in ((1.0,), (0.5, 1.0, 2.0)):
        assert len(fit_anchors(boxes(wild), USUAL._replace(ratios=ratios)).ratios) <= len(ratios)

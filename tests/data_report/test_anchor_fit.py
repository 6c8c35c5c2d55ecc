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


def cam_to_image(width: float, height: float, count: int = 200) -> np.ndarray:
    return np.array([width, height]) * np.random.default_rng(1).uniform(0.8, 1.25, (count, 2))


def test_clusters_are_those_that_are_there():
    centers, shares = kmeans_on_iou(np.concatenate([cam_to_image(10, 10, 300), cam_to_image(100, 200, 100)]), 2)
    np.testing.assert_allclose(centers, [[10, 10], [100, 200]], rtol=0.1)
    assert shares == pytest.approx([0.75, 0.25])


def test_one_shape_is_one_cluster():
    centers, shares = kmeans_on_iou(np.full((50, 2), 20.0), 9)
    assert centers == pytest.approx(np.array([[20.0, 20.0]]))
    assert shares.tolist() == [1.0]


def test_anchors_that_fit_stay():
    some = np.concatenate([cam_to_image(60, 60), cam_to_image(90, 180), cam_to_image(180, 90)])
    assert fit_anchors(boxes(some), USUAL) == USUAL


def test_small_objects_get_small_sizes():
    small = boxes(cam_to_image(14, 14))
    fitted = fit_anchors(small, USUAL)
    assert fitted.sizes[0] < 20 and fitted.ratios == USUAL.ratios
    assert (best_ious(small, USUAL) >= 0.5).mean() < 0.1
    assert (best_ious(small, fitted) >= 0.5).mean() > 0.75


def test_long_objects_get_long_ratios():
    long = boxes(cam_to_image(20, 200))
    fitted = fit_anchors(long, USUAL)
    assert min(fitted.ratios) > 5 and max(fitted.ratios) < 20
    assert (best_ious(long, fitted) >= 0.5).mean() > (best_ious(long, USUAL) >= 0.5).mean() + 0.3


def test_a_rare_class_counts_as_much_as_a_common_one():
    shapes = np.concatenate([cam_to_image(100, 100, 2000), cam_to_image(12, 12, 40)])
    some = boxes(shapes, np.array([0] * 2000 + [1] * 40))
    assert fit_anchors(some, USUAL).sizes[0] < 20


def test_no_boxes_no_change():
    assert fit_anchors(boxes(np.zeros((0, 2))), USUAL) == USUAL


def test_as_many_ratios_as_before_at_most():
    wild = np.random.default_rng(2).uniform(5, 300, (500, 2))
    for ratios in ((1.0,), (0.5, 1.0, 2.0)):
        assert len(fit_anchors(boxes(wild), USUAL._replace(ratios=ratios)).ratios) <= len(ratios)

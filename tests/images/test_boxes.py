import numpy as np
import torch
from torchvision.ops import box_iou

from retinanet.images.boxes import iou, share_inside


def random_boxes(seed: int, count: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    low = generator.uniform(0, 100, (count, 2))
    return np.concatenate([low, low + generator.uniform(1, 60, (count, 2))], axis=1).astype(np.float32)


def test_iou_broadcasts_to_all_pairs_and_equals_torchvision():
    a, b = random_boxes(0, 30), random_boxes(1, 20)
    expected = box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    np.testing.assert_allclose(iou(a[:, None], b), expected, atol=1e-6)


def test_iou_and_share_of_empty_boxes_are_zero():
    empty, box = np.zeros((1, 4)), np.array([[0.0, 0, 10, 10]])
    assert iou(empty, empty).tolist() == iou(empty, box).tolist() == share_inside(empty, box).tolist() == [0]


def test_no_boxes_have_no_overlaps():
    assert iou(np.zeros((0, 1, 4)), random_boxes(0, 3)).shape == (0, 3)


def test_share_inside_is_of_the_first_box():
    small, large = np.array([0.0, 0, 10, 10]), np.array([5.0, 0, 105, 100])
    assert share_inside(small, large) == 0.5
    assert share_inside(large, small) == 0.005

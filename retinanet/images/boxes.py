"""Overlaps of boxes in NumPy; retinanet.model.boxes has those of tensors.

Boxes are (..., 4) xyxy. Leading dimensions broadcast: iou(a[:, None], b) of a (A, 4) and b (B, 4) is (A, B).
"""

import numpy as np


def intersection(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """The area that each pair of boxes shares."""
    low = np.maximum(a_xyxy[..., :2], b_xyxy[..., :2])
    high = np.minimum(a_xyxy[..., 2:], b_xyxy[..., 2:])
    return (high - low).clip(0).prod(axis=-1)


def areas(boxes_xyxy: np.ndarray) -> np.ndarray:
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).prod(axis=-1)


def iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Intersection over union of each pair; 0 if both boxes are empty."""
    shared = intersection(a_xyxy, b_xyxy)
    return _ratio(shared, areas(a_xyxy) + areas(b_xyxy) - shared)


def share_inside(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """The share of each box of a that lies in its box of b; 0 if the box of a is empty."""
    shared = intersection(a_xyxy, b_xyxy)
    return _ratio(shared, np.broadcast_to(areas(a_xyxy), shared.shape))


def _ratio(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.divide(part, total, out=np.zeros_like(part), where=total > 0)

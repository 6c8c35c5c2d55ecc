"""Boxes: their coding as deltas to anchors, clipping, and overlaps."""

import math

import torch
from torch import Tensor

# A box is at most 1000 / 16 times as large as its anchor, so that exp() of an untrained output stays finite.
MAX_LOG_SCALE = math.log(1000 / 16)
# Pixels. Clipping turns a box outside the image into a line, which is not a detection.
MIN_SIDE = 1.0


def encode(boxes_xyxy: Tensor, anchors_xyxy: Tensor) -> Tensor:
    """(..., 4) deltas (dx, dy in anchor sides, log dw, log dh) that turn each anchor into its box."""
    anchor_center, anchor_size = _center_size(anchors_xyxy)
    center, size = _center_size(boxes_xyxy)
    return torch.cat([(center - anchor_center) / anchor_size, torch.log(size / anchor_size)], dim=-1)


def decode(deltas: Tensor, anchors_xyxy: Tensor) -> Tensor:
    """(..., 4) boxes xyxy, the inverse of `encode`; log scales are clamped at log(1000 / 16)."""
    center, size = _center_size(anchors_xyxy)
    center = center + deltas[..., :2] * size
    half = torch.exp(deltas[..., 2:].clamp(max=MAX_LOG_SCALE)) * size / 2
    return torch.cat([center - half, center + half], dim=-1)


def clip(boxes_xyxy: Tensor, sizes_hw: Tensor) -> Tensor:
    """Boxes (..., 4) clipped to images of (height, width), broadcast over the leading dimensions."""
    limits = sizes_hw.flip(-1)  # (w, h)
    return torch.minimum(boxes_xyxy.clamp(min=0), torch.cat([limits, limits], dim=-1).to(boxes_xyxy))


def have_area(boxes_xyxy: Tensor) -> Tensor:
    """(...) bool: both sides of each of (..., 4) boxes are at least MIN_SIDE pixels."""
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2] >= MIN_SIDE).all(dim=-1)


def pairwise_iou(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """(G, R) intersection over union of (G, 4) and (R, 4); two empty boxes have 0."""
    overlap = _overlap(a_xyxy, b_xyxy)
    return _ratio(overlap, _area(a_xyxy)[:, None] + _area(b_xyxy) - overlap)


def pairwise_share_inside(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """(G, R) intersection over the first box's area, of (G, 4) and (R, 4); an empty first box has 0."""
    return _ratio(_overlap(a_xyxy, b_xyxy), _area(a_xyxy)[:, None])


def _overlap(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    # One coordinate at a time: (G, R) tensors instead of (G, R, 2) halve the memory traffic.
    ax1, ay1, ax2, ay2 = a_xyxy[:, None].unbind(-1)
    bx1, by1, bx2, by2 = b_xyxy[None].unbind(-1)
    width = (torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)).clamp_(min=0)
    height = (torch.minimum(ay2, by2) - torch.maximum(ay1, by1)).clamp_(min=0)
    return width * height


def _area(boxes_xyxy: Tensor) -> Tensor:
    x1, y1, x2, y2 = boxes_xyxy.unbind(-1)
    return (x2 - x1) * (y2 - y1)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return part / whole.clamp(min=torch.finfo(whole.dtype).tiny)


def _center_size(boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    size = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    return boxes_xyxy[..., :2] + size / 2, size

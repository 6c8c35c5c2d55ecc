"""Match anchors to the objects that they are trained to predict."""

from collections.abc import Sequence

import torch
from torch import Tensor

from retinanet.model.boxes import pairwise_iou, pairwise_share_inside

BACKGROUND, IGNORE = -1, -2
BACKGROUND_IOU, FOREGROUND_IOU = 0.4, 0.5


def match_images(anchors: Tensor, gt_boxes: Sequence[Tensor], crowds: Sequence[Tensor] | None = None) -> Tensor:
    """match_anchors for N images: (N, R) int64. gt_boxes has N tensors (G, 4), crowds N tensors (C, 4)."""
    regions: Sequence[Tensor | None] = crowds or [None] * len(gt_boxes)
    return torch.stack([match_anchors(anchors, *targets) for targets in zip(gt_boxes, regions, strict=True)])


def match_anchors(anchors: Tensor, gt_boxes: Tensor, crowds: Tensor | None = None) -> Tensor:
    """Assign each anchor an object, background, or neither.

    anchors (R, 4), gt_boxes (G, 4) and crowds (C, 4) are xyxy in pixels. Returns (R,) int64: the row of gt_boxes
    to predict, BACKGROUND (best IoU under BACKGROUND_IOU) or IGNORE: best IoU between that and FOREGROUND_IOU, or
    background with a share of at least FOREGROUND_IOU inside a crowd, at which COCO's evaluation ignores detections.
    The anchors with the highest IoU of an object predict their own best object at any IoU above 0.
    """
    matched = _match_objects(anchors, gt_boxes)
    if crowds is not None and len(crowds):
        in_crowd = pairwise_share_inside(anchors, crowds).amax(dim=1) >= FOREGROUND_IOU
        matched[in_crowd & (matched == BACKGROUND)] = IGNORE
    return matched


def _match_objects(anchors: Tensor, gt_boxes: Tensor) -> Tensor:
    if len(gt_boxes) == 0:
        return torch.full((len(anchors),), BACKGROUND, device=anchors.device)
    iou = pairwise_iou(gt_boxes, anchors)  # (G, R)
    best_iou, best_object = iou.max(dim=0)
    matched = best_object.clone()
    matched[best_iou < FOREGROUND_IOU] = IGNORE
    matched[best_iou < BACKGROUND_IOU] = BACKGROUND
    # An object that overlaps no anchor has a maximum of 0, which all anchors share: it gets none.
    nearest = ((iou == iou.max(dim=1, keepdim=True).values) & (iou > 0)).any(dim=0)
    matched[nearest] = best_object[nearest]
    return matched

"""Decode logits and deltas to detections: threshold, best candidates of each level, NMS by class."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from retinanet.model import boxes as box_ops


class Decoded(NamedTuple):
    """One image's D detections, best first: boxes_xyxy (D, 4) in input pixels, scores (D,), labels (D,), and
    anchor_index (D,), the row of the anchor of each."""

    boxes_xyxy: Tensor
    scores: Tensor
    labels: Tensor
    anchor_index: Tensor


def decode(
    logits: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    anchors_per_level: list[int],
    image_sizes: list[tuple[int, int]],
    score_threshold: float,
    nms_iou: float,
    candidates_per_level: int,
    detections_per_image: int,
) -> list[Decoded]:
    """Detections of each of N images.

    logits (N, R, K), deltas (N, R, 4), anchors (R, 4); anchors_per_level: how many of the R anchors each level has;
    image_sizes: (height, width) inside the padding, to which boxes are clipped; boxes then narrower or lower than a
    pixel are dropped. A score must exceed the threshold: 1 keeps nothing.
    """
    return [
        _decode_image(
            logits[i],
            deltas[i],
            anchors,
            anchors_per_level,
            image_sizes[i],
            score_threshold,
            nms_iou,
            candidates_per_level,
            detections_per_image,
        )
        for i in range(len(logits))
    ]


def _decode_image(
    logits: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    anchors_per_level: list[int],
    image_size: tuple[int, int],
    score_threshold: float,
    nms_iou: float,
    candidates_per_level: int,
    detections_per_image: int,
) -> Decoded:
    K = logits.shape[1]
    # Threshold the logits: a sigmoid of the few that pass is cheaper than of all.
    threshold = _logit(score_threshold)
    candidates = []
    first = 0
    for level, count in zip(logits.split(anchors_per_level), anchors_per_level, strict=True):
        flat = level.flatten()
        passed = torch.nonzero(flat > threshold).squeeze(1)
        if len(passed) > candidates_per_level:
            passed = passed[flat[passed].topk(candidates_per_level).indices]
        candidates.append(passed + first * K)
        first += count
    chosen = torch.cat(candidates)
    anchor_index, labels = chosen // K, chosen % K
    scores = torch.sigmoid(logits.flatten()[chosen].float())
    boxes = box_ops.decode(deltas[anchor_index].float(), anchors[anchor_index])
    boxes = box_ops.clip(boxes, torch.tensor(image_size, device=boxes.device))
    inside = box_ops.have_area(boxes)
    boxes, scores, labels, anchor_index = boxes[inside], scores[inside], labels[inside], anchor_index[inside]
    keep = batched_nms(boxes, scores, labels, nms_iou)[:detections_per_image]
    return Decoded(boxes[keep], scores[keep], labels[keep], anchor_index[keep])


def _logit(probability: float) -> float:
    if probability >= 1:
        return math.inf
    return math.log(probability / (1 - probability)) if probability > 0 else -math.inf

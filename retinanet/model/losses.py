"""Focal loss on classes and a box loss on the anchors that have an object (Lin et al. 2017)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from retinanet.model.boxes import decode, encode
from retinanet.model.matching import IGNORE, match_anchors

ALPHA, GAMMA = 0.25, 2


class Losses(NamedTuple):
    """Scalars, in the graph."""

    classification: Tensor
    box: Tensor


def detection_losses(
    logits: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    gt_boxes: list[Tensor],
    gt_labels: list[Tensor],
    box_loss: str = "l1",
    normaliser: str = "image",
    mean_over_processes: Callable[[Tensor], Tensor] = lambda count: count,
) -> Losses:
    """Compare a batch of predictions with its objects, in float32 whatever came in.

    logits (N, R, K), deltas (N, R, 4), anchors (R, 4); gt_boxes N times (G, 4) xyxy and gt_labels
    N times (G,), G may be 0. Sums are divided by the number of matched anchors, at least 1: of each
    image, then averaged over the images ("image", as torchvision), or of the whole batch ("batch"), which several
    processes may share.
    """
    logits, deltas = logits.float(), deltas.float()
    N = len(logits)
    matched = torch.stack([match_anchors(anchors, boxes) for boxes in gt_boxes])  # (N, R)
    image, anchor = torch.nonzero(matched >= 0, as_tuple=True)  # of the F foreground anchors
    counts = (matched >= 0).sum(dim=1).clamp(min=1)
    weights = 1 / (N * counts) if normaliser == "image" else (1 / mean_over_processes(counts.sum())).expand(N)

    offsets = torch.tensor([0, *(len(boxes) for boxes in gt_boxes)], device=logits.device).cumsum(0)
    row = matched[image, anchor] + offsets[image]
    labels, boxes = torch.cat(gt_labels)[row], torch.cat(gt_boxes)[row].to(deltas)

    classification = focal_loss(logits, matched == IGNORE, image, anchor, labels)
    per_box = BOX_LOSSES[box_loss](deltas[image, anchor], anchors[anchor], boxes)
    return Losses((classification * weights).sum(), (per_box * weights[image]).sum())


def focal_loss(logits: Tensor, ignored: Tensor, image: Tensor, anchor: Tensor, labels: Tensor) -> Tensor:
    """(N,) sums over each image's anchors and classes of -alpha_t (1 - p_t)^gamma log p_t.

    logits (N, R, K), ignored (N, R); image, anchor and labels (F,) name the foreground entries.
    """
    # Nearly every entry is background: take all as such in one pass, then put the few others right.
    background = (_background_term(logits).sum(dim=2) * ~ignored).sum(dim=1)
    chosen = logits[image, anchor, labels]
    foreground = ALPHA * torch.sigmoid(-chosen) ** GAMMA * F.softplus(-chosen)
    return background.index_add(0, image, foreground - _background_term(chosen))


def l1_loss(deltas: Tensor, anchors: Tensor, boxes: Tensor) -> Tensor:
    """(F,) sums of the four absolute differences to the deltas that would be right."""
    return (deltas - encode(boxes, anchors)).abs().sum(dim=1)


def giou_loss(deltas: Tensor, anchors: Tensor, boxes: Tensor) -> Tensor:
    """(F,) 1 - generalised IoU of the decoded boxes."""
    return generalized_box_iou_loss(decode(deltas, anchors), boxes, eps=1e-7)


BOX_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"l1": l1_loss, "giou": giou_loss}


def _background_term(logits: Tensor) -> Tensor:
    return (1 - ALPHA) * torch.sigmoid(logits) ** GAMMA * F.softplus(logits)

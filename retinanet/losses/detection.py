"""Focal loss on classes and a box loss on the anchors that have an object (Lin et al. 2017)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from retinanet.losses.matching import IGNORE
from retinanet.model.boxes import decode, encode

ALPHA, GAMMA = 0.25, 2


class Losses(NamedTuple):
    """Scalars, in the graph."""

    classification: Tensor
    box: Tensor


@dataclass(frozen=True)
class DetectionLoss:
    """The loss with its parameters.

    box_loss is a key of BOX_LOSSES, box_parameters its parameters by name, box_weight its weight in the total.
    class_weights (K,) multiply each class's part of the classification loss; None is 1 for all.
    """

    box_loss: str = "l1"
    box_parameters: Mapping[str, float] = field(default_factory=dict)
    box_weight: float = 1.0
    class_weights: Tensor | None = None

    def __call__(
        self,
        logits: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        matched: Tensor,
        divisors: Tensor,
        gt_boxes: Sequence[Tensor],
        gt_labels: Sequence[Tensor],
    ) -> Losses:
        """Compare a batch of predictions with its objects, in float32 whatever came in.

        logits (N, R, K), deltas (N, R, 4), anchors (R, 4), matched (N, R) as match_images returns it; gt_boxes N times
        (G, 4) xyxy and gt_labels N times (G,), G may be 0. Each image's sums are divided by its own of divisors (N,).
        """
        logits, deltas = logits.float(), deltas.float()
        image, anchor = torch.nonzero(matched >= 0, as_tuple=True)  # of the F foreground anchors
        offsets = torch.tensor([0, *(len(boxes) for boxes in gt_boxes)], device=logits.device).cumsum(0)
        row = matched[image, anchor] + offsets[image]
        labels, boxes = torch.cat([*gt_labels])[row], torch.cat([*gt_boxes])[row].to(deltas)

        classification = focal_loss(logits, matched == IGNORE, image, anchor, labels, self.class_weights)
        per_box = BOX_LOSSES[self.box_loss](deltas[image, anchor], anchors[anchor], boxes, **self.box_parameters)
        return Losses((classification / divisors).sum(), (per_box / divisors[image]).sum())

    def total(self, losses: Losses) -> Tensor:
        """The scalar to minimize."""
        return losses.classification + self.box_weight * losses.box


def count_foreground(matched: Tensor) -> Tensor:
    """(N,) how many anchors of each image have an object."""
    return (matched >= 0).sum(dim=1)


def image_divisors(matched: Tensor) -> Tensor:
    """(N,) that make the losses torchvision's: of each image over its foreground, at least 1, and of these the mean."""
    return len(matched) * count_foreground(matched).clamp(min=1)


def focal_loss(
    logits: Tensor,
    ignored: Tensor,
    image: Tensor,
    anchor: Tensor,
    labels: Tensor,
    class_weights: Tensor | None = None,
) -> Tensor:
    """(N,) sums over each image's anchors and classes of -alpha_t (1 - p_t)^gamma log p_t, times the class's weight.

    logits (N, R, K), ignored (N, R); image, anchor and labels (F,) name the foreground entries; class_weights (K,).
    """
    # Nearly every entry is background: take all as such in one pass, then put the few others right.
    each = _background_term(logits)  # (N, R, K)
    by_anchor = each.sum(dim=2) if class_weights is None else each @ class_weights
    background = (by_anchor * ~ignored).sum(dim=1)
    chosen = logits[image, anchor, labels]
    change = ALPHA * torch.sigmoid(-chosen) ** GAMMA * F.softplus(-chosen) - _background_term(chosen)
    if class_weights is not None:
        change = change * class_weights[labels]
    return background.index_add(0, image, change)


def l1_loss(deltas: Tensor, anchors: Tensor, boxes: Tensor) -> Tensor:
    """(F,) sums of the four absolute differences to the deltas that would be right."""
    return (deltas - encode(boxes, anchors)).abs().sum(dim=1)


def smooth_l1_loss(deltas: Tensor, anchors: Tensor, boxes: Tensor, beta: float) -> Tensor:
    """(F,) as l1_loss, where a difference d under beta counts d^2 / (2 beta) and another d - beta / 2; beta 0 is L1."""
    return F.smooth_l1_loss(deltas, encode(boxes, anchors), reduction="none", beta=beta).sum(dim=1)


def giou_loss(deltas: Tensor, anchors: Tensor, boxes: Tensor) -> Tensor:
    """(F,) 1 - generalized IoU of the decoded boxes."""
    return generalized_box_iou_loss(decode(deltas, anchors), boxes, eps=1e-7)


# Each takes deltas, anchors and boxes (F, 4), and its parameters by name. To add one: an entry here, its parameters in
# retinanet/config/training.py, and a test.
BOX_LOSSES: dict[str, Callable[..., Tensor]] = {"l1": l1_loss, "smooth_l1": smooth_l1_loss, "giou": giou_loss}


def _background_term(logits: Tensor) -> Tensor:
    return (1 - ALPHA) * torch.sigmoid(logits) ** GAMMA * F.softplus(logits)

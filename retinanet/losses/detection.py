"""Focal loss on classes and a box loss on foreground anchors (Lin et al. 2017)."""

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
    """Differentiable scalars."""

    classification: Tensor
    box: Tensor


@dataclass(frozen=True)
class DetectionLoss:
    """The loss with its parameters.

    box_loss is a key of BOX_LOSSES, box_parameters its parameters by name, box_weight its weight in the total.
    class_weights (K,) multiply the classification loss of each class; None is 1 for all.
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
        """The losses of a batch, computed in float32 for inputs of any type.

        logits (N, R, K), deltas (N, R, 4), anchors (R, 4), matched (N, R) as match_images returns it; gt_boxes has N
        tensors (G, 4) xyxy and gt_labels N tensors (G,), G may be 0. The sums of image i are divided by divisors[i].
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
    """(N,) number of foreground anchors of each image."""
    return (matched >= 0).sum(dim=1)


def image_divisors(matched: Tensor) -> Tensor:
    """(N,) divisors of torchvision's losses: the mean over images of sums over max(1, foreground anchors)."""
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
    # Nearly every entry is background: compute all as background in one pass, then correct the others.
    background_terms = _background_term(logits)  # (N, R, K)
    by_anchor = background_terms.sum(dim=2) if class_weights is None else background_terms @ class_weights
    background = (by_anchor * ~ignored).sum(dim=1)
    foreground = logits[image, anchor, labels]
    change = ALPHA * torch.sigmoid(-foreground) ** GAMMA * F.softplus(-foreground) - _background_term(foreground)
    if class_weights is not None:
        change = change * class_weights[labels]
    return background.index_add(0, image, change)


def l1_loss(deltas: Tensor, anchors: Tensor, boxes: Tensor) -> Tensor:
    """(F,) sums of absolute differences between predicted and target deltas."""
    return (deltas - encode(boxes, anchors)).abs().sum(dim=1)


def smooth_l1_loss(deltas: Tensor, anchors: Tensor, boxes: Tensor, beta: float) -> Tensor:
    """(F,) sums of d^2 / (2 beta) for differences d under beta and d - beta / 2 for others; beta 0 is L1."""
    return F.smooth_l1_loss(deltas, encode(boxes, anchors), reduction="none", beta=beta).sum(dim=1)


def giou_loss(deltas: Tensor, anchors: Tensor, boxes: Tensor) -> Tensor:
    """(F,) 1 - generalized IoU of the decoded boxes."""
    return generalized_box_iou_loss(decode(deltas, anchors), boxes, eps=1e-7)


# Each takes deltas, anchors and boxes (F, 4), and its parameters by name. To add one: an entry here, its parameters in
# retinanet/config/training.py, and a test.
BOX_LOSSES: dict[str, Callable[..., Tensor]] = {"l1": l1_loss, "smooth_l1": smooth_l1_loss, "giou": giou_loss}


def _background_term(logits: Tensor) -> Tensor:
    return (1 - ALPHA) * torch.sigmoid(logits) ** GAMMA * F.softplus(logits)

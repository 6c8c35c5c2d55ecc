"""Class activation maps of a detector: which cells of a pyramid map raise one anchor's score.

Each method is a function (activations (C, H, W), gradients (C, H, W), cell) -> (H, W): the activations are the input of
the classification subnet at the anchor's level, the gradients those of the anchor's score, and the anchor is in the
cell (row, column).

Gradient times activation, cell by cell (HiResCAM), is the default: Grad-CAM averages each channel's gradient over the
map before it multiplies, which fits one score of a complete image. An anchor's score depends on a few cells only, and
averaged gradients also highlight cells that do not affect it. docs/explanation.md compares the methods.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from retinanet.model.levels import FIRST_LEVEL
from retinanet.model.retinanet import RetinaNet

Cell = tuple[int, int]
Method = Callable[[Tensor, Tensor, Cell], Tensor]


class Forward(NamedTuple):
    """The network's pass over one image: maps (1, C, H_l, W_l) of each level, logits (R, K), deltas (R, 4).

    Gradients of the logits reach the maps, and end there.
    """

    maps: list[Tensor]
    logits: Tensor
    deltas: Tensor


class Heat(NamedTuple):
    """A heat map (H_l, W_l) float32 in 0..1 over pyramid level P`level`; the anchor is in cell (row, column)."""

    cells: np.ndarray
    level: int
    row: int
    column: int


def run_forward(model: RetinaNet, image: Tensor) -> Forward:
    """Apply a model in eval mode to one normalized image (1, 3, H, W)."""
    with torch.no_grad():
        features = model.features(image)
    maps = [feature.detach().requires_grad_() for feature in features]
    logits, deltas = model.heads(maps)
    return Forward(maps, logits[0], deltas[0].detach())


def heat_maps(
    forward: Forward, targets: Sequence[tuple[int, int]], anchors_per_cell: int, method: Method
) -> list[Heat]:
    """The heat map of each target (anchor_index, label), scaled to a maximum of 1; all 0 if no cell is highlighted."""
    grid_sizes = [(m.shape[-2], m.shape[-1]) for m in forward.maps]
    heats = []
    for anchor_index, label in targets:
        level, row, column = anchor_cell(anchor_index, grid_sizes, anchors_per_cell)
        activations = forward.maps[level]
        (gradients,) = torch.autograd.grad(forward.logits[anchor_index, label], activations, retain_graph=True)
        heat = method(activations[0].detach(), gradients[0], (row, column)).relu()
        heat = heat / heat.max().clamp(min=torch.finfo(heat.dtype).tiny)
        heats.append(Heat(heat.float().cpu().numpy(), level + FIRST_LEVEL, row, column))
    return heats


def hirescam(activations: Tensor, gradients: Tensor, cell: Cell) -> Tensor:
    """Draelos and Carin 2020: the sum over channels of gradient times activation."""
    return (gradients * activations).sum(dim=0)


def gradcam(activations: Tensor, gradients: Tensor, cell: Cell) -> Tensor:
    """Selvaraju et al. 2017: channels weighted by the mean of their gradient."""
    return (gradients.mean(dim=(1, 2), keepdim=True) * activations).sum(dim=0)


def gradcam_plus_plus(activations: Tensor, gradients: Tensor, cell: Cell) -> Tensor:
    """Chattopadhay et al. 2018: channels weighted by their positive gradients, each with a weight of its own."""
    squares = gradients**2
    total = activations.sum(dim=(1, 2), keepdim=True)
    denominators = 2 * squares + total * squares * gradients
    shares = torch.where(denominators == 0, 0, squares / torch.where(denominators == 0, 1, denominators))
    return ((shares * gradients.relu()).sum(dim=(1, 2), keepdim=True) * activations).sum(dim=0)


def eigencam(activations: Tensor, gradients: Tensor, cell: Cell) -> Tensor:
    """Muhammad and Yeasin 2020: the projection of the activations on their first principal component.

    It does not depend on the class, nor on the anchor beyond its level: of the two signs that a component may have, the
    one that highlights the anchor's cell is taken.
    """
    rows = activations.flatten(1).T.double()  # (H * W, C)
    rows = rows - rows.mean(dim=0)
    # The eigenvectors of a C x C matrix: H * W may be thousands.
    component = torch.linalg.eigh(rows.T @ rows).eigenvectors[:, -1]
    projection = (rows @ component).reshape(activations.shape[1:]).to(activations.dtype)
    return projection * torch.where(projection[cell] < 0, -1, 1)


# Choices of gradcam.method.
METHODS: dict[str, Method] = {
    "hirescam": hirescam,
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "eigencam": eigencam,
}
METHOD_NAMES = {"hirescam": "HiResCAM", "gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++", "eigencam": "EigenCAM"}


def anchor_cell(
    anchor_index: int, grid_sizes: Sequence[tuple[int, int]], anchors_per_cell: int
) -> tuple[int, int, int]:
    """The (level, row, column) of an anchor, levels from 0; grid_sizes are (rows, columns) of each level."""
    ends = list(accumulate(rows * columns * anchors_per_cell for rows, columns in grid_sizes))
    level = next(i for i, end in enumerate(ends) if anchor_index < end)
    cell = (anchor_index - ([0, *ends])[level]) // anchors_per_cell
    return level, *divmod(cell, grid_sizes[level][1])


def cam_to_image(
    cells: np.ndarray, stride: int, origin: float, resized: Sequence[int], image: Sequence[int]
) -> np.ndarray:
    """Resample the cells of a pyramid map to an image: each cell at its center, linear in between.

    In pixels of the network's input, cells are `stride` apart and the first is centered on `origin`; the image, of
    shape `image` (H, W, ...), fills the input's top left `resized` (rows, columns). Returns (H, W).
    """
    inverse = np.zeros((2, 3))
    for axis, side in ((0, 1), (1, 0)):  # x runs over columns
        ratio = resized[side] / image[side]
        inverse[axis, axis], inverse[axis, 2] = ratio / stride, ((ratio - 1) / 2 - origin) / stride
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(cells, inverse, (image[1], image[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE)

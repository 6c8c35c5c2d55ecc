"""The boxes that a detector starts from: A in each cell of each pyramid level.

Two conventions. `exact`: sizes and centers are the numbers that the settings say, cells lie fixed
strides of 8 to 128 apart (detectron2's numbers). `torchvision`: sizes are truncated and corners rounded to whole
pixels, the stride is the image's side divided by the grid's, as its published weights were trained.

In both, the first cell's anchors are centerd on what the cell sees: on pixel 0 for networks that pad each convolution
all around, as ResNets do; almost a stride further inside for those that pad as TensorFlow does, to the right and below;
and inside, too, for those without padding, whose grids then are smaller than the image and tell no stride.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def level_sizes(size: float, scales_per_octave: int, convention: str) -> list[float]:
    """The sizes of one level: `size` times 2^(k/scales_per_octave)."""
    sizes = [size * 2 ** (k / scales_per_octave) for k in range(scales_per_octave)]
    return [float(int(s)) for s in sizes] if convention == "torchvision" else sizes


def cell_anchors(sizes: Sequence[float], ratios: Sequence[float], convention: str) -> Tensor:
    """(A, 4) xyxy around (0, 0), ratio (height / width) by ratio, sizes within each; area is size^2."""
    size = torch.tensor(sizes)
    root = torch.tensor(ratios).sqrt()
    widths = (1 / root[:, None] * size[None, :]).flatten()
    heights = (root[:, None] * size[None, :]).flatten()
    anchors = torch.stack([-widths, -heights, widths, heights], dim=1) / 2
    return anchors.round() if convention == "torchvision" else anchors


def level_anchors(
    cell: Tensor,
    grid_size: tuple[int, int],
    stride: int,
    image_size: tuple[int, int],
    convention: str,
    origin: float = 0,
) -> Tensor:
    """One level's anchors (rows * columns * A, 4) xyxy for an image of (height, width), A of `cell` at each place.

    origin is the pixel on which the first cell's field is centerd.
    """
    rows, columns = grid_size
    dy = dx = stride
    if convention == "torchvision" and not origin:
        dy, dx = image_size[0] // rows, image_size[1] // columns
    y = torch.arange(rows, device=cell.device) * dy
    x = torch.arange(columns, device=cell.device) * dx
    x, y = x.expand(rows, columns), y[:, None].expand(rows, columns)
    centers = torch.stack([x, y, x, y], dim=2).to(cell)  # (H, W, 4)
    return (centers[:, :, None] + (cell + origin)).reshape(-1, 4)

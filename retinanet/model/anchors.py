"""Anchors: A boxes in each cell of each pyramid level.

Two conventions. `exact`: sizes as configured, and fixed strides of 8 to 128 between cells (detectron2). `torchvision`:
sizes truncated and corners rounded to whole pixels, and a stride of image side over grid side, as its published
weights were trained.

In both, anchors are centered on the receptive fields of cells. The first cell's is centered on pixel 0 in networks
with even padding (ResNet), almost a stride further inside with TensorFlow's padding to the right and bottom, and also
inside without padding, where the grid is smaller than the image and the fixed stride is used.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def octave_sizes(size: float, scales_per_octave: int, convention: str) -> list[float]:
    """The sizes of one level: `size` times 2^(k/scales_per_octave)."""
    sizes = [size * 2 ** (k / scales_per_octave) for k in range(scales_per_octave)]
    return [float(int(s)) for s in sizes] if convention == "torchvision" else sizes


def cell_anchors(sizes: Sequence[float], ratios: Sequence[float], convention: str) -> Tensor:
    """(A, 4) xyxy around (0, 0), ordered by ratio (height / width), then size; the area is size^2."""
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
    """One level's anchors (rows * columns * A, 4) xyxy for an image of (height, width), from the A of one `cell`.

    origin is the pixel on which the first cell's receptive field is centered.
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

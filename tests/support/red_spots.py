"""A network that detects red: its detections, anchors and heat maps can be worked out by hand."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from retinanet.model.anchors import cell_anchors, level_anchors
from retinanet.model.levels import LEVEL_STRIDES


class Mean(nn.Module):
    mean = (0.0, 0.0, 0.0)


class DetectsRed(nn.Module):
    """One class, one square anchor of two strides a cell; its logit is high if the cell's first pixel is red.

    The logit is 12 times the redness, minus 8: bright red has a score of 0.98, half as red 0.12. Only P3 reacts.
    """

    anchors_per_cell = 1
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.backbone = Mean()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.heads(self.features(images))

    def normalize(self, images: Tensor) -> Tensor:
        return images.permute(0, 3, 1, 2).float() / 255

    def origin(self, level: int) -> float:
        return 0

    def features(self, images: Tensor) -> list[Tensor]:
        return [self._at(images, stride) for stride in LEVEL_STRIDES]

    @staticmethod
    def _at(images: Tensor, stride: int) -> Tensor:
        return nn.functional.interpolate(images, size=[-(-side // stride) for side in images.shape[-2:]])

    def classification(self, features: Sequence[Tensor]) -> Tensor:
        red = [f[:, 0] * 12 - 8 if i == 0 else f[:, 0] * 0 - 8 for i, f in enumerate(features)]
        return torch.cat([r.reshape(len(r), -1, 1) for r in red], dim=1) * self.scale

    def heads(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        logits = self.classification(features)
        return logits, logits.new_zeros(len(logits), logits.shape[1], 4)

    def grid_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        return [(-(-height // stride), -(-width // stride)) for stride in LEVEL_STRIDES]

    def anchors_per_level(self, height: int, width: int) -> list[int]:
        return [rows * columns for rows, columns in self.grid_sizes(height, width)]

    def anchors(self, height: int, width: int) -> Tensor:
        grids = self.grid_sizes(height, width)
        levels = [
            level_anchors(cell_anchors([2.0 * stride], [1.0], "exact"), grid, stride, (height, width), "exact")
            for stride, grid in zip(LEVEL_STRIDES, grids, strict=True)
        ]
        return torch.cat(levels)

"""The classification and box subnets, shared by all pyramid levels."""

import math

import torch
from torch import Tensor, nn

PRIOR = 0.01
GROUPS = 32


class Subnet(nn.Module):
    """A tower of 3x3 convolutions and a last one with `outputs` values for each anchor.

    norm is "none" (convolutions with bias) or "group" (GroupNorm of 32 groups, convolutions without bias).
    """

    def __init__(self, in_channels: int, width: int, depth: int, norm: str, anchors_per_cell: int, outputs: int):
        super().__init__()
        self.norm, self.anchors_per_cell, self.outputs = norm, anchors_per_cell, outputs
        layers: list[nn.Module] = []
        for i in range(depth):
            conv = nn.Conv2d(width if i else in_channels, width, 3, padding=1, bias=norm == "none")
            layers += [conv] if norm == "none" else [conv, nn.GroupNorm(GROUPS, width)]
            layers += [nn.ReLU(inplace=True)]
        self.tower = nn.Sequential(*layers)
        self.last = nn.Conv2d(width, anchors_per_cell * outputs, 3, padding=1)
        for conv in self.convolutions:
            nn.init.normal_(conv.weight, std=0.01 if norm == "none" or conv is self.last else _he(conv))
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, features: list[Tensor]) -> Tensor:
        """L pyramid maps (N, C, H, W) -> (N, R, outputs), R in the order level, row, column, anchor of the cell."""
        flat = []
        for feature in features:
            out = self.last(self.tower(feature))  # (N, A * outputs, H, W)
            flat.append(out.permute(0, 2, 3, 1).reshape(out.shape[0], -1, self.outputs))
        return torch.cat(flat, dim=1)

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        return [layer for layer in (*self.tower, self.last) if isinstance(layer, nn.Conv2d)]


def classification_subnet(
    in_channels: int, width: int, depth: int, norm: str, anchors_per_cell: int, num_classes: int
) -> Subnet:
    subnet = Subnet(in_channels, width, depth, norm, anchors_per_cell, num_classes)
    # Objects are rare: start every anchor at p = 0.01, or background swamps the first steps.
    nn.init.constant_(subnet.get_parameter("last.bias"), -math.log((1 - PRIOR) / PRIOR))
    return subnet


def box_subnet(in_channels: int, width: int, depth: int, norm: str, anchors_per_cell: int) -> Subnet:
    return Subnet(in_channels, width, depth, norm, anchors_per_cell, outputs=4)


def _he(conv: nn.Conv2d) -> float:
    return math.sqrt(2 / (conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1]))

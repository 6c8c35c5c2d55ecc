"""The feature pyramid network (Lin et al. 2017), with RetinaNet's P6 and P7."""

import torch.nn.functional as F
from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """[C3, C4, C5] of any channels -> [P3, P4, P5, P6, P7], each `width` wide, strides 8 to 128.

    For a network that ends at stride 16, [C3, C4], a convolution of stride 2 computes P5, as others compute P6 and P7.
    p6_from is the input of the first of these convolutions: "c5", the backbone's last map, or "p5", the pyramid's.
    """

    def __init__(self, in_channels: list[int], width: int, p6_from: str):
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in in_channels)
        self.output = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in in_channels)
        self.p6_from = p6_from
        first = in_channels[-1] if p6_from == "c5" else width
        self.added = [f"p{level}" for level in range(3 + len(in_channels), 8)]
        for i, name in enumerate(self.added):
            self.add_module(name, nn.Conv2d(width if i else first, width, 3, stride=2, padding=1))
        for conv in (*self.lateral, *self.output, *map(self.get_submodule, self.added)):
            nn.init.kaiming_uniform_(conv.weight, a=1)
            nn.init.zeros_(conv.bias)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        merged = self.lateral[-1](features[-1])
        maps = [self.output[-1](merged)]
        for feature, lateral, output in zip(features[-2::-1], self.lateral[-2::-1], self.output[-2::-1], strict=True):
            finer = lateral(feature)
            merged = finer + F.interpolate(merged, size=finer.shape[-2:], mode="nearest")
            maps.insert(0, output(merged))
        first, *others = map(self.get_submodule, self.added)
        maps.append(first(self._widened(features[-1] if self.p6_from == "c5" else maps[-1])))
        for conv in others:
            maps.append(conv(self._widened(F.relu(maps[-1]))))
        return maps

    def _widened(self, feature: Tensor) -> Tensor:
        """In training, pad a map of one column with a column of zeros, which changes no output of stride 2.

        On CPUs, PyTorch 2.15 leaves the bfloat16 gradient of weights that read a single column uninitialized.
        """
        return F.pad(feature, (0, 1)) if self.training and feature.shape[-1] == 1 else feature

"""TensorFlow's "same" padding with constants, so that networks that use it can be exported with free image sizes."""

import copy

import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn


def pads_evenly(twin: nn.Module, side: int) -> bool:
    """Whether a network on the device "meta" has "same" padding that is constant on images of sides like `side`.

    side is in pixels, a multiple of 32.
    """
    if not any(isinstance(module, Conv2dSame) for module in twin.modules()):
        return False
    image = torch.empty(1, 3, side, side, device="meta")
    with torch.no_grad():
        expected = [feature.shape for feature in twin(image)]
        try:
            return [feature.shape for feature in with_constant_padding(copy.deepcopy(twin))(image)] == expected
        except RuntimeError:
            # An unpadded convolution before it made the grids odd.
            return False


def with_constant_padding(network: nn.Module) -> nn.Module:
    """Replace each Conv2dSame of the network, in place, by one that pads by a constant; returns the network."""
    for parent in list(network.modules()):
        for name, conv in parent.named_children():
            if isinstance(conv, Conv2dSame):
                even = _EvenConv2dSame(
                    conv.in_channels,
                    conv.out_channels,
                    _pair(conv.kernel_size),
                    stride=_pair(conv.stride),
                    dilation=_pair(conv.dilation),
                    groups=conv.groups,
                    bias=conv.bias is not None,
                    device=conv.weight.device,
                )
                even.load_state_dict(conv.state_dict())
                setattr(parent, name, even)
    return network


def _pair(sides: tuple[int, ...]) -> tuple[int, int]:
    rows, columns = sides
    return rows, columns


class _EvenConv2dSame(nn.Conv2d):
    """TensorFlow's "same" padding, a constant where each side divides by the stride.

    timm computes it from the input's size, which an exporter of free sizes cannot follow.
    """

    def forward(self, input: Tensor) -> Tensor:
        spare = [
            max(0, d * (k - 1) + 1 - s) for k, s, d in zip(self.kernel_size, self.stride, self.dilation, strict=True)
        ]
        top, left = (total // 2 for total in spare)
        padded = nn.functional.pad(input, (left, spare[1] - left, top, spare[0] - top))
        return nn.functional.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

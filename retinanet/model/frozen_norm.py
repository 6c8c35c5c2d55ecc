"""Batch norms whose statistics and weights stay as they were loaded."""

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn


class FrozenBatchNorm(nn.Module):
    """One factor and one summand a channel, then what the norm did besides: timm's activate, too.

    In half precision the map keeps its type, as in detectron2; torchvision's and timm's frozen norms make it float32,
    and a network then keeps a third more for its backward pass (ResNet-50 in bfloat16, an image of 256 px: 128 MB for
    what takes 96).
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, norm: nn.BatchNorm2d):
        super().__init__()
        self.eps = norm.eps
        new = nn.BatchNorm2d(norm.num_features).state_dict()
        for name in ("weight", "bias", "running_mean", "running_var"):
            # A norm without weights of its own does as a new one's do.
            self.register_buffer(name, norm.state_dict().get(name, new[name]).clone())
        self.after = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        factor = self.weight * (self.running_var + self.eps).rsqrt()
        summand = self.bias - self.running_mean * factor
        factor, summand = (values.to(x.dtype)[:, None, None] for values in (factor, summand))
        return self.after(torch.addcmul(summand, x, factor))


def freeze_norms(network: nn.Module) -> None:
    """Replace each batch norm that keeps statistics."""
    for parent in list(network.modules()):
        for name, norm in parent.named_children():
            if isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats:
                setattr(parent, name, FrozenBatchNorm(norm))

"""How the network is computed in training: the same outputs, by the fastest way for the device."""

import torch
from torch import Tensor, nn

from retinanet.model.retinanet import RetinaNet
from retinanet.training.cpu.network import CpuNetwork


class WholeNetwork(nn.Module):
    """(inputs, foreground) -> (logits, deltas) of all anchors; foreground is not used."""

    def __init__(self, model: RetinaNet):
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, foreground: Tensor) -> tuple[Tensor, Tensor]:
        return self.model(inputs)


def training_network(model: RetinaNet, device: torch.device, compute_type: torch.dtype, compiled: bool) -> nn.Module:
    """(inputs (N, 3, H, W), foreground (N, R) bool) -> (logits, deltas); deltas count at foreground anchors only."""
    if device.type == "cpu" and not compiled:
        return CpuNetwork(model, winograd=compute_type == torch.float32)
    return WholeNetwork(model)

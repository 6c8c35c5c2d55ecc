"""The network as training computes it: the same outputs, by the fastest way for the device."""

import torch
from torch import Tensor, nn

from retinanet.model.retinanet import RetinaNet
from retinanet.training.cpu.network import CpuNetwork


def training_network(model: RetinaNet, device: torch.device, compute_type: torch.dtype, compiled: bool) -> nn.Module:
    """A network (inputs (N, 3, H, W), foreground (N, R) bool) -> (logits (N, R, K), deltas (N, R, 4)).

    Only the deltas of foreground anchors are valid. A compiled network computes all of them, since it needs shapes that
    do not change from step to step.
    """
    if device.type == "cpu" and not compiled:
        return CpuNetwork(model, winograd=compute_type == torch.float32)
    return WholeNetwork(model)


class WholeNetwork(nn.Module):
    """The network on whole maps; foreground is not used."""

    def __init__(self, model: RetinaNet):
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, foreground: Tensor) -> tuple[Tensor, Tensor]:
        return self.model(inputs)

"""Batch norms of a trained network, folded into the convolutions before them: fewer passes over the feature maps."""

import copy

import torch
from torch import Tensor, nn

from retinanet.model.frozen_norm import FrozenBatchNorm, freeze_norms
from retinanet.model.retinanet import RetinaNet

PROBE_SIDE = 96
# Largest difference of a feature map, as a share of its largest value, that rounding explains.
MAX_DIFFERENCE = 1e-3


def for_inference(model: RetinaNet) -> RetinaNet:
    """A copy in eval mode, channels last in memory, whose backbone has its batch norms folded where that is possible.

    Its outputs differ by rounding alone. The copy is not meant to be trained or saved.
    """
    copied = copy.deepcopy(model).eval()
    folded = copy.deepcopy(copied.backbone)
    freeze_norms(folded)
    if _fold(folded) and _agree(copied.backbone, folded):
        copied.backbone = folded
    return copied.to(memory_format=torch.channels_last)


def _fold(network: nn.Module) -> int:
    """Fold, in place, each frozen norm whose input is the output of a convolution that runs once; return how many."""
    producers: list[tuple[Tensor, nn.Conv2d]] = []
    pairs: dict[FrozenBatchNorm, nn.Conv2d] = {}
    # Keeping the tensors, since the memory of a freed one would be that of a later one.
    hooks = [
        module.register_forward_hook(lambda conv, _, output: producers.append((output, conv)))
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]

    def note(norm: FrozenBatchNorm, inputs: tuple[Tensor]) -> None:
        pairs.update((norm, conv) for output, conv in producers if output is inputs[0])

    hooks += [
        module.register_forward_pre_hook(note) for module in network.modules() if isinstance(module, FrozenBatchNorm)
    ]
    _features(network)
    for hook in hooks:
        hook.remove()
    calls = [id(conv) for _, conv in producers]
    foldable = {norm: conv for norm, conv in pairs.items() if calls.count(id(conv)) == 1}
    for norm, conv in foldable.items():
        factor, summand = norm.affine()
        conv.weight = nn.Parameter(conv.weight.detach() * factor[:, None, None, None], requires_grad=False)
        bias = summand if conv.bias is None else conv.bias.detach() * factor + summand
        conv.bias = nn.Parameter(bias, requires_grad=False)
    replaced = {id(norm): norm.after for norm in foldable}
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if id(child) in replaced:
                setattr(parent, name, replaced[id(child)])
    return len(foldable)


def _agree(network: nn.Module, folded: nn.Module) -> bool:
    """Whether the feature maps are equal up to rounding: not if a convolution's output has other uses than its norm."""
    return all(
        (a - b).abs().max() <= MAX_DIFFERENCE * a.abs().max()
        for a, b in zip(_features(network), _features(folded), strict=True)
    )


@torch.no_grad()
def _features(network: nn.Module) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, PROBE_SIDE, PROBE_SIDE, generator=generator)
    return network(images.to(next(network.parameters()).device))

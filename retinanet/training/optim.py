"""Optimizer, learning-rate schedule, averaged weights and numeric precision."""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from retinanet.errors import TrainingError
from retinanet.model.retinanet import RetinaNet

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


def build_optimizer(
    model: RetinaNet, kind: str, learning_rate: float, backbone_lr_multiplier: float, weight_decay: float
) -> Optimizer:
    """SGD (momentum 0.9) or AdamW. Norms and biases do not decay; the backbone learns at learning_rate times
    backbone_lr_multiplier."""
    backbone = {id(p) for p in model.backbone.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in backbone, parameter.ndim > 1), []).append(parameter)
    options = [
        {
            "params": parameters,
            "lr": learning_rate * (backbone_lr_multiplier if in_backbone else 1),
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (in_backbone, decays), parameters in groups.items()
    ]
    return AdamW(options) if kind == "adamw" else SGD(options, momentum=0.9)


def build_schedule(optimizer: Optimizer, kind: str, steps: int, warmup_steps: int) -> LambdaLR:
    """Linear warm-up, then cosine to zero, x0.1 at 16/26 and 22/26 of the steps (torchvision's), or constant."""
    return LambdaLR(optimizer, _factor(kind, steps, warmup_steps))


def average_weights(model: nn.Module, steps: int) -> AveragedModel:
    """An exponential moving average that looks `steps` steps back, fewer at the start; buffers included."""

    def update(averaged: Tensors, current: Tensors, count: torch.Tensor | int) -> None:
        decay = min(1 - 1 / steps, (1 + int(count)) / (10 + int(count)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - decay)
        else:
            for mean, new in zip(averaged, current, strict=True):
                mean.copy_(new)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


def compute_type(precision: str, device: torch.device) -> torch.dtype:
    """What the network computes in: fp32, bf16, fp16, or auto: bf16 where the device has it.

    Losses and weights stay float32. Raises TrainingError for fp16 on a processor.
    """
    if precision == "fp16" and device.type != "cuda":
        raise TrainingError("train.precision is fp16, which needs a GPU; set it to auto or fp32")
    if precision == "auto":
        return torch.bfloat16 if computes_in_bf16(device) else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the device has bfloat16 arithmetic; without it, bfloat16 is a hundred times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return capabilities.get("avx512_bf16", False) or capabilities.get("amx_bf16", False)


def fast_memory_format(model: nn.Module, device: torch.device) -> torch.memory_format:
    """The order of a map's numbers in which the network's convolutions are faster.

    Channels last, except for a network of full convolutions on a processor without AVX-512: there a step of ResNet-50
    at 512 px took 1.17 times as long with it, and one of EfficientNet-Lite0, which is depthwise, 0.85 times.

    Never, on a processor, for a network with a strided 1 x 1 convolution of fewer than 16 channels, as FastViT's and
    MobileOne's stems have: computing its gradients in channels last, PyTorch 2.15 writes past its arrays and crashes.
    """
    convolutions = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
    if device.type == "cpu" and any(_writes_past_its_arrays(part) for part in convolutions):
        return torch.contiguous_format
    is_wide = device.type != "cpu" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    is_depthwise = any(part.groups > 1 for part in convolutions)
    return torch.channels_last if is_wide or is_depthwise else torch.contiguous_format


def _writes_past_its_arrays(part: nn.Conv2d) -> bool:
    return part.kernel_size == (1, 1) and part.stride != (1, 1) and part.in_channels < 16


def _factor(kind: str, steps: int, warmup_steps: int) -> Callable[[int], float]:
    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        if kind == "cosine":
            return (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps))) / 2
        if kind == "multistep":
            return 0.1 ** ((step >= steps * 16 / 26) + (step >= steps * 22 / 26))
        return 1.0

    return factor

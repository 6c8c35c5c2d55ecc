"""Optimizer, learning-rate schedule, averaged weights, precision and memory format."""

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
    """Build SGD (momentum 0.9) or AdamW over the trainable parameters.

    The backbone's learning rate is learning_rate * backbone_lr_multiplier. Norms and biases have no weight decay.
    """
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
    """An exponential moving average of weights and buffers over about `steps` steps, fewer at the start."""

    def update(averaged: Tensors, current: Tensors, count: torch.Tensor | int) -> None:
        decay = min(1 - 1 / steps, (1 + int(count)) / (10 + int(count)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - decay)
        else:
            for mean, new in zip(averaged, current, strict=True):
                mean.copy_(new)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


def compute_type(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of autocast for train.precision; auto is bfloat16 if the device is faster in it, else float32.

    Losses and weights stay float32. Raises TrainingError for fp16 on a CPU.
    """
    if precision == "fp16" and device.type != "cuda":
        raise TrainingError("train.precision is fp16, which needs a GPU; set it to auto or fp32")
    if precision == "auto":
        return torch.bfloat16 if computes_in_bf16(device) else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the device has bfloat16 arithmetic, and is faster in it; emulated, it is a hundred times slower.

    On a CPU it follows from the processor alone, so that the same one always trains the same weights. A convolution in
    bfloat16 is twice as fast as in float32 on AMD's Zen 4 and 5, but half as fast on an Intel Xeon with AVX512-BF16 and
    without AMX.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "mps":
        return False
    cpu = torch.cpu.get_capabilities()
    is_intel = str(cpu.get("cpu_name", "")).startswith("Intel")
    return bool(cpu.get("amx_bf16", False) or (cpu.get("avx512_bf16", False) and not is_intel))


def fast_memory_format(model: nn.Module, device: torch.device) -> torch.memory_format:
    """The memory format in which the network's convolutions are faster: channels last, with two exceptions.

    On a CPU without AVX-512, networks without depthwise convolutions are faster in the contiguous format: with channels
    last a step of ResNet-50 at 512 px took 1.17 times as long, one of the depthwise EfficientNet-Lite0 0.85 times.

    On a CPU, a strided 1x1 convolution of fewer than 16 channels, as in the stems of FastViT and MobileOne, needs the
    contiguous format: its backward in channels last writes out of bounds in PyTorch 2.15, and the process crashes.
    """
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if device.type == "cpu" and any(map(_crashes_in_channels_last, convolutions)):
        return torch.contiguous_format
    has_wide_vectors = device.type != "cpu" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    is_depthwise = any(convolution.groups > 1 for convolution in convolutions)
    return torch.channels_last if has_wide_vectors or is_depthwise else torch.contiguous_format


def _crashes_in_channels_last(convolution: nn.Conv2d) -> bool:
    return convolution.kernel_size == (1, 1) and convolution.stride != (1, 1) and convolution.in_channels < 16


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

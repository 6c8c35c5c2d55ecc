"""The device, and how memory is allocated."""

import ctypes
import functools
import platform

import torch
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from retinanet.errors import TrainingError

# glibc's mallopt(3) names.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
# Instructions that decide how fast a processor computes in 32, 16 and 8 bits, as torch names them.
INSTRUCTIONS = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "neon", "i8mm")
# Relative to the largest value of each tensor; wrong results differ by far more, other orders of summation by less.
DEVICE_TOLERANCE = 1e-3


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors for the next step, instead of a page fault for every page.

    Page faults took a third of a training step on two cores. With another C library this does nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@functools.cache
def chosen_device(name: str = "auto") -> torch.device:
    """This process's device for runtime.device: auto, cpu, cuda, cuda:N or mps.

    auto is the process's CUDA GPU or else Apple's, if that computes like the CPU; else the CPU. Raises TrainingError if
    this machine lacks the device that is asked for.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name in ("auto", "cuda") and gpus:
        return torch.device("cuda", torch.cuda.current_device())
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        if has_mps and computes_like_cpu(torch.device("mps")):
            return torch.device("mps")
        if has_mps:
            print("the GPU gives other losses and gradients than the CPU with this PyTorch, so the CPU is used")
        return torch.device("cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= gpus:
        found = f"{gpus} CUDA GPUs" if gpus else "no CUDA GPU that PyTorch can use"
        raise TrainingError(f"runtime.device is {name}, but this machine has {found}; set it to auto")
    if device.type == "mps" and not has_mps:
        raise TrainingError("runtime.device is mps, but PyTorch finds no Apple GPU; set it to auto")
    return device


def computes_like_cpu(device: torch.device) -> bool:
    """Whether a small training step on the device has the losses and gradients of the CPU.

    Some releases of PyTorch compute wrong results on Apple's GPUs.
    """
    expected, found = small_step(torch.device("cpu")), small_step(device)
    return all(
        torch.allclose(b.cpu(), a, rtol=0, atol=DEVICE_TOLERANCE * float(a.abs().max()))
        for a, b in zip(expected, found, strict=True)
    )


def small_step(device: torch.device) -> list[Tensor]:
    """Losses and gradients of a small network like a RetinaNet's parts, with fixed weights and inputs."""
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.Conv2d(16, 32, 1),
        nn.MaxPool2d(2),
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.GroupNorm(8, 32),
        nn.ReLU(),
        nn.Conv2d(32, 6, 3, padding=1),
    )
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    images = torch.rand(2, 3, 64, 64, generator=generator)
    targets = (torch.rand(2, 2, 32, 32, generator=generator) < 0.05).float()
    network, images, targets = network.to(device), images.to(device), targets.to(device)
    logits, deltas = network(images).split([2, 4], dim=1)
    losses = sigmoid_focal_loss(logits, targets, reduction="mean"), (deltas - 0.5).abs().mean()
    gradients = torch.autograd.grad(sum(losses), list(network.parameters()))
    return [*(loss.detach() for loss in losses), *gradients]


def processor() -> str:
    """The processor's name, the number of threads that torch uses, and its INSTRUCTIONS, for tables of times."""
    cpu = torch.cpu.get_capabilities()
    instructions = " ".join(name for name in INSTRUCTIONS if cpu.get(name, False))
    return f"{cpu.get('cpu_name', platform.machine())}, {torch.get_num_threads()} threads, {instructions}"

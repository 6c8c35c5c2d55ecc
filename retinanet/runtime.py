"""The device, and how memory is allocated."""

import ctypes
import platform

import torch

# glibc's mallopt(3) names.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors for the next step, instead of a page fault for every page.

    Page faults took a third of a training step on two cores. With another C library this does nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def best_device() -> torch.device:
    """This process's GPU, or the CPU if there is none."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


# Instructions that decide how fast a processor computes in 32, 16 and 8 bits, as torch names them.
INSTRUCTIONS = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "neon", "i8mm")


def processor() -> str:
    """The processor's name, the number of threads that torch uses, and its INSTRUCTIONS, for tables of times."""
    cpu = torch.cpu.get_capabilities()
    instructions = " ".join(name for name in INSTRUCTIONS if cpu.get(name, False))
    return f"{cpu.get('cpu_name', platform.machine())}, {torch.get_num_threads()} threads, {instructions}"

"""What the stages ask of the machine: device and memory."""

import ctypes
import platform

import torch

# glibc's mallopt(3) names.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors for the next step's, instead of a page fault for each page again.

    A third of a step on two cores was page faults. Does nothing where the C library is another.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def best_device() -> torch.device:
    """The GPU of this process where there is one."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")

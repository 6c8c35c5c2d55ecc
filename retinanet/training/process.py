"""What a training process asks of the machine it runs on."""

import ctypes
import platform
import signal
import sys
from types import FrameType

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


def exit_on_terminate() -> None:
    """Make SIGTERM end the program as an exception, so that files are closed and the run is marked."""

    def stop(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")

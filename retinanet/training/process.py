"""What a training process asks of the machine it runs on."""

import ctypes
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import psutil
import torch

# glibc's mallopt(3) names.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


class StopSignal:
    """The first of these signals is remembered instead of ending the program in the middle of a step.

    A second one ends it there and then.
    """

    def __init__(self, signals: Sequence[int] = (signal.SIGTERM, signal.SIGINT)):
        self.number = 0
        self._at_once = False
        for number in signals:
            signal.signal(number, self._keep)

    @contextmanager
    def at_once(self, before: Callable[[], None]) -> Iterator[None]:
        """Signals end the block where it is, with exit code 128 + number, after `before` was called."""
        self._at_once = True
        try:
            if self.number:
                raise SystemExit(128 + self.number)
            yield
        except SystemExit:
            before()
            raise
        finally:
            self._at_once = False

    def _keep(self, number: int, frame: FrameType | None) -> None:
        if self.number or self._at_once:
            sys.exit(128 + number)
        self.number = number


def stop_with_dvc(poll_s: float = 0.5) -> None:
    """Send this process SIGTERM when the `dvc` that started it is gone: DVC does not do so when it is killed."""
    if "DVC_STAGE" not in os.environ:
        return
    parents = psutil.Process().parents()
    dvc = next((p for p in parents if any("dvc" in os.path.basename(word) for word in _command(p)[:3])), None)

    def watch() -> None:
        while dvc and _runs(dvc):
            time.sleep(poll_s)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


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


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False

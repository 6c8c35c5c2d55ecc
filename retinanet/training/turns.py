"""Trainings on one machine's CPU alternate their steps, each with all cores.

Threads of two trainings that share the cores wait for each other at every operation, so that both together are slower
than one after the other. A training that uses only a part of the cores takes no turns, nor does one of several
processes, whose steps wait for each other already.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import torch

from retinanet import distributed

if sys.platform != "win32":
    import fcntl

POLL_S = 0.002
# A training that is suspended in the middle of a step must not hold up the others forever.
MAX_WAIT_S = 10.0
MIN_REPORTED_WAIT_S = 0.05


class Turns:
    """`with turns.take():` around a training step; it does nothing if `enabled` is false."""

    def __init__(self, folder: Path, enabled: bool = True):
        self.folder, self.enabled = folder, enabled and sys.platform != "win32"
        self.is_reported = False

    @contextmanager
    def take(self) -> Iterator[None]:
        with ExitStack() as turn:
            if self.enabled:
                try:
                    self._wait(turn)
                except OSError as error:
                    self.enabled = False
                    print(f"train: warning: steps take no turns with other trainings of this machine: {error}")
            yield

    def _wait(self, turn: ExitStack) -> None:
        began = time.monotonic()
        until = began + MAX_WAIT_S
        self.folder.mkdir(parents=True, exist_ok=True)
        # A waiting process holds next.lock, so the one that just finished cannot go first again.
        with (self.folder / "next.lock").open("a") as next_lock:
            _lock(next_lock, until)
            _lock(turn.enter_context((self.folder / "now.lock").open("a")), until)
        if not self.is_reported and time.monotonic() - began > MIN_REPORTED_WAIT_S:
            self.is_reported = True
            print("train: another training uses the cores of this machine; their steps take turns", flush=True)


def cpu_turns(device: torch.device) -> Turns:
    """The turns of this machine and user, for a training that uses all its cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    all_cores = device.type == "cpu" and torch.get_num_threads() >= cores and distributed.world().size == 1
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Turns(Path(tempfile.gettempdir()) / f"retinanet-turns-{user}", enabled=all_cores)


def _lock(file: IO[str], until: float) -> None:
    """Lock the file, or give up at monotonic time `until`. Closing it, or the end of the process, releases the lock."""
    while time.monotonic() < until:
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(POLL_S)

"""End a training process on signals, and when its parent process dies."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import psutil


class StopSignal:
    """Stores the first signal in `number` instead of ending the program in the middle of a step.

    If second_ends, a second signal ends the program at once.
    """

    def __init__(self, signals: Sequence[int] = (signal.SIGTERM, signal.SIGINT), second_ends: bool = True):
        self.number = 0
        self._second_ends = second_ends
        self._at_once = False
        for number in signals:
            signal.signal(number, self._handle)

    @contextmanager
    def at_once(self, before: Callable[[], None]) -> Iterator[None]:
        """Within the block, a signal calls `before` and exits with code 128 + its number, without waiting."""
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

    def _handle(self, number: int, frame: FrameType | None) -> None:
        ends = self._second_ends if self.number else self._at_once
        self.number = self.number or number
        if ends:
            sys.exit(128 + number)


def stop_with_parent(is_one_of_several: bool, poll_s: float = 0.5) -> None:
    """Watch the parent process and send this process SIGTERM when it dies: a killed parent sends no signal.

    The parent is torchrun, or, for a stage that runs alone, `dvc`; without them, nothing is watched.
    """
    parents = psutil.Process().parents()
    if not is_one_of_several:
        parents = [p for p in parents if "DVC_STAGE" in os.environ and _is_dvc(p)]
    if not parents:
        return

    def watch() -> None:
        while _is_running(parents[0]):
            time.sleep(poll_s)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _is_dvc(process: psutil.Process) -> bool:
    try:
        return any("dvc" in os.path.basename(argument) for argument in process.cmdline()[:3])
    except psutil.Error:
        return False


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False

"""How a training process ends: on signals, and with the process that started it."""

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
    """The first of these signals is remembered instead of ending the program in the middle of a step.

    A second one ends it there and then, where `second_ends`.
    """

    def __init__(self, signals: Sequence[int] = (signal.SIGTERM, signal.SIGINT), second_ends: bool = True):
        self.number = 0
        self._second_ends = second_ends
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
        ends = self._second_ends if self.number else self._at_once
        self.number = self.number or number
        if ends:
            sys.exit(128 + number)


def stop_with_starter(is_one_of_several: bool, poll_s: float = 0.5) -> None:
    """Send this process SIGTERM when what started it is gone, which tells it nothing when it is killed.

    That is the launcher of several processes, or else the `dvc` that runs a stage; neither where there is none.
    """
    parents = psutil.Process().parents()
    if not is_one_of_several:
        parents = [p for p in parents if "DVC_STAGE" in os.environ and _is_dvc(p)]
    if not parents:
        return

    def watch() -> None:
        while _runs(parents[0]):
            time.sleep(poll_s)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _is_dvc(process: psutil.Process) -> bool:
    try:
        return any("dvc" in os.path.basename(word) for word in process.cmdline()[:3])
    except psutil.Error:
        return False


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False

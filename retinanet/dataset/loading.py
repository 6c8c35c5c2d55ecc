"""Data loaders whose worker processes read and augment images ahead of the network."""

import atexit
import functools
import multiprocessing
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

from torch.utils.data import DataLoader, Dataset

from retinanet.dataset.samples import Batch, collate
from retinanet.errors import RetinanetError


def loader_of(images: Dataset, workers: int, padding: tuple[int, int, int], **settings: Any) -> DataLoader:
    """A DataLoader of Batches, padded with a color; settings are further arguments of DataLoader."""
    _kill_workers_at_exit()
    return DataLoader(
        images,
        num_workers=workers,
        collate_fn=partial(collate, padding=padding),
        worker_init_fn=_ignore_signals,
        **settings,
    )


def batches_of(loader: DataLoader) -> Iterator[Batch]:
    """The loader's batches. A RetinanetError in a worker is raised here with its original message."""
    try:
        yield from loader
    except RetinanetError as error:
        if not loader.num_workers:
            raise
        # torch replaces the message by a formatted traceback, whose last line has it.
        _, _, message = str(error).rstrip().splitlines()[-1].partition(": ")
        raise type(error)(message) from error


def _ignore_signals(worker: int) -> None:
    """Ctrl-C reaches workers too, but the parent process decides when they end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@functools.cache
def _kill_workers_at_exit() -> None:
    """At exit after an error, Python would wait for workers that ignore its SIGTERM: kill them first."""

    def kill() -> None:
        if hasattr(signal, "SIGCHLD"):  # not on Windows
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would report each as an error
        for child in multiprocessing.active_children():
            if child.daemon:
                child.kill()

    # Runs before multiprocessing's handler, which was registered earlier, at import.
    atexit.register(kill)

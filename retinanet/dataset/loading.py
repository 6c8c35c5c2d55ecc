"""What training learns from, and the processes that read and augment it ahead of the network."""

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
    """A loader of Batches, padded with a color; settings are DataLoader's own."""
    _kill_workers_at_exit()
    return DataLoader(
        images,
        num_workers=workers,
        collate_fn=partial(collate, padding=padding),
        worker_init_fn=_ignore_signals,
        **settings,
    )


def batches_of(loader: DataLoader) -> Iterator[Batch]:
    """The loader's batches. A worker's RetinanetError comes as it was raised there, without the worker's traceback."""
    try:
        yield from loader
    except RetinanetError as error:
        if not loader.num_workers:
            raise
        # torch puts the formatted traceback in the place of the message, which is its last line.
        _, _, message = str(error).rstrip().splitlines()[-1].partition(": ")
        raise type(error)(message) from error


def _ignore_signals(worker: int) -> None:
    """Ctrl-C reaches a worker too, and its parent decides when it ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@functools.cache
def _kill_workers_at_exit() -> None:
    """A program that ends on an error still holds its loader; Python would wait for workers that ignore its SIGTERM."""

    def kill() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would call each an error
        for child in multiprocessing.active_children():
            if child.daemon:
                child.kill()

    # Called before multiprocessing's own, which was registered when it was imported.
    atexit.register(kill)

"""Trainers in processes of their own, which log to one store at once: no training, only what it logs."""

import os
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

from retinanet.tracking.runs import start_run
from support.mlflow_forks import mlflow_forks, take_environment

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

TIMEOUT_S = 300.0
EXPERIMENT = "birds"


def train_at_once(count: int, epochs: int, folder: Path | None = None) -> list[str]:
    """The ids of the runs. The trainers start together; each works in a folder of its own below `folder`, if given."""
    context = mlflow_forks(__name__)
    starting = (dict(os.environ), context.Barrier(count))
    with ProcessPoolExecutor(count, context, initializer=_initialize, initargs=starting) as pool:
        return list(pool.map(_train, range(count), repeat(epochs), repeat(folder)))


def _initialize(environment: dict[str, str], barrier: "Barrier") -> None:
    global _barrier
    take_environment(environment)
    _barrier = barrier


def _train(number: int, epochs: int, folder: Path | None) -> str:
    if folder:
        own = folder / f"trainer {number}"
        own.mkdir()
        os.chdir(own)
    report = Path(f"report {number}.txt")
    report.write_text(f"trainer {number}")
    _barrier.wait(TIMEOUT_S)
    with start_run(EXPERIMENT, f"trainer {number}") as run:
        run.log_params({"number": number, "epochs": epochs})
        for epoch in range(1, epochs + 1):
            run.log_metrics({"loss": 1 / epoch, "val/AP": epoch / epochs}, step=epoch)
        run.log_artifact(report, "train")
    return run.id


_barrier: "Barrier"

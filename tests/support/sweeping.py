"""A sweep in processes that tests start and kill, in an importable module so that a forkserver can start it."""

import os
from pathlib import Path

# These take seconds, so the fork server imports them once.
import mlflow  # noqa: F401
import optuna.importance._fanova  # noqa: F401
import torch
from matplotlib import pyplot  # noqa: F401

from retinanet.cli.workspace import workspace_paths
from retinanet.config.params import load_params
from retinanet.sweep.run import Sweep
from retinanet.sweep.space import read_space
from retinanet.sweep.study import StudySource

STUDY = "tiny"


def tiny_sweep(count: int, pruner: str = "median", lost_after_s: int = 3) -> Sweep:
    """A sweep in the working directory, a squares workspace with a space.yaml."""
    params = load_params()
    source = StudySource(STUDY, f"sqlite:///{Path('sweeps.db').resolve()}", lost_after_s, pruner)
    return Sweep(source, count, read_space(Path("space.yaml"), params), params, workspace_paths)


def run_sweep(folder: Path, count: int) -> None:
    torch.set_num_threads(1)
    os.chdir(folder)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        os.environ.pop(name, None)
    print(*tiny_sweep(count).run(workers=1), sep="\n", flush=True)

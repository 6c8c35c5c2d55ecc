import multiprocessing
import os
import sqlite3
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from support.squares_workspace import make_squares_workspace
from support.sweeping import STUDY, run_sweep

from retinanet.config.params import write_params
from retinanet.tracking.store import open_client

SPACE = """
train.learning_rate: {low: 1e-4, high: 1e-2, log: true}
train.box_loss: [l1, giou, {kind: smooth_l1, beta: 0.1}]
"""
COUNT = 12

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    make_squares_workspace(tmp_path)
    write_params(tmp_path / "params.yaml", {"train.epochs": 2, "train.validate_every": 1})
    (tmp_path / "space.yaml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def forks():
    """A context whose processes have torch and mlflow imported already."""
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.sweeping"])
    return context


def test_two_workers_of_which_one_is_killed_and_restarted_end_with_exactly_so_many_trials(folder, forks):
    def start():
        process = forks.Process(target=run_sweep, args=(folder, COUNT))
        process.start()
        return process

    killed, other = start(), start()
    while states(folder).count("RUNNING") < 2 or len(states(folder)) < 5:
        assert killed.is_alive(), "ended before it was killed; give it more trials"
        time.sleep(0.02)
    killed.kill()
    restarted = start()
    for process in (killed, other, restarted):
        process.join(120)
    assert [process.exitcode for process in (killed, other, restarted)] == [-9, 0, 0]

    study = optuna.load_study(study_name=STUDY, storage="sqlite:///sweeps.db")
    ended = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    assert len(ended) == COUNT
    assert [trial for trial in ended if "failed_trial" in trial.system_attrs], "the killed trial was tried again"

    client = open_client()
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    trials = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert [run.info.status for run in [parent, *trials]] == ["FINISHED"] * (1 + COUNT)
    assert all("val/AP" in run.data.metrics and "train.box_loss" in str(run.data.params) for run in trials)
    assert parent.data.metrics["val/AP"] == study.best_value
    assert float(parent.data.tags["best.train.learning_rate"]) == study.best_params["train.learning_rate"]
    artifacts = {Path(file.path).name for file in client.list_artifacts(parent.info.run_id, "sweep")}
    assert artifacts == {"best.yaml", "optimization_history.png", "param_importances.png", "trials.csv"}


def states(folder: Path) -> list[str]:
    """The states of the study's trials; none before its tables exist."""
    if not (folder / "sweeps.db").exists():
        return []
    connection = sqlite3.connect(folder / "sweeps.db", timeout=10)
    try:
        return [state for (state,) in connection.execute("SELECT state FROM trials")]
    except sqlite3.OperationalError:
        return []
    finally:
        connection.close()

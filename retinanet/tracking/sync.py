"""Bring MLflow to what dvc.lock and the stages' files say: after a run-cache hit, offline work, a lost store."""

import json
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pandas as pd

from retinanet.errors import TrackingError
from retinanet.tracking.dvc_lock import changed_file, read_lock
from retinanet.tracking.missing_only import MissingOnly
from retinanet.tracking.publication import (
    log_evaluation,
    log_export,
    log_heat_maps,
    log_training_end,
    log_training_start,
    register_exported,
)
from retinanet.tracking.registry import same_version
from retinanet.tracking.runs import DESCRIPTION, Run, evaluation_run, resume_run
from retinanet.tracking.spool import Spool, spooled_runs
from retinanet.tracking.store import long_timeouts, open_client, store_errors
from retinanet.tracking.version_record import version_digests

if TYPE_CHECKING:
    from mlflow import MlflowClient


def sync(model_name: str, paths: ModuleType) -> list[str]:
    """Log and register what the store lacks of this workspace; returns a line for each stage with additions.

    paths is stages/paths.py. Raises TrackingError if the store cannot be reached or does not accept everything, and if
    training's files are not those of dvc.lock.
    """
    lock = read_lock(paths.LOCK)
    with store_errors(), long_timeouts():  # unlike training, it may wait for a slow server
        client = open_client()
        client.search_experiments(max_results=1)
        lines = _send_spooled()
        if changed := changed_file(lock, "train"):
            raise TrackingError(
                f"{changed} is not what dvc.lock says; run `dvc repro` or `dvc checkout`, then sync again"
            )
        lines += _sync_training(client, paths)
        for stage, step in (("evaluate", _sync_evaluation), ("export", _sync_export), ("gradcam-report", _sync_maps)):
            if changed := changed_file(lock, stage):
                lines.append(f"{stage}: left out, because {changed} is not what dvc.lock says; `dvc repro` updates it")
                break
            lines += step(client, model_name, paths)
    return lines


def workspace_version(model_name: str, paths: ModuleType) -> int | None:
    """The number, in this store, of the version that this workspace exported; None if the store lacks it.

    It is not the number in registered.json if that was another store: sync registers the version again. Raises
    TrackingError.
    """
    if not paths.REGISTERED.exists():
        return None
    content = _read(paths.REGISTERED)
    if content["name"] != model_name:
        return None
    with store_errors():
        return same_version(open_client(), model_name, version_digests(paths.VERSION_RECORD, paths.EXPORT))


def _send_spooled() -> list[str]:
    """Send the entries that wait of every run, but those of a training that is still running."""
    lines = []
    for run_id, entries in spooled_runs():
        if entries[0]["do"] in ("create", "reopen") and not any(entry["do"] == "status" for entry in entries):
            lines.append(f"run {run_id}: {len(entries)} entries wait for the end of its training")
            continue
        experiment = entries[0]["experiment"]
        first = {"do": "find", "run_id": run_id, "experiment": experiment, "at": time.time_ns() // 1_000_000}
        with Run(run_id, first | {"tags": {}}, experiment, ends=False) as run:
            pass
        _require_sent(run)
        lines.append(f"run {run.id}: {len(entries)} waiting entries sent")
    return lines


def _sync_training(client: "MlflowClient", paths: ModuleType) -> list[str]:
    if not paths.TRAINING_RECORD.exists():
        raise TrackingError(f"{paths.TRAINING_RECORD}: missing, because an earlier release trained; run `dvc repro`")
    record = _read(paths.TRAINING_RECORD)
    epochs = pd.read_csv(paths.TRAIN_REPORT / "history.csv", index_col="epoch")
    validations = pd.read_csv(paths.TRAIN_REPORT / "validation.csv", index_col="epoch")
    ended = record["started_ms"] + int(epochs["seconds"].sum() * 1000)
    restored = {
        "at": record["started_ms"],
        "ended": ended,
        "tags": record["tags"] | {DESCRIPTION: record["description"]},
    }
    with resume_run(paths.RUN, restored | {"name": record["name"]}) as run:
        log = MissingOnly(client, run)
        log_training_start(log, record, paths)
        for table in (epochs, validations):
            for epoch, row in table.iterrows():
                log.log_metrics({str(name): value for name, value in row.dropna().items()}, step=int(str(epoch)))
        log_training_end(log, paths)
    return _lines("train", log, run)


def _sync_evaluation(client: "MlflowClient", model_name: str, paths: ModuleType) -> list[str]:
    with evaluation_run(paths.RUN, _read(paths.EVALUATION_DIGEST)["digest"]) as run:
        log = MissingOnly(client, run)
        log_evaluation(log, paths)
    return _lines("evaluate", log, run)


def _sync_export(client: "MlflowClient", model_name: str, paths: ModuleType) -> list[str]:
    before = workspace_version(model_name, paths)
    with resume_run(paths.RUN) as run:
        log = MissingOnly(client, run)
        log_export(log, paths)
        number = register_exported(model_name, run.id, paths)
    added = [] if before else [f"export: registered as {model_name} version {number}"]
    return _lines("export", log, run) + added


def _sync_maps(client: "MlflowClient", model_name: str, paths: ModuleType) -> list[str]:
    with resume_run(paths.RUN) as run:
        log = MissingOnly(client, run)
        log_heat_maps(log, paths)
    return _lines("gradcam-report", log, run)


def _lines(stage: str, log: MissingOnly, run: Run) -> list[str]:
    _require_sent(run)
    return [f"{stage}: {log.summary()}"] if log.summary() else []


def _require_sent(run: Run) -> None:
    spool = Spool(run.id)
    if spool.path.exists():
        raise TrackingError(f"the store did not accept everything; entries of run {run.id} wait in {spool.path}")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))

"""Runs that never hold up training: while the store is unreachable, entries wait in a file and are sent later."""

import json
import os
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from retinanet.errors import TrackingError
from retinanet.files import repo_root, write_text
from retinanet.tracking.entries import send_entry
from retinanet.tracking.failures import unreachable
from retinanet.tracking.locations import tracking_uri
from retinanet.tracking.provenance import provenance_tags
from retinanet.tracking.store import open_client, quiet, write_obstacle

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

RETRY_AFTER_S = 30.0
UNREACHABLE_CODES = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED", "IO_ERROR")
FIRST_ACTIONS = ("create", "find", "reopen")  # entries that select the run of the entries after them
KILLED_EXIT_CODES = (130, 143)  # those of SIGINT and SIGTERM


def start_run(experiment: str, name: str | None = None, resume_run_id: str | None = None) -> "Run":
    """Start a run, tagged with its provenance, or resume an interrupted one. Its default name is the DVC experiment's.

    As a context manager it ends as FINISHED, as KILLED on Ctrl-C and SIGTERM, or as FAILED.
    """
    name = name or os.environ.get("DVC_EXP_NAME")
    first = {"do": "create", "experiment": experiment, "name": name, "at": _now(), "tags": _source_tags()}
    if resume_run_id:
        first |= {"do": "reopen", "run_id": resume_run_id}
    return Run(resume_run_id or f"offline-{uuid.uuid4().hex}", first, experiment, ends=True)


def resume_run(run_file: Path) -> "Run":
    """Open the run of a run.json to log more; its status does not change.

    If the store lacks the run, a new one, tagged restored_from, replaces it. Raises TrackingError.
    """
    try:
        content = json.loads(run_file.read_text(encoding="utf-8"))
        run_id, experiment = content["run_id"], content["experiment"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrackingError(f"{run_file}: cannot be read ({error}); `dvc repro train` writes it") from error
    first = {"do": "find", "run_id": run_id, "experiment": experiment, "at": _now(), "tags": _source_tags()}
    return Run(run_id, first, experiment, ends=False)


def evaluation_run(run_file: Path, digest: str) -> "Run":
    """Open the run that metrics with this evaluation digest are logged to.

    The first evaluation is logged to the run of run.json, one with another digest to a child run, so that the metrics
    of a version in production are never overwritten.
    """
    run = resume_run(run_file)
    run.begin_evaluation(digest)
    return run


def write_run_file(path: Path, run: "Run", model_sha256: str) -> None:
    """Write a run.json, which records the run that made the model."""
    content = {"run_id": run.id, "experiment": run.experiment, "tracking_uri": run.tracking_uri}
    write_text(path, json.dumps(content | {"model_sha256": model_sha256}, indent=1) + "\n")


class Run:
    """One MLflow run. If the store is unreachable at the start, id changes once when it answers."""

    def __init__(self, run_id: str, first: dict, experiment: str, ends: bool):
        quiet()
        self.id = run_id
        self.experiment = experiment
        self.tracking_uri = tracking_uri()
        self._ends = ends  # whether end() sets the status
        self._client: MlflowClient | None = None
        self._monitor: SystemMetricsMonitor | None = None
        self._retry_at = 0.0
        self._reported = False
        self._spool = _spool(run_id)
        self._waiting = _read_entries(self._spool)
        self._send(first)

    def log_params(self, params: Mapping) -> None:
        """Log params by flat name; a param that the run has already is not changed."""
        self._send({"do": "params", "values": {key: str(value) for key, value in params.items()}})

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = {key: float(value) for key, value in metrics.items()}
        self._send({"do": "metrics", "values": values, "step": step, "at": _now()})

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        self._send({"do": "artifacts", "path": str(Path(path).absolute()), "folder": folder})

    def log_artifacts(self, path: Path, folder: str | None = None) -> None:
        """Log the content of a folder."""
        self.log_artifact(path, folder)

    def log_dataset(self, name: str, digest: str, source: str, context: str, profile: Mapping | None = None) -> None:
        """Log a data set that the run used; context is training, validation or test, profile its statistics."""
        entry = {"do": "dataset", "name": name, "digest": digest, "context": context}
        self._send(entry | {"source": json.dumps({"uri": source}), "profile": json.dumps(profile or {})})

    def begin_evaluation(self, digest: str) -> None:
        """Log what follows to the evaluation with this digest; see evaluation_run."""
        self._send({"do": "evaluation", "digest": digest, "at": _now()})

    def log_system_metrics(self, interval_s: float = 5.0) -> None:
        """Sample CPU, memory, disk, network and GPU use in a thread until the run ends."""
        if self._waiting:
            return
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._monitor = SystemMetricsMonitor(
            self.id, sampling_interval=interval_s, resume_logging=True, tracking_uri=self.tracking_uri
        )
        self._monitor.start()

    def end(self, status: str = "FINISHED") -> None:
        """Send the waiting entries and, if this process started the run, set its status."""
        if self._monitor:
            self._monitor.finish()
            self._monitor = None
        if self._ends:
            self._waiting.append({"do": "status", "status": status, "at": _now()})
        self._send_waiting()
        if self._waiting:
            print(
                f"tracking: {len(self._waiting)} entries wait in {self._spool}; the next stage sends them", flush=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        status = _status_of(error)
        try:
            self.end(status)
        except Exception as failure:
            if status == "FINISHED":
                raise
            # The exception that ends the program decides its exit code, 143 after SIGTERM.
            print(f"tracking: run {self.id} is not marked {status}: {failure}", file=sys.stderr, flush=True)

    def _send(self, entry: dict) -> None:
        self._waiting.append(entry)
        if time.monotonic() < self._retry_at:
            self._write_spool()
        else:
            self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting:
            reason = self._attempt(self._waiting[0])
            if reason:
                self._retry_at = time.monotonic() + RETRY_AFTER_S
                self._write_spool()
                self._report_unreachable(reason)
                return
            self._waiting.pop(0)
        if self._spool.exists():
            self._spool.unlink()
            self._reported = False
            print(f"tracking: {self.tracking_uri} is reachable again; run {self.id} is complete", flush=True)

    def _attempt(self, entry: dict) -> str | None:
        """Send an entry; returns why the store is unreachable, or None. Raises TrackingError if it is rejected."""
        from mlflow.exceptions import MlflowException

        if obstacle := write_obstacle():
            return obstacle
        try:
            self._client = self._client or open_client()
            self.id = send_entry(self._client, self.id, entry)
            if entry["do"] in FIRST_ACTIONS:
                self._move_spool(_spool(self.id))
        except (MlflowException, TrackingError, OSError) as error:
            cause = error.__cause__ if isinstance(error, TrackingError) else error
            if isinstance(cause, OSError) or getattr(cause, "error_code", None) in UNREACHABLE_CODES:
                return " ".join(str(cause).split(" with exception")[0].split())[:160]
            raise error if isinstance(error, TrackingError) else unreachable(error) from error
        return None

    def _write_spool(self) -> None:
        entries = self._waiting
        if entries[0]["do"] in FIRST_ACTIONS:
            entries[0]["waited"] = True
        else:
            # The entry that selects the run was sent already.
            first = {"do": "find", "run_id": self.id, "experiment": self.experiment, "at": _now(), "tags": {}}
            entries = [first, *entries]
        write_text(self._spool, "".join(json.dumps(entry) + "\n" for entry in entries))

    def _move_spool(self, spool: Path) -> None:
        """Spool under the id that the store gave the run, behind the entries that wait there already."""
        if spool == self._spool:
            return
        self._waiting[1:1] = _read_entries(spool)
        if self._spool.exists():
            self._spool.replace(spool)
        self._spool = spool

    def _report_unreachable(self, reason: str) -> None:
        if not self._reported:
            print(
                f"tracking: {self.tracking_uri} is unreachable ({reason}); continuing, entries wait in {self._spool}",
                flush=True,
            )
        self._reported = True


def _spool(run_id: str) -> Path:
    return repo_root() / ".cache" / "tracking" / f"{run_id}.jsonl"


def _read_entries(spool: Path) -> list[dict]:
    if not spool.exists():
        return []
    return [json.loads(line) for line in spool.read_text(encoding="utf-8").splitlines()]


def _status_of(error: BaseException | None) -> str:
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "FINISHED"
    if isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and error.code in KILLED_EXIT_CODES):
        return "KILLED"
    return "FAILED"


def _source_tags() -> dict[str, str]:
    program = Path(sys.argv[0])
    return provenance_tags() | {
        "mlflow.source.name": f"{program.parent.name}/{program.name}",
        "mlflow.source.type": "LOCAL",
    }


def _now() -> int:
    return time.time_ns() // 1_000_000

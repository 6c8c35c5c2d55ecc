"""Runs that never hold up the work: what the store can't take now waits in a file and is sent later."""

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
from retinanet.tracking.entries import carry_out
from retinanet.tracking.provenance import provenance_tags
from retinanet.tracking.store import is_writable, open_client, quiet, tracking_uri, unreachable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

RETRY_AFTER_S = 30.0
AWAY_CODES = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED", "IO_ERROR")
BEGINNINGS = ("create", "find", "reopen")  # entries that say which run the next ones belong to
KILLED_EXITS = (130, 143)  # what a shell sees of SIGINT and SIGTERM


def start_run(experiment: str, name: str | None = None, resume_run_id: str | None = None) -> "Run":
    """A new run, tagged with its provenance, or the interrupted one going on; called as the DVC experiment is.

    As a context manager it ends FINISHED, KILLED on Ctrl-C and SIGTERM, or FAILED.
    """
    name = name or os.environ.get("DVC_EXP_NAME")
    first = {"do": "create", "experiment": experiment, "name": name, "at": _now(), "tags": _origin()}
    if resume_run_id:
        first |= {"do": "reopen", "run_id": resume_run_id}
    return Run(resume_run_id or f"offline-{uuid.uuid4().hex}", first, experiment, ends=True)


def resume_run(run_file: Path) -> "Run":
    """The run that a run.json names, to add to what it holds; its status stays as it is.

    A store without that run gets a new one, tagged restored_from. Raises TrackingError.
    """
    try:
        facts = json.loads(run_file.read_text(encoding="utf-8"))
        run_id, experiment = facts["run_id"], facts["experiment"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrackingError(f"{run_file}: not readable ({error}); `dvc repro train` writes it") from error
    first = {"do": "find", "run_id": run_id, "experiment": experiment, "at": _now(), "tags": _origin()}
    return Run(run_id, first, experiment, ends=False)


def evaluation_run(run_file: Path, digest: str) -> "Run":
    """Where figures under this evaluation digest belong.

    The first evaluation is the run's own, that of run.json; one under another digest gets a child run, so that the
    figures of a version in production are never overwritten.
    """
    run = resume_run(run_file)
    run.begin_evaluation(digest)
    return run


def write_run_file(path: Path, run: "Run", model_sha256: str) -> None:
    """Say in a run.json which run made the model."""
    facts = {"run_id": run.id, "experiment": run.experiment, "tracking_uri": run.tracking_uri}
    write_text(path, json.dumps(facts | {"model_sha256": model_sha256}, indent=1) + "\n")


class Run:
    """One MLflow run. id changes once when the store was away at the start and comes back."""

    def __init__(self, run_id: str, first: dict, experiment: str, ends: bool):
        quiet()
        self.id = run_id
        self.experiment = experiment
        self.tracking_uri = tracking_uri()
        self._ends = ends
        self._client: MlflowClient | None = None
        self._monitor: SystemMetricsMonitor | None = None
        self._away_until = 0.0
        self._said = False
        self._spool = _spool(run_id)
        self._waiting = _read_entries(self._spool)
        self._send(first)

    def log_params(self, params: Mapping) -> None:
        """Params by flat name; those that the run has already stay."""
        self._send({"do": "params", "values": {key: str(value) for key, value in params.items()}})

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = {key: float(value) for key, value in metrics.items()}
        self._send({"do": "metrics", "values": values, "step": step, "at": _now()})

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        self._send({"do": "artifacts", "path": str(Path(path).absolute()), "folder": folder})

    def log_artifacts(self, path: Path, folder: str | None = None) -> None:
        """The content of a folder."""
        self.log_artifact(path, folder)

    def set_tags(self, tags: Mapping) -> None:
        self._send({"do": "tags", "values": {key: str(value) for key, value in tags.items()}})

    def log_dataset(self, name: str, digest: str, source: str, context: str, profile: Mapping | None = None) -> None:
        """A data set that the run used: context is training, validation or test, profile some figures of it."""
        entry = {"do": "dataset", "name": name, "digest": digest, "context": context}
        self._send(entry | {"source": json.dumps({"uri": source}), "profile": json.dumps(profile or {})})

    def begin_evaluation(self, digest: str) -> None:
        """All that follows belongs to the evaluation under this digest; see evaluation_run."""
        self._send({"do": "evaluation", "digest": digest, "at": _now()})

    def log_system_metrics(self, interval_s: float = 5.0) -> None:
        """Sample processor, memory, disk, network and GPU in a thread until the run ends."""
        if self._waiting:
            return
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._monitor = SystemMetricsMonitor(
            self.id, sampling_interval=interval_s, resume_logging=True, tracking_uri=self.tracking_uri
        )
        self._monitor.start()

    def end(self, status: str = "FINISHED") -> None:
        """Send what waits and, for a run that this process started, set its status."""
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
        self.end(_status_of(error))

    def _send(self, entry: dict) -> None:
        self._waiting.append(entry)
        if time.monotonic() < self._away_until:
            self._keep()
        else:
            self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting:
            reason = self._attempt(self._waiting[0])
            if reason:
                self._away_until = time.monotonic() + RETRY_AFTER_S
                self._keep()
                self._say_away(reason)
                return
            self._waiting.pop(0)
        if self._spool.exists():
            self._spool.unlink()
            self._said = False
            print(f"tracking: {self.tracking_uri} answers again; run {self.id} has all entries", flush=True)

    def _attempt(self, entry: dict) -> str | None:
        """Carry an entry out; the reason where the store is away. Raises TrackingError where it refuses."""
        from mlflow.exceptions import MlflowException

        if not is_writable():
            return "the database is locked"
        try:
            self._client = self._client or open_client()
            self.id = carry_out(self._client, self.id, entry)
            if entry["do"] in BEGINNINGS:
                self._keep_under(_spool(self.id))
        except (MlflowException, TrackingError, OSError) as error:
            cause = error.__cause__ if isinstance(error, TrackingError) else error
            if isinstance(cause, OSError) or getattr(cause, "error_code", None) in AWAY_CODES:
                return " ".join(str(cause).split(" with exception")[0].split())[:160]
            raise error if isinstance(error, TrackingError) else unreachable(error) from error
        return None

    def _keep(self) -> None:
        entries = self._waiting
        if entries[0]["do"] in BEGINNINGS:
            entries[0]["waited"] = True
        else:
            # The entry that says which run goes on was sent already.
            first = {"do": "find", "run_id": self.id, "experiment": self.experiment, "at": _now(), "tags": {}}
            entries = [first, *entries]
        write_text(self._spool, "".join(json.dumps(entry) + "\n" for entry in entries))

    def _keep_under(self, spool: Path) -> None:
        """Keep waiting entries under the id that the run turned out to have, behind those that wait there already."""
        if spool == self._spool:
            return
        self._waiting[1:1] = _read_entries(spool)
        if self._spool.exists():
            self._spool.replace(spool)
        self._spool = spool

    def _say_away(self, reason: str) -> None:
        if not self._said:
            print(
                f"tracking: {self.tracking_uri} is away ({reason}); work goes on, figures wait in {self._spool}",
                flush=True,
            )
        self._said = True


def _spool(run_id: str) -> Path:
    return repo_root() / ".cache" / "tracking" / f"{run_id}.jsonl"


def _read_entries(spool: Path) -> list[dict]:
    if not spool.exists():
        return []
    return [json.loads(line) for line in spool.read_text(encoding="utf-8").splitlines()]


def _status_of(error: BaseException | None) -> str:
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "FINISHED"
    if isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and error.code in KILLED_EXITS):
        return "KILLED"
    return "FAILED"


def _origin() -> dict[str, str]:
    program = Path(sys.argv[0])
    return provenance_tags() | {
        "mlflow.source.name": f"{program.parent.name}/{program.name}",
        "mlflow.source.type": "LOCAL",
    }


def _now() -> int:
    return time.time_ns() // 1_000_000

"""Runs that never hold up training: while the store is unreachable, entries wait in a file and are sent later."""

import json
import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from retinanet.errors import TrackingError
from retinanet.files import write_text
from retinanet.tracking.delivery import Delivery
from retinanet.tracking.failures import without_password
from retinanet.tracking.locations import tracking_uri
from retinanet.tracking.provenance import provenance_tags
from retinanet.tracking.run_names import EVALUATED_BY, changes
from retinanet.tracking.store import quiet

if TYPE_CHECKING:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

DESCRIPTION = "mlflow.note.content"
# Tags that a person looks for, or that search uses; train/record.json has everything.
SHOWN_TAGS = ("dirty", "dirty.files", "dvc.experiment", "mlflow.source.git.commit")
KILLED_EXIT_CODES = (130, 143)  # those of SIGINT and SIGTERM


def start_run(
    experiment: str,
    name: str | None = None,
    resume_run_id: str | None = None,
    description: str = "",
    tags: Mapping[str, str] | None = None,
) -> "Run":
    """Start a run, tagged with its provenance, or resume an interrupted one. Its default name is the DVC experiment's.

    description is Markdown, which MLflow's page of the run shows.

    As a context manager it ends as FINISHED, as KILLED on Ctrl-C and SIGTERM, or as FAILED.
    """
    name = name or os.environ.get("DVC_EXP_NAME")
    all_tags = source_tags() | ({DESCRIPTION: description} if description else {}) | dict(tags or {})
    first = {"do": "create", "experiment": experiment, "name": name, "at": _now(), "tags": all_tags}
    if resume_run_id:
        first |= {"do": "reopen", "run_id": resume_run_id}
    return Run(resume_run_id or f"offline-{uuid.uuid4().hex}", first, experiment, ends=True)


def resume_run(run_file: Path, restored: Mapping | None = None) -> "Run":
    """Open the run of a run.json to log more; its status does not change.

    If the store lacks the run, a new one, tagged restored_from, replaces it; `restored` has its tags and start (at).
    Raises TrackingError.
    """
    try:
        content = json.loads(run_file.read_text(encoding="utf-8"))
        run_id, experiment = content["run_id"], content["experiment"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrackingError(f"{run_file}: cannot be read ({error}); `dvc repro train` writes it") from error
    first = {"do": "find", "run_id": run_id, "experiment": experiment, "at": _now(), "tags": source_tags()}
    return Run(run_id, first | dict(restored or {}), experiment, ends=False)


def evaluation_run(run_file: Path, digest: str) -> "Run":
    """Open the run that metrics with this evaluation digest are logged to.

    The first evaluation is logged to the run of run.json, one with another digest to a child run, so that the metrics
    of a version in production are never overwritten.
    """
    run = resume_run(run_file)
    run.begin_evaluation(digest)
    return run


def files_below(path: Path, folder: str | None) -> Iterator[tuple[Path, str | None]]:
    """The files of a folder, each with the folder of a run's artifacts that it belongs into."""
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        below = file.parent.relative_to(path).as_posix()
        yield file, "/".join(part for part in (folder, below) if part not in (None, ".")) or None


def write_run_file(path: Path, run: "Run", model_sha256: str) -> None:
    """Write a run.json, which records the run that made the model."""
    content = {"run_id": run.id, "experiment": run.experiment, "model_sha256": model_sha256}
    write_text(path, json.dumps(content, indent=1) + "\n")


class Run:
    """One MLflow run. If the store is unreachable at the start, id changes once when it answers."""

    def __init__(self, run_id: str, first: dict, experiment: str, ends: bool):
        quiet()
        self.experiment = experiment
        self._ends = ends  # whether end() sets the status
        self._delivery = Delivery(run_id, first, experiment, is_own=ends)
        self._monitor: SystemMetricsMonitor | None = None
        self._interval_s: float | None = None  # of system metrics
        self._monitored = 0  # the connection that the monitor uses

    @property
    def id(self) -> str:
        return self._delivery.run_id

    def log_params(self, params: Mapping) -> None:
        """Log params by flat name; a param that the run has already is not changed."""
        self._send({"do": "params", "values": {key: str(value) for key, value in params.items()}})

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; unlike a param, a tag that the run has already is changed."""
        self._send({"do": "tags", "values": dict(tags)})

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = {key: float(value) for key, value in metrics.items()}
        self._send({"do": "metrics", "values": values, "step": step, "at": _now()})

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Log a file."""
        self._send({"do": "artifact", "path": str(path.absolute()), "folder": folder})

    def log_artifacts(self, path: Path, folder: str | None = None) -> None:
        """Log the content of a folder."""
        for file, below in files_below(path, folder):
            self.log_artifact(file, below)

    def log_dataset(self, name: str, digest: str, source: str, context: str, profile: Mapping | None = None) -> None:
        """Log a data set that the run used; context is training, validation or test, profile its statistics."""
        entry = {"do": "dataset", "name": name, "digest": digest, "context": context}
        content = {"source": json.dumps({"uri": without_password(source)}), "profile": json.dumps(profile or {})}
        self._send(entry | content)

    def begin_evaluation(self, digest: str) -> None:
        """Log what follows to the evaluation with this digest; see evaluation_run."""
        changed = " ".join(changes(EVALUATED_BY))
        self._send({"do": "evaluation", "digest": digest, "changes": changed, "at": _now()})

    def log_system_metrics(self, interval_s: float = 5.0) -> None:
        """Sample CPU, memory, disk, network and GPU use in a thread until the run ends."""
        self._interval_s = interval_s
        self._watch_system()

    def end(self, status: str = "FINISHED") -> None:
        """Send the waiting entries and, if this process started the run, set its status."""
        self._interval_s = None
        self._watch_system()
        if self._ends:
            self._send({"do": "status", "status": status, "at": _now()})
        self._delivery.finish()

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
        self._delivery.send(entry)
        if self._interval_s is not None and self._monitored != self._delivery.connections:
            self._watch_system()

    def _watch_system(self) -> None:
        """Start MLflow's thread, again after each failure of the store, which ends it; end it with the run."""
        if self._monitor:
            self._monitor.finish()
            self._monitor = None
        self._monitored = self._delivery.connections
        if self._interval_s is None or not self._monitored:
            return
        from mlflow.exceptions import MlflowException
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        with suppress(MlflowException, OSError):
            self._monitor = SystemMetricsMonitor(
                self.id, sampling_interval=self._interval_s, resume_logging=True, tracking_uri=tracking_uri()
            )
            self._monitor.start()


def _status_of(error: BaseException | None) -> str:
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "FINISHED"
    if isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and error.code in KILLED_EXIT_CODES):
        return "KILLED"
    return "FAILED"


def source_tags() -> dict[str, str]:
    """The tags of a run that starts now: its provenance, and the program."""
    program = Path(sys.argv[0])
    shown = {name: value for name, value in provenance_tags().items() if name in SHOWN_TAGS}
    return shown | {
        "mlflow.source.name": f"{program.parent.name}/{program.name}",
        "mlflow.source.type": "LOCAL",
    }


def _now() -> int:
    return time.time_ns() // 1_000_000

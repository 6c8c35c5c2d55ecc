"""Where runs and versions are kept, and how to reach it without long waits."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock

from retinanet.errors import TrackingError
from retinanet.files import repo_root

if TYPE_CHECKING:
    from mlflow import MlflowClient

# One retry and short waits: training must not stand still because a server is away.
SHORT_TIMEOUTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "3"}
# Artifacts are large and a server may pass them on to an object store before it answers.
LONG_TIMEOUTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "120"}
LOCKED_AFTER_S = 2.0
# MLflow's pages guess otherwise whether an experiment is of trained networks or of language models.
KIND = {"mlflow.experimentKind": "custom_model_development"}


class Store(NamedTuple):
    """A client of the tracking store and the experiment that runs belong to."""

    client: "MlflowClient"
    experiment_id: str


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI where it is set, else mlflow.db at the repository's root, also in DVC's temporary copies."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{repo_root().resolve() / 'mlflow.db'}"


def open_store(experiment: str) -> Store:
    """The store with the experiment in it, both made when missing. Raises TrackingError.

    Made under a lock: a fresh SQLite store breaks when several clients open it at once.
    """
    from mlflow.exceptions import MlflowException

    client = open_client()
    try:
        with _lock("store"):
            found = client.get_experiment_by_name(experiment)
            if found is None:
                return Store(client, client.create_experiment(experiment, _artifact_location(), KIND))
    except (MlflowException, OSError) as error:
        raise unreachable(error) from error
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {experiment} is deleted; `mlflow experiments restore -x {found.experiment_id}` "
            "brings it back, or set another tracking.experiment in params.yaml"
        )
    return Store(client, found.experiment_id)


def open_client() -> "MlflowClient":
    """A client of the store, made when it is a missing SQLite file. Raises TrackingError."""
    quiet()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    uri = tracking_uri()
    try:
        with _lock("store"):
            client = MlflowClient(uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)
            if is_local(uri):
                client.search_experiments(max_results=1)  # makes the tables
    except (MlflowException, OSError, ImportError) as error:
        raise unreachable(error) from error
    return client


def is_local(uri: str) -> bool:
    return uri.startswith("sqlite:")


def is_writable() -> bool:
    """Whether the store would take a write now, found out within seconds (a server: not asked, its calls are quick)."""
    uri = tracking_uri()
    if not is_local(uri):
        return True
    # MLflow itself waits 20 s for a locked SQLite file.
    try:
        connection = sqlite3.connect(uri.removeprefix("sqlite:///"), timeout=LOCKED_AFTER_S, isolation_level=None)
    except sqlite3.Error:
        return False
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    finally:
        connection.close()
    return True


def quiet() -> None:
    """Turn off telemetry and notices that tell a user nothing; what the environment sets already stays."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name, value in SHORT_TIMEOUTS.items():
        os.environ.setdefault(name, value)
    for name, level in (("mlflow", logging.ERROR), ("alembic", logging.ERROR), ("mlflow.store", logging.CRITICAL)):
        logging.getLogger(name).setLevel(level)


@contextmanager
def long_timeouts() -> Iterator[None]:
    """Inside, requests to a server may take as long as sending a model takes."""
    before = {name: os.environ.get(name) for name in LONG_TIMEOUTS}
    os.environ.update(
        {name: value for name, value in LONG_TIMEOUTS.items() if before[name] in (None, SHORT_TIMEOUTS[name])}
    )
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def unreachable(error: Exception) -> TrackingError:
    """What to tell a user of an error that the store raised."""
    reason = " ".join(str(error).split())
    if "out-of-date database schema" in reason:
        mend = f"copy the file, then `mlflow db upgrade {tracking_uri()}`"
    else:
        mend = "start the server, or unset MLFLOW_TRACKING_URI to use mlflow.db"
    return TrackingError(f"{tracking_uri()}: {reason[:300]}; {mend}")


def lock_path(name: str) -> Path:
    """A file to lock while the store is changed by more than one call."""
    path = repo_root() / ".cache" / "tracking" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _lock(name: str) -> FileLock:
    return FileLock(lock_path(name), timeout=60)


def _artifact_location() -> str | None:
    # A server knows its own place for artifacts.
    return (repo_root().resolve() / "mlartifacts").as_uri() if is_local(tracking_uri()) else None

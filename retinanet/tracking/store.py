"""The store of runs and versions, and access to it without long waits."""

import errno
import logging
import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock

from retinanet.errors import TrackingError
from retinanet.files import repo_root
from retinanet.tracking.failures import PACKAGES, unreachable, without_password
from retinanet.tracking.locations import (
    LOCK_TIMEOUT_S,
    artifacts_folder,
    database_path,
    registry_uri,
    tracking_uri,
    update_locations,
)
from retinanet.tracking.view import save_view

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
# One retry and short timeouts: training must not stall because a server is unreachable.
SHORT_TIMEOUTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    TIMEOUT: "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
}
# A server may upload a file to an object store before it answers. A model's size is rarely above 120 MB.
SLOWEST_UPLOAD = 1e6  # bytes per second
LARGEST_MODEL = 120_000_000
# What MLflow imports for a scheme of artifact locations.
CLOUD_MODULES = {"s3": "boto3", "gs": "google.cloud.storage", "wasbs": "azure.storage.blob"}
# Otherwise MLflow's UI guesses whether an experiment trains models or evaluates language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


def open_experiment(name: str) -> str:
    """The id of an experiment; the store and the experiment are created if missing. Raises TrackingError.

    Creation is locked: a new SQLite store breaks if several clients open it at once.
    """
    from mlflow.exceptions import MlflowException

    client = open_client()
    try:
        with _lock("store"):
            experiment = client.get_experiment_by_name(name) or _new_experiment(client, name)
    except (MlflowException, OSError) as error:
        raise unreachable(error) from error
    require_active(experiment)
    require_package(experiment.artifact_location)
    with suppress(MlflowException):  # a view is no reason to fail
        save_view(client, experiment)
    return experiment.experiment_id


def _new_experiment(client: "MlflowClient", name: str) -> "Experiment":
    """Create an experiment, unless another machine, which does not share the lock, creates it meanwhile."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_experiment(client.create_experiment(name, _artifact_location(), EXPERIMENT_TAGS))
    except MlflowException as error:
        found = client.get_experiment_by_name(name) if error.error_code == "RESOURCE_ALREADY_EXISTS" else None
        if found is None:
            raise
        return found


def require_active(experiment: "Experiment") -> None:
    """Raise TrackingError if an experiment is deleted: MLflow refuses everything that belongs to it."""
    if experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {experiment.name} is deleted; `mlflow experiments restore -x {experiment.experiment_id}` "
            "restores it, or set another tracking.experiment in params.yaml"
        )


def require_package(artifact_location: str) -> None:
    """Raise TrackingError if MLflow lacks the package that artifacts at this location need."""
    module = CLOUD_MODULES.get(urlsplit(artifact_location).scheme)
    if module and not _is_installed(module):
        raise TrackingError(
            f"{without_password(artifact_location)}: storing artifacts there needs {module}, which is not installed; "
            f"run pip install {PACKAGES[module.split('.')[0]]}"
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a parent of the module
        return False


def open_client() -> "MlflowClient":
    """A client of the store; a missing SQLite file is created. Raises TrackingError."""
    quiet()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    uri = tracking_uri()
    database = database_path(uri)
    try:
        with _lock("store"):
            client = MlflowClient(uri, registry_uri=registry_uri())
            if database:
                client.search_experiments(max_results=1)  # creates the tables
                update_locations(database)
    except (MlflowException, OSError, ImportError) as error:
        raise unreachable(error) from error
    return client


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn MLflow's errors, which may contain the password of the tracking URI, into TrackingError."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise unreachable(error) from error


def write_obstacle() -> str | None:
    """Why a SQLite store accepts no writes, found within seconds; None for a server, whose calls fail quickly."""
    database = database_path(tracking_uri())
    if database is None or not database.exists():
        return None
    # MLflow itself waits 20 s for a locked SQLite file.
    try:
        connection = sqlite3.connect(database, timeout=LOCK_TIMEOUT_S, isolation_level=None)
    except sqlite3.Error as error:
        return str(error)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        return str(error)
    finally:
        connection.close()
    return None


def quiet() -> None:
    """Turn off MLflow's telemetry and notices, unless the environment sets them."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name, value in SHORT_TIMEOUTS.items():
        os.environ.setdefault(name, value)
    for name, level in (("mlflow", logging.ERROR), ("alembic", logging.ERROR), ("mlflow.store", logging.CRITICAL)):
        logging.getLogger(name).setLevel(level)


@contextmanager
def long_timeouts(size: int = LARGEST_MODEL) -> Iterator[None]:
    """Inside, a request to a server may take as long as a file of `size` bytes needs, unless the user set a timeout."""
    before = os.environ.get(TIMEOUT)
    if before in (None, SHORT_TIMEOUTS[TIMEOUT]):
        os.environ[TIMEOUT] = str(int(SHORT_TIMEOUTS[TIMEOUT]) + math.ceil(size / SLOWEST_UPLOAD))
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(TIMEOUT, None)
        else:
            os.environ[TIMEOUT] = before


def lock_path(name: str) -> Path:
    """A file to lock during changes of the store that take more than one call. Raises TrackingError if read-only."""
    folder = _lock_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unreachable(error) from error
    if not os.access(folder, os.W_OK):
        raise unreachable(PermissionError(errno.EACCES, "cannot be written", str(folder)))
    return folder / f"{name}.lock"


def _lock_folder() -> Path:
    database = database_path(tracking_uri())
    return (database.parent if database else repo_root()) / ".cache" / "tracking"


@contextmanager
def _lock(name: str) -> Iterator[None]:
    """Hold a lock; in a read-only store there is nothing to lock."""
    database = database_path(tracking_uri())
    if database and database.exists() and not os.access(database.parent, os.W_OK):
        yield
        return
    with FileLock(lock_path(name), timeout=60):
        yield


def _artifact_location() -> str | None:
    # A server has its own location for artifacts.
    database = database_path(tracking_uri())
    return artifacts_folder(database).as_uri() if database else None

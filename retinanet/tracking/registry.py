"""Versions of the model in MLflow's registry: registered once, found by alias, verified by digest."""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from retinanet.errors import TrackingError
from retinanet.files import sha256_of
from retinanet.tracking.entries import EVALUATION_TAG, metric_name
from retinanet.tracking.failures import reason_of
from retinanet.tracking.locations import present_location, tracking_uri
from retinanet.tracking.provenance import provenance_tags
from retinanet.tracking.served_files import write_served_files
from retinanet.tracking.store import lock_path, long_timeouts, open_client, require_active, unreachable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PRODUCTION, PREVIOUS = "production", "previous"
MAX_DESCRIPTION = 5000  # characters, in MLflow's tables
# MLflow adds the first to a download, Python the second to code that it runs.
IGNORED_NAMES = ("registered_model_meta", "__pycache__")
REGISTER_AGAIN = "delete the version, then register it again with `dvc repro -f -s export`"


def register(
    model_name: str,
    run_id: str,
    exported: Path,
    model_sha256: str,
    metrics: Mapping[str, float],
    evaluation_digest: str,
    class_names: Sequence[str],
    provenance: Mapping[str, str] | None = None,
    record: Path | None = None,
    card: str = "",
) -> int:
    """Register the exported model in the folder `exported`; returns the number of its version.

    provenance are the tags of retinanet.tracking.provenance (default: those of now); record is a folder that is stored
    with the version's files, and card the version's description, in Markdown. If a version with the same weights and
    exported files exists, its number is returned and its metrics stay. Raises TrackingError.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    client = open_client()
    # The registry looks up a model's files in the process's store, not in the client's.
    mlflow.set_tracking_uri(tracking_uri())
    with FileLock(lock_path("registry"), timeout=600), tempfile.TemporaryDirectory() as folder, long_timeouts():
        try:
            _ensure_model(client, model_name)
            same = {"model_sha256": model_sha256, "export_sha256": tree_digest(exported)}
            if (number := same_version(client, model_name, same)) is not None:
                return number
            tags = {_metric_tag(name): repr(float(value)) for name, value in metrics.items()}
            tags |= {"classes": ", ".join(class_names), EVALUATION_TAG: evaluation_digest} | same
            # The run has the versions of libraries, and the model's requirements pin them.
            made, unused = provenance_tags() if provenance is None else provenance, ("version.", "mlflow.", "python")
            tags |= {name: value for name, value in made.items() if not name.startswith(unused)}
            return _new_version(client, model_name, run_id, exported, record, tags, card, Path(folder))
        except (MlflowException, OSError, ImportError) as error:
            raise unreachable(error) from error


def same_version(client: "MlflowClient", model_name: str, digests: Mapping[str, str]) -> int | None:
    """The number of the newest version with these tags model_sha256 and export_sha256, or None."""
    found = (v for v in versions(client, model_name) if v.status == "READY" and digests.items() <= v.tags.items())
    return next((int(version.version) for version in found), None)


def versions(client: "MlflowClient", model_name: str) -> list["ModelVersion"]:
    """All versions of a model, newest first; empty if the registry lacks the model."""
    found = client.search_model_versions(f"name = '{model_name}'", max_results=10_000)
    return sorted(found, key=lambda version: -int(version.version))


def find_version(client: "MlflowClient", model_name: str, number: int | str) -> "ModelVersion":
    """The version with this number. Raises TrackingError if there is none."""
    for version in versions(client, model_name):
        if str(version.version) == str(number):
            return version
    raise TrackingError(f"{model_name} has no version {number} in the registry; `retinanet status` lists them")


def at_alias(client: "MlflowClient", model_name: str, alias: str) -> "ModelVersion | None":
    """The version with this alias, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(model_name, alias)
    except MlflowException as error:
        # One code is for a missing model, the other for a missing alias.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def metric_of(version: "ModelVersion", name: str) -> float | None:
    """A metric that the version was registered with, or None."""
    text = version.tags.get(_metric_tag(name))
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _metric_tag(name: str) -> str:
    """The tag of a metric; class names in it may have characters that MLflow refuses."""
    return f"metric.{metric_name(name)}"


def check_digest(client: "MlflowClient", version: "ModelVersion") -> None:
    """Raise TrackingError if a version's files are lost or were changed after registration."""
    with model_files(client, version):
        pass


@contextmanager
def model_files(client: "MlflowClient", version: "ModelVersion") -> Iterator[Path]:
    """The folder with a version's files: the store's own if it is local, else a temporary copy.

    Raises TrackingError if they are not those that were registered: nothing of a version is executed or read before.
    """
    with unchecked_files(client, version) as path:
        _require_digest(version, tree_digest(path))
        yield path


@contextmanager
def unchecked_files(client: "MlflowClient", version: "ModelVersion") -> Iterator[Path]:
    """Like model_files, for a caller that compares the files itself. Raises TrackingError if they are lost."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder, long_timeouts():
        try:
            location = present_location(client.get_logged_model(version.tags["model_id"]).artifact_location)
            copy_to = None if location.startswith("file:") else folder
            path = Path(download_artifacts(location, dst_path=copy_to, tracking_uri=tracking_uri()))
        except ImportError as error:
            raise unreachable(error) from error
        except (MlflowException, OSError, KeyError) as error:
            raise TrackingError(
                f"{version.name} version {version.version}: its files cannot be fetched ({reason_of(error)}); if they "
                f"are lost, {REGISTER_AGAIN}"
            ) from error
        yield path


def _require_digest(version: "ModelVersion", digest: str) -> None:
    recorded = version.tags.get("artifact.digest", "none")
    if digest != recorded:
        raise TrackingError(
            f"{version.name} version {version.version}: digest mismatch of its files: expected {recorded[:12]}, got "
            f"{digest[:12]}; they were changed or damaged: {REGISTER_AGAIN}"
        )


def tree_digest(folder: Path, files: Iterable[Path] | None = None) -> str:
    """A hash of the names and contents of a model's files; by default of all in the folder."""
    lines = []
    for path in sorted(folder.rglob("*") if files is None else files):
        name = path.relative_to(folder)
        if path.is_file() and not set(name.parts) & set(IGNORED_NAMES):
            lines.append(f"{name.as_posix()} {sha256_of(path)}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _ensure_model(client: "MlflowClient", model_name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model_name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _new_version(
    client: "MlflowClient",
    model_name: str,
    run_id: str,
    exported: Path,
    record: Path | None,
    tags: dict[str, str],
    card: str,
    folder: Path,
) -> int:
    """Store the files, then the version with all its tags in one call: no version ever lacks its metrics."""
    from mlflow.entities import LoggedModelOutput

    experiment_id = client.get_run(run_id).info.experiment_id
    require_active(client.get_experiment(experiment_id))
    logged = client.create_logged_model(
        experiment_id, model_name, run_id, tags={"export_sha256": tags["export_sha256"]}
    )
    write_served_files(folder / "model", exported, record, folder, run_id, logged.model_id)
    client.log_model_artifacts(logged.model_id, str(folder / "model"))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    tags |= {"artifact.digest": tree_digest(folder / "model"), "model_id": logged.model_id}
    version = client.create_model_version(
        model_name,
        f"models:/{logged.model_id}",
        run_id,
        tags=tags,
        description=card[:MAX_DESCRIPTION] or None,
        model_id=logged.model_id,
    )
    if version.status != "READY":
        raise TrackingError(
            f"{model_name} version {version.version} is {version.status} ({version.status_message}); {REGISTER_AGAIN}"
        )
    return int(version.version)

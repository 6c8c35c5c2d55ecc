"""Versions of the model in MLflow's registry: made once, found by alias, checked by digest."""

import hashlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

import retinanet
from retinanet.errors import TrackingError
from retinanet.export.runtimes import exported_runtime
from retinanet.files import sha256_of
from retinanet.tracking.provenance import provenance_tags
from retinanet.tracking.store import lock_path, long_timeouts, open_client, tracking_uri, unreachable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PRODUCTION, PREVIOUS = "production", "previous"
PACKAGE = Path(retinanet.__file__).parent
# Besides what the exported model's runtime needs.
SERVED_WITH = ("mlflow", "numpy", "opencv-python-headless", "pandas", "pillow")
# MLflow writes the first into what it downloads, Python the second into code that it runs.
NOT_OF_THE_MODEL = ("registered_model_meta", "__pycache__")


def register(
    model_name: str,
    run_id: str,
    exported: Path,
    model_sha256: str,
    metrics: Mapping[str, float],
    evaluation_digest: str,
    class_names: Sequence[str],
) -> int:
    """Make a version of an exported model and return its number.

    exported is the folder of an exported model. The same weights in the same exported files have one version: it is
    returned, and its metrics stay. Raises TrackingError.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    client = open_client()
    # The registry looks a model's files up in the store that is set for the process, not in the client's.
    mlflow.set_tracking_uri(tracking_uri())
    with FileLock(lock_path("registry"), timeout=600), tempfile.TemporaryDirectory() as folder, long_timeouts():
        try:
            _ensure_model(client, model_name)
            same = {"model_sha256": model_sha256, "export_sha256": tree_digest(exported)}
            for known in versions(client, model_name):
                if known.status == "READY" and same.items() <= known.tags.items():
                    return int(known.version)
            tags = {f"metric.{name}": repr(float(value)) for name, value in metrics.items()}
            tags |= {"classes": ", ".join(class_names), "evaluation.digest": evaluation_digest} | same
            # The versions of libraries are the run's to tell, and pinned in the model's requirements.
            origin = provenance_tags()
            tags |= {name: value for name, value in origin.items() if not name.startswith(("version.", "mlflow."))}
            return _new_version(client, model_name, run_id, exported, tags, Path(folder))
        except (MlflowException, OSError) as error:
            raise unreachable(error) from error


def versions(client: "MlflowClient", model_name: str) -> list["ModelVersion"]:
    """All versions of a model, the newest first; none where the registry lacks it."""
    found = client.search_model_versions(f"name = '{model_name}'", max_results=10_000)
    return sorted(found, key=lambda version: -int(version.version))


def find_version(client: "MlflowClient", model_name: str, number: int | str) -> "ModelVersion":
    """Raises TrackingError where there is none with this number."""
    for version in versions(client, model_name):
        if str(version.version) == str(number):
            return version
    raise TrackingError(f"{model_name} has no version {number} in the registry; `retinanet status` lists them")


def at_alias(client: "MlflowClient", model_name: str, alias: str) -> "ModelVersion | None":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(model_name, alias)
    except MlflowException as error:
        # MLflow has one code for a missing model and another for a missing alias.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def metric_of(version: "ModelVersion", name: str) -> float | None:
    """A figure that a version was registered with, or None."""
    text = version.tags.get(f"metric.{name}")
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def check_digest(client: "MlflowClient", version: "ModelVersion") -> None:
    """Raise TrackingError when a version's files are not those that were registered."""
    with model_files(client, version) as folder:
        digest = tree_digest(folder)
    recorded = version.tags.get("artifact.digest", "none")
    if digest != recorded:
        raise TrackingError(
            f"{version.name} version {version.version}: its files hash to {digest[:12]}, recorded is {recorded[:12]}; "
            "they were changed or damaged since: delete the version, then `dvc repro -f -s export` registers it anew"
        )


@contextmanager
def model_files(client: "MlflowClient", version: "ModelVersion") -> Iterator[Path]:
    """The folder with a version's files: the store's own where it is on this machine, else a copy for the while."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder, long_timeouts():
        try:
            location = client.get_logged_model(version.tags["model_id"]).artifact_location
            copy_to = None if location.startswith("file:") else folder
            path = Path(download_artifacts(location, dst_path=copy_to, tracking_uri=tracking_uri()))
        except (MlflowException, OSError, KeyError) as error:
            raise TrackingError(
                f"{version.name} version {version.version}: its files can't be fetched ({error}); if they are lost, "
                "delete the version, then `dvc repro -f -s export` registers it anew"
            ) from error
        yield path


def tree_digest(folder: Path) -> str:
    """A hash of all of a model's files with their names."""
    lines = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not set(name.parts) & set(NOT_OF_THE_MODEL):
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
    client: "MlflowClient", model_name: str, run_id: str, exported: Path, tags: dict[str, str], folder: Path
) -> int:
    """Store the files, then the version with all its tags in one call: no version is ever without its figures."""
    from mlflow.entities import LoggedModelOutput

    experiment_id = client.get_run(run_id).info.experiment_id
    logged = client.create_logged_model(
        experiment_id, model_name, run_id, tags={"export_sha256": tags["export_sha256"]}
    )
    _save(folder / "model", exported, folder, run_id, logged.model_id)
    client.log_model_artifacts(logged.model_id, str(folder / "model"))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    tags |= {"artifact.digest": tree_digest(folder / "model"), "model_id": logged.model_id}
    made = client.create_model_version(
        model_name,
        f"models:/{logged.model_id}",
        run_id,
        tags=tags,
        description=_summary(tags),
        model_id=logged.model_id,
    )
    if made.status != "READY":
        raise TrackingError(f"{model_name} version {made.version} is {made.status}: {made.status_message}")
    return int(made.version)


def _summary(tags: Mapping[str, str]) -> str:
    figures = [f"{name} {float(tags[f'metric.{name}']):.3f}" for name in ("AP50", "AP") if f"metric.{name}" in tags]
    return "; ".join([", ".join(figures) or "no figures", tags["classes"], f"commit {tags['git.commit'][:7]}"])


def _save(path: Path, exported: Path, folder: Path, run_id: str, model_id: str) -> None:
    """A pyfunc of files only: the exported model, the package's source, and the file that joins them; no pickle."""
    import mlflow
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType, Array

    # One folder, so that the files that a runtime writes beside its model stay beside it.
    artifacts = {"exported": str(shutil.copytree(exported, folder / "exported"))}
    code = folder / "retinanet"
    shutil.copytree(PACKAGE, code, ignore=shutil.ignore_patterns("__pycache__"))
    numbers = Array(DataType.double)
    signature = ModelSignature(
        # Any type: a number in place of a text is then answered by the model, in its row, not by a 400 for all.
        inputs=Schema([ColSpec(AnyType(), "image", required=False)]),
        outputs=Schema(
            [
                ColSpec(Array(numbers), "boxes"),
                ColSpec(numbers, "scores"),
                ColSpec(Array(DataType.string), "labels"),
                ColSpec(DataType.string, "error", required=False),
            ]
        ),
        params=ParamSchema([ParamSpec("score_threshold", DataType.double, 0.0)]),
    )
    with warnings.catch_warnings():
        # MLflow misses an input example; the signature is written out above.
        warnings.simplefilter("ignore", UserWarning)
        mlflow.pyfunc.save_model(
            path,
            python_model=str(PACKAGE / "tracking" / "served_model.py"),
            artifacts=artifacts,
            code_paths=[str(code)],
            signature=signature,
            pip_requirements=[
                f"{name}=={installed(name)}" for name in (*SERVED_WITH, *exported_runtime(exported).requirements)
            ],
            mlflow_model=Model(run_id=run_id, model_id=model_id),
        )

"""The weights of a registered version, to start training from."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from retinanet.errors import TrackingError
from retinanet.files import sha256_of
from retinanet.tracking.failures import reason_of, unreachable
from retinanet.tracking.locations import present_location, tracking_uri
from retinanet.tracking.registry import at_alias, find_version
from retinanet.tracking.store import long_timeouts, open_client, store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

# Where the train stage logs them in its run.
ARTIFACT = "model/trained.safetensors"


@contextmanager
def resolve_weights(weights: str) -> Iterator[str]:
    """A value of model.weights that needs no registry: models:/... becomes the path of a temporary copy.

    The copy exists inside the context. Other values are returned as they are. Raises TrackingError.
    """
    if not weights.startswith("models:/"):
        yield weights
        return
    client = open_client()
    version = named_version(client, weights)
    print(f"{weights} is version {version.version}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        yield str(fetch_weights(client, version, folder))


def version_uri(model_name: str, name: str) -> str:
    """The URI of a model's version that is named by its number or an alias."""
    return f"models:/{model_name}{'/' if name.isdecimal() else '@'}{name}"


def named_version(client: "MlflowClient", uri: str) -> "ModelVersion":
    """The version that models:/NAME@ALIAS or models:/NAME/VERSION names. Raises TrackingError."""
    name, _, alias = uri.removeprefix("models:/").partition("@")
    name, _, number = name.partition("/")
    if not name or bool(alias) == bool(number):
        raise TrackingError(f"{uri}: not a model version; write models:/NAME@production or models:/NAME/3")
    with store_errors():
        version = find_version(client, name, number) if number else at_alias(client, name, alias)
    if version is None:
        raise TrackingError(f"{name} has no version with the alias {alias}; `retinanet status` lists the versions")
    return version


def fetch_weights(client: "MlflowClient", version: "ModelVersion", folder: str) -> Path:
    """Download a version's trained weights into a folder. Raises TrackingError, also for other weights."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    name = f"{version.name} version {version.version}"
    try:
        with long_timeouts():
            location = present_location(client.get_run(str(version.run_id)).info.artifact_uri)
            path = Path(download_artifacts(f"{location}/{ARTIFACT}", dst_path=folder, tracking_uri=tracking_uri()))
    except ImportError as error:
        raise unreachable(error) from error
    except (MlflowException, OSError) as error:
        raise TrackingError(
            f"{name}: its run {version.run_id} has no {ARTIFACT} ({reason_of(error)}); set model.weights to a file"
        ) from error
    if (digest := sha256_of(path)) != version.tags.get("model_sha256"):
        recorded = version.tags.get("model_sha256", "none")
        raise TrackingError(
            f"{name}: sha256 mismatch of {ARTIFACT} of its run: expected {recorded[:12]}, got {digest[:12]}; it was "
            "changed or damaged: set model.weights to a file"
        )
    return path

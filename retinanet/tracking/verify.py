"""Verify a registered version for somebody who does not trust the store; nothing of the version is executed."""

import gzip
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from retinanet.dataset.coco import read_coco
from retinanet.errors import RetinanetError
from retinanet.evaluation.coco_metrics import coco_metrics
from retinanet.files import sha256_of
from retinanet.tracking.entries import EVALUATION_TAG, metric_name
from retinanet.tracking.failures import reason_of
from retinanet.tracking.history import entries, moved_outside
from retinanet.tracking.registered_weights import fetch_weights, named_version, version_uri
from retinanet.tracking.registry import PRODUCTION, metric_of, tree_digest, unchecked_files
from retinanet.tracking.served_files import RECORD
from retinanet.tracking.signing import differences, signed_statement, statement
from retinanet.tracking.store import open_client, store_errors
from retinanet.tracking.version_record import DETECTIONS, LOCK, TEST_SET, TRAINING, VERSION, read_record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MAX_DIFFERENCE = 1e-6  # of metrics
PREPARED = "data/prepared"  # in dvc.lock
# What each check compares.
CHECKS = {
    "signature": "a trusted key signed the version as it is now",
    "digests": "the files have the registered hashes",
    "tags": "classes, metrics, commit and hashes are those of the record",
    "data": "the test set is the one of training, and all stages used the same prepared data",
    "metrics": "the stored detections give the recorded metrics",
    "run": "the run shows the recorded metrics and data",
    "weights": "the trained weights of the run have the registered hash",
    "alias": "the promotion history put this version into production",
}


class Check(NamedTuple):
    """One part of a verification; it passed if there are no problems. name is a key of CHECKS."""

    name: str
    problems: list[str]


def verify(model_name: str, name: str, public_keys: Path | None) -> tuple[int, list[Check]]:
    """Check the version with this number or alias; returns its number and the checks.

    public_keys is a file of trusted keys; None leaves the signature out. Raises TrackingError if the version is missing
    or its files cannot be fetched.
    """
    client = open_client()
    with store_errors():
        version = named_version(client, version_uri(model_name, name))
        with unchecked_files(client, version) as folder:
            checks = [_check("digests", _digests, version, folder), _check("tags", _tags, version, folder)]
            checks += [_check("data", _data, version, folder), _check("metrics", _metrics, version, folder)]
            checks.append(_check("run", _run, client, version, folder))
            if public_keys:
                checks.insert(0, _check("signature", _signature, version, folder, public_keys))
        checks.append(_check("weights", _weights, client, version))
        if name == PRODUCTION:
            checks.append(_check("alias", _alias, client, version))
    return int(version.version), checks


def _check(name: str, find_problems: Callable[..., list[str]], *arguments: object) -> Check:
    """A damaged file or a lost run is a problem too."""
    from mlflow.exceptions import MlflowException

    try:
        return Check(name, find_problems(*arguments))
    except (RetinanetError, MlflowException) as error:
        return Check(name, [reason_of(error, 500)])
    except (OSError, ValueError, KeyError, TypeError, EOFError, yaml.YAMLError) as error:
        return Check(name, [f"the record cannot be read: {reason_of(error, 500)}"])


def _signature(version: "ModelVersion", folder: Path, public_keys: Path) -> list[str]:
    """Whether a trusted key signed the version as it is."""
    return differences(signed_statement(version, public_keys), statement(version, folder))


def _digests(version: "ModelVersion", folder: Path) -> list[str]:
    """Whether the files have the digests in the tags."""
    found = {"artifact.digest": folder, "export_sha256": folder / "artifacts" / "exported"}
    return [
        f"tag {tag} is {version.tags.get(tag, 'none')[:12]}, the files have {tree_digest(path)[:12]}"
        for tag, path in found.items()
        if version.tags.get(tag) != tree_digest(path)
    ]


def _tags(version: "ModelVersion", folder: Path) -> list[str]:
    """Whether the tags are those of the record."""
    made = read_record(folder, VERSION)
    recorded = {name: made["tags"][name] for name in ("git.commit", "code.digest", "dirty")}
    recorded |= {"classes": ", ".join(made["class_names"]), "model_sha256": made["model_sha256"]}
    recorded |= {EVALUATION_TAG: made["evaluation_digest"]}
    problems = [
        f"tag {name} is {version.tags.get(name, 'none')}, recorded is {value}"
        for name, value in recorded.items()
        if version.tags.get(name) != value
    ]
    for name, value in made["metrics"].items():
        tagged = metric_of(version, name)
        if tagged is None or not _is_near(tagged, value):
            problems.append(f"tag metric.{metric_name(name)} is {tagged}, recorded is {value}")
    return problems


def _data(version: "ModelVersion", folder: Path) -> list[str]:
    """Whether the stored test set is the recorded one, and the stages used the same data."""
    recorded = read_record(folder, TRAINING)["splits"]["test"]
    with _unpacked(folder, TEST_SET) as path:
        found = sha256_of(path)
    problems = [] if recorded == found else [f"sha256 of the test set is {found[:12]}, recorded is {recorded[:12]}"]
    stages = yaml.safe_load((folder / RECORD / LOCK).read_text(encoding="utf-8"))["stages"]
    rows = [(name, row) for name, entry in stages.items() for row in [*entry.get("deps", []), *entry.get("outs", [])]]
    hashes = {name: row["md5"][:12] for name, row in rows if row["path"] == PREPARED}
    if len(set(hashes.values())) > 1:
        problems.append(f"{LOCK} has different hashes of {PREPARED}: {hashes}")
    return problems


def _metrics(version: "ModelVersion", folder: Path) -> list[str]:
    """Whether the stored detections and test set give the recorded metrics."""
    recorded = read_record(folder, VERSION)["metrics"]
    with _unpacked(folder, TEST_SET) as path:
        computed = coco_metrics(read_coco(path), read_record(folder, DETECTIONS))
    return [
        f"{name} is {value:.6f}, recorded is {recorded.get(name, 'none')}"
        for name, value in computed.items()
        if name not in recorded or not _is_near(recorded[name], value)
    ]


def _run(client: "MlflowClient", version: "ModelVersion", folder: Path) -> list[str]:
    """Whether the run shows the recorded data and, if it is of the same evaluation, metrics."""
    made, training = read_record(folder, VERSION), read_record(folder, TRAINING)
    run = client.get_run(str(version.run_id))
    if run.info.lifecycle_stage != "active":
        return [f"run {run.info.run_id} is deleted"]
    logged = [row.dataset.digest for row in run.inputs.dataset_inputs] if run.inputs else []
    problems = [
        f"run {run.info.run_id}: digest of {dataset['name']} is not {dataset['digest'][:12]}"
        for dataset in training["datasets"]
        if dataset["digest"][:36] not in logged
    ]
    if run.data.tags.get(EVALUATION_TAG) != made["evaluation_digest"]:
        return problems
    for name, value in made["metrics"].items():
        shown = run.data.metrics.get(metric_name(f"test/{name}"))
        if shown is None or not _is_near(shown, value):
            problems.append(f"run {run.info.run_id}: test/{name} is {shown}, recorded is {value}")
    return problems


def _weights(client: "MlflowClient", version: "ModelVersion") -> list[str]:
    """Whether the run's trained weights, which training can start from, have the digest in the tags."""
    with tempfile.TemporaryDirectory() as folder:
        fetch_weights(client, version, folder)
    return []


def _alias(client: "MlflowClient", version: "ModelVersion") -> list[str]:
    """Whether the alias `production` is where the last promotion or rollback put it."""
    moved = moved_outside(entries(client, version.name), int(version.version))
    return [moved] if moved else []


@contextmanager
def _unpacked(folder: Path, name: str) -> Iterator[Path]:
    """A temporary copy of a compressed file of the record."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / name.removesuffix(".gz")
        path.write_bytes(gzip.decompress((folder / RECORD / name).read_bytes()))
        yield path


def _is_near(a: float, b: float) -> bool:
    return abs(a - b) <= MAX_DIFFERENCE

"""One of the two models that `retinanet compare` compares, wherever its metrics come from."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from retinanet.evaluation.matches import Matches
from retinanet.tracking.entries import EVALUATION_TAG
from retinanet.tracking.evaluations import StoredDetections, stored_detections, stored_matches
from retinanet.tracking.registry import metric_of
from retinanet.tracking.remeasure import measure_version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


class Side(NamedTuple):
    """A model that is compared.

    facts are settings, data and code by name. value is the metric of params.yaml's promote.metric, or None. matches are
    None if they are lost. detections returns those of the evaluation with a digest, or None. is_file: a file carries
    only some of the settings.
    """

    name: str
    facts: Mapping[str, str]
    value: float | None
    matches: Matches | None
    detections: Callable[[str], StoredDetections | None]
    is_file: bool = False


class Split(NamedTuple):
    """The test split of the workspace, and the digest of an evaluation on it."""

    path: Path
    digest: str


def version_side(client: "MlflowClient", version: "ModelVersion", metric: str, again_on: Split | None = None) -> Side:
    """A registered version with what its run stored, or evaluated again if that was not on the test split again_on.

    Raises EvaluationError or TrackingError if it cannot be evaluated again.
    """
    digest, value = version.tags.get(EVALUATION_TAG), metric_of(version, metric)
    if again_on and digest != again_on.digest:
        value, matches = measure_version(client, version, again_on.path, metric)
    else:
        matches = None if value is None else stored_matches(client, version, digest, metric, value)
    return Side(
        f"version {version.version}",
        _made_from(client, version),
        value,
        matches,
        lambda wanted: stored_detections(client, version, wanted),
    )


def _made_from(client: "MlflowClient", version: "ModelVersion") -> dict[str, str]:
    """Params of the run, digests of its data, and the commit; fewer if the run is lost."""
    from mlflow.exceptions import MlflowException

    facts = {"commit": version.tags.get("git.commit", "unknown")[:7]}
    if version.tags.get("dirty") == "true":
        facts["commit"] += ", with uncommitted changes"
    if "classes" in version.tags:
        facts["classes"] = version.tags["classes"]
    try:
        run = client.get_run(str(version.run_id))
    except MlflowException:
        return facts
    datasets = run.inputs.dataset_inputs if run.inputs else []
    return run.data.params | {f"data {d.dataset.name}": d.dataset.digest for d in datasets} | facts

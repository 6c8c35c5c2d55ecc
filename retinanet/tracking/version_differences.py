"""What differs between two registered versions: settings, code and data, and their metrics on the same images."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from retinanet.errors import TrackingError
from retinanet.evaluation.intervals import Difference, differences, metric_values
from retinanet.evaluation.matches import Matches, is_same_test_set
from retinanet.tracking.entries import EVALUATION_TAG
from retinanet.tracking.evaluations import StoredDetections, stored_detections, stored_matches
from retinanet.tracking.registered_weights import named_version, version_uri
from retinanet.tracking.registry import metric_of
from retinanet.tracking.store import open_client, store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def differences_text(model_name: str, new: str, old: str, metric: str) -> str:
    """Lines about what `old` has and `new` has instead; both are numbers of versions, or aliases.

    metric is one that both were registered with. Raises TrackingError if a version is missing.
    """
    client = open_client()
    with store_errors():
        versions = [named_version(client, version_uri(model_name, name)) for name in (old, new)]
        made_from = [_made_from(client, version) for version in versions]
        lines = [f"{model_name}: version {versions[0].version} -> version {versions[1].version}", ""]
        lines += _changed(*made_from) or ["settings, data and code are equal"]
        return "\n".join([*lines, "", *_metric_lines(client, versions, metric)])


def detections_of(model_name: str, name: str, digest: str | None) -> tuple[str, StoredDetections]:
    """The number of a version, and its detections in the evaluation with this digest.

    Raises TrackingError if its run has none.
    """
    client = open_client()
    with store_errors():
        version = _named(client, model_name, name)
        found = stored_detections(client, version, digest) if digest else None
    if found is None:
        raise TrackingError(
            f"version {version.version} of {model_name} has no detections on this workspace's test split with its "
            "evaluation settings; check out the commit of the versions and run `dvc repro evaluate`"
        )
    return str(version.version), found


def _named(client: "MlflowClient", model_name: str, name: str) -> "ModelVersion":
    return named_version(client, f"models:/{model_name}{'/' if name.isdecimal() else '@'}{name}")


def _made_from(client: "MlflowClient", version: "ModelVersion") -> dict[str, str]:
    """Params of the run, digests of its data, and the commit; empty as far as the run is lost."""
    from mlflow.exceptions import MlflowException

    facts = {"commit": version.tags.get("git.commit", "unknown")[:7]}
    if version.tags.get("dirty") == "true":
        facts["commit"] += ", with uncommitted changes"
    try:
        run = client.get_run(str(version.run_id))
    except MlflowException:
        return facts
    datasets = run.inputs.dataset_inputs if run.inputs else []
    return run.data.params | {f"data {d.dataset.name}": d.dataset.digest for d in datasets} | facts


def _changed(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    names = dict.fromkeys([*old, *new])
    return [
        f"{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in names
        if old.get(name) != new.get(name)
    ]


def _metric_lines(client: "MlflowClient", versions: list["ModelVersion"], metric: str) -> list[str]:
    old, new = (_matches(client, version, metric) for version in versions)
    if old and new and is_same_test_set(old, new):
        values, found = [metric_values(matches) for matches in (old, new)], differences(new, old)
        reasons = {difference.reason for difference in found.values()}
        shared = reasons.pop() if len(reasons) == 1 else ""
        lines = [
            f"{name}: {values[0][name]:.4f} -> {values[1][name]:.4f}, {_gain(difference, bool(shared))}"
            for name, difference in found.items()
        ]
        return [*lines, *([f"no 95% intervals: {shared}"] if shared else [])]
    registered = [metric_of(version, metric) for version in versions]
    shown = ["none" if value is None else f"{value:.4f}" for value in registered]
    return [
        f"{metric}: {shown[0]} -> {shown[1]}, as registered: there is no interval of the difference, because the "
        "versions were not evaluated on the same test set, or their runs are lost"
    ]


def _matches(client: "MlflowClient", version: "ModelVersion", metric: str) -> Matches | None:
    value = metric_of(version, metric)
    if value is None:
        return None
    return stored_matches(client, version, version.tags.get(EVALUATION_TAG), metric, value)


def _gain(difference: Difference, is_reason_said: bool) -> str:
    if difference.reason:
        return f"{difference.value:+.4f}" + ("" if is_reason_said else f" ({difference.reason})")
    is_clear = difference.low > 0 or difference.high < 0
    edges = f"{difference.value:+.4f} (95% interval {difference.low:+.4f} to {difference.high:+.4f})"
    return edges if is_clear else f"{edges}, undecided"

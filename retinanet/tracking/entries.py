"""What a run logs, as entries of plain data: sent now, or spooled and sent later.

An entry is a dict whose "do" names the function below that sends it. Each takes (client, run_id, entry) and returns the
id of the run that the next entry belongs to.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from retinanet.errors import TrackingError
from retinanet.tracking.failures import reason_of
from retinanet.tracking.store import long_timeouts, open_experiment

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"
RESTORED_FROM = "restored_from"
EVALUATION_TAG = "evaluation.digest"
PROCESSOR_TAG = "speed.processor"  # which a version's latency was measured on
MAX_LENGTHS = {"params": 6000, "tags": 5000}
ROWS_PER_CALL = 100


class ArtifactStoreError(Exception):
    """The store of artifacts failed while the server answered; the cause says how."""


def send_entry(client: "MlflowClient", run_id: str, entry: Mapping) -> str:
    """Send one entry; returns the id of its run. Raises what MLflow raises."""
    return _ACTIONS[entry["do"]](client, run_id, entry)


def metric_name(name: str) -> str:
    """A name that MLflow accepts: letters, digits, "_-. " and "/" between parts; "_" replaces other characters."""
    parts = [re.sub(r"[^\w.\- ]", "_", part).strip() for part in name.split("/")]
    return "/".join(part if part.strip(".") else "_" * max(1, len(part)) for part in parts)[:250]


def find_run(client: "MlflowClient", run_id: str, experiment_id: str) -> "Run | None":
    """The run, or the run that replaces it (tagged restored_from), or None."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    else:
        if run.info.lifecycle_stage == "active":
            return run
    found = client.search_runs([experiment_id], f"tags.`{RESTORED_FROM}` = '{run_id}'", max_results=1)
    return found[0] if found else None


def _create(client: "MlflowClient", run_id: str, entry: Mapping) -> str:
    """Start a run. run_id is provisional; if the entry had to wait, the tag restored_from keeps it."""
    experiment_id = open_experiment(entry["experiment"])
    if not entry.get("waited"):
        return _new_run(client, experiment_id, entry)
    found = find_run(client, run_id, experiment_id)
    return found.info.run_id if found else _new_run(client, experiment_id, entry, restored_from=run_id)


def _find(client: "MlflowClient", run_id: str, entry: Mapping) -> str:
    """Use an existing run. If the store lacks it (a new store, a deleted run), a new finished run replaces it."""
    experiment_id = open_experiment(entry["experiment"])
    run_id = entry["run_id"]
    found = find_run(client, run_id, experiment_id)
    if found:
        return found.info.run_id
    renamed = {**entry, "name": entry.get("name") or f"restored {run_id[:8]}"}
    new_id = _new_run(client, experiment_id, renamed, restored_from=run_id)
    client.set_terminated(new_id, "FINISHED", entry.get("ended"))
    print(f"tracking: run {run_id} is deleted or not in the store; {new_id} replaces it", flush=True)
    return new_id


def _new_run(client: "MlflowClient", experiment_id: str, entry: Mapping, restored_from: str | None = None) -> str:
    tags = entry["tags"] | ({RESTORED_FROM: restored_from} if restored_from else {})
    return client.create_run(experiment_id, entry["at"], _texts(tags, "tags"), entry.get("name")).info.run_id


def _reopen(client: "MlflowClient", run_id: str, entry: Mapping) -> str:
    found = _find(client, run_id, entry)
    client.update_run(found, status="RUNNING")
    return found


def _params(client: "MlflowClient", run_id: str, entry: Mapping) -> str:
    from mlflow.entities import Param

    # MLflow rejects a change of a param, and a resumed run has its params already.
    logged = client.get_run(run_id).data.params
    values = {metric_name(key): value for key, value in entry["values"].items()}
    rows = [Param(key, value) for key, value in _texts(values, "params").items() if key not in logged]
    for start in range(0, len(rows), ROWS_PER_CALL):
        client.log_batch(run_id, params=rows[start : start + ROWS_PER_CALL])
    return run_id


def _tags(client: "MlflowClient", run_id: str, entry: Mapping) -> str:
    for key, value in _texts(entry["values"], "tags").items():
        client.set_tag(run_id, key, value)
    return run_id


def _metrics(client: "MlflowClient", run_id: str, entry: Mapping) -> str:
    from mlflow.entities import Metric

    rows = [
        Metric(metric_name(key), float(value), entry["at"], entry["step"] or 0)
        for key, value in entry["values"].items()
    ]
    for start in range(0, len(rows), ROWS_PER_CALL):
        client.log_batch(run_id, metrics=rows[start : start + ROWS_PER_CALL])
    return run_id


def _artifact(client: "MlflowClient", run_id: str, entry: Mapping) -> str:
    """Send one file, so that the store can refuse it without the other files of its folder."""
    path = Path(entry["path"])
    if not path.exists():
        print(f"tracking: {path} was removed before it could be sent to the run", flush=True)
        return run_id
    run = client.get_run(run_id)  # fails quickly if the server is unreachable
    if run.info.lifecycle_stage != "active":  # the artifact store would accept it
        raise TrackingError(f"run {run_id} is deleted")
    try:
        with long_timeouts(path.stat().st_size):
            client.log_artifact(run_id, str(path), entry["folder"])
    except Exception as error:  # stores of artifacts raise errors of their own libraries
        raise ArtifactStoreError(reason_of(error)) from error
    return run_id


def _dataset(client: "MlflowClient", run_id: str, entry: Mapping) -> str:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(entry["name"], entry["digest"][:36], "local", entry["source"], profile=entry["profile"])
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", entry["context"])])])
    return run_id


def _evaluation(client: "MlflowClient", run_id: str, entry: Mapping) -> str:
    """The first evaluation belongs to the run itself, one with another digest to a child run."""
    run = client.get_run(run_id)
    digest = run.data.tags.get(EVALUATION_TAG)
    if digest is None:
        client.set_tag(run_id, EVALUATION_TAG, entry["digest"])
    elif digest != entry["digest"]:
        return _child_evaluation(client, run, entry)
    return run_id


def _child_evaluation(client: "MlflowClient", parent: "Run", entry: Mapping) -> str:
    digest, parent_id, experiment_id = entry["digest"], parent.info.run_id, parent.info.experiment_id
    query = f"tags.`{PARENT}` = '{parent_id}' and tags.`{EVALUATION_TAG}` = '{digest}'"
    found = client.search_runs([experiment_id], query, max_results=1)
    if found:
        return found[0].info.run_id
    name = f"evaluated with {entry.get('changes') or f'other data {digest[:8]}'}"
    tags = {PARENT: parent_id, EVALUATION_TAG: digest}
    child = client.create_run(experiment_id, entry["at"], tags, f"{parent.info.run_name}: {name}"[:250])
    client.set_terminated(child.info.run_id, "FINISHED")
    return child.info.run_id


def _status(client: "MlflowClient", run_id: str, entry: Mapping) -> str:
    client.set_terminated(run_id, entry["status"], entry["at"])
    return run_id


def _texts(values: Mapping, kind: str) -> dict[str, str]:
    return {key: str(value)[: MAX_LENGTHS[kind]] for key, value in values.items()}


_ACTIONS = {
    "create": _create,
    "find": _find,
    "reopen": _reopen,
    "params": _params,
    "tags": _tags,
    "metrics": _metrics,
    "artifact": _artifact,
    "dataset": _dataset,
    "evaluation": _evaluation,
    "status": _status,
}

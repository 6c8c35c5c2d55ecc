"""The matches that a version's run stored for an evaluation."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from retinanet.errors import EvaluationError
from retinanet.evaluation.intervals import metric_values
from retinanet.evaluation.matches import Matches, read_matches
from retinanet.tracking.entries import EVALUATION_TAG, PARENT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ARTIFACT = "evaluate/matches.npz"
MAX_DIFFERENCE = 1e-6  # from the registered value, which is text


def stored_matches(
    client: "MlflowClient", version: "ModelVersion", digest: str | None, metric: str, value: float
) -> Matches | None:
    """The matches that the version's run, or a child of it, logged for the evaluation with this digest.

    None if there are none, or if they do not give this value of the metric.
    """
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(str(version.run_id))
        query = f"tags.`{PARENT}` = '{version.run_id}' and tags.`{EVALUATION_TAG}` = '{digest}'"
        runs = [run] if run.data.tags.get(EVALUATION_TAG) == digest else []
        runs = runs or list(client.search_runs([run.info.experiment_id], query, max_results=1))
        with tempfile.TemporaryDirectory() as folder:
            paths = [client.download_artifacts(found.info.run_id, ARTIFACT, folder) for found in runs]
            matches = read_matches(Path(paths[0])) if paths else None
    except (MlflowException, EvaluationError, ImportError, OSError):
        return None
    found = metric_values(matches).get(metric) if matches else None
    return matches if found is not None and abs(found - value) < MAX_DIFFERENCE else None

"""What a version's run stored for an evaluation: its matches and its detections."""

import csv
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from retinanet.errors import EvaluationError
from retinanet.evaluation.intervals import metric_values
from retinanet.evaluation.matches import Matches, read_matches
from retinanet.tracking.entries import EVALUATION_TAG, PARENT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

FOLDER = "evaluate"
MAX_DIFFERENCE = 1e-6  # from the registered value, which is text


class StoredDetections(NamedTuple):
    """COCO results rows of the test split, and the score threshold of each class by its name."""

    results: list[dict]
    thresholds: dict[str, float]


def stored_matches(
    client: "MlflowClient", version: "ModelVersion", digest: str | None, metric: str, value: float
) -> Matches | None:
    """The matches that the version's run, or a child of it, logged for the evaluation with this digest.

    None if there are none, or if they do not give this value of the metric.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            paths = _files(client, version, digest, ["matches.npz"], folder)
            matches = read_matches(paths[0]) if paths else None
        except EvaluationError:
            return None
    found = metric_values(matches).get(metric) if matches else None
    return matches if found is not None and abs(found - value) < MAX_DIFFERENCE else None


def stored_detections(client: "MlflowClient", version: "ModelVersion", digest: str | None) -> StoredDetections | None:
    """The detections that the version's run, or a child of it, logged for the evaluation with this digest, or None."""
    with tempfile.TemporaryDirectory() as folder:
        paths = _files(client, version, digest, ["detections.json", "operating_points.csv"], folder)
        try:
            return read_detections(*paths) if paths else None
        except EvaluationError:
            return None


def read_detections(detections: Path, operating_points: Path) -> StoredDetections:
    """Read detections.json and operating_points.csv of the stage evaluate. Raises EvaluationError."""
    try:
        results = json.loads(detections.read_text(encoding="utf-8"))
        with operating_points.open(encoding="utf-8", newline="") as file:
            return StoredDetections(results, {row["class"]: float(row["threshold"]) for row in csv.DictReader(file)})
    except (OSError, KeyError, ValueError) as error:
        raise EvaluationError(
            f"{detections}: cannot be read ({error}); `dvc repro -f evaluate` writes it again"
        ) from error


def _files(
    client: "MlflowClient", version: "ModelVersion", digest: str | None, names: list[str], folder: str
) -> list[Path]:
    """Local copies of the files that were logged for the evaluation; empty if one of them cannot be fetched."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(str(version.run_id))
        query = f"tags.`{PARENT}` = '{version.run_id}' and tags.`{EVALUATION_TAG}` = '{digest}'"
        runs = [run] if run.data.tags.get(EVALUATION_TAG) == digest else []
        runs = runs or list(client.search_runs([run.info.experiment_id], query, max_results=1))
        if not runs:
            return []
        run_id = runs[0].info.run_id
        return [Path(client.download_artifacts(run_id, f"{FOLDER}/{name}", folder)) for name in names]
    except (MlflowException, ImportError, OSError):
        return []

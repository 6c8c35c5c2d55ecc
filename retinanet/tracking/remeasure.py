"""Evaluate a registered version again, on the test set of this workspace."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retinanet.dataset.coco import CocoDataset, read_coco
from retinanet.errors import EvaluationError
from retinanet.evaluation.coco_metrics import evaluate, summarize
from retinanet.evaluation.matches import matches_of
from retinanet.evaluation.slices import slices_of
from retinanet.inference.detections import Detections
from retinanet.inference.results import coco_results
from retinanet.tracking.comparison import Evaluated
from retinanet.tracking.registry import model_files

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PROGRAM = Path(__file__).with_name("answer_images.py")


def measure_version(
    client: "MlflowClient", version: "ModelVersion", test_json: Path, metric: str, slice_pattern: str = ""
) -> Evaluated:
    """A metric of a version and its matches on the test set, with the detections that it serves.

    slice_pattern is evaluate.slice_pattern. Raises EvaluationError.
    """
    test_set = read_coco(test_json)
    with model_files(client, version) as folder:
        answers = _ask(folder, [Path(image.file_name).absolute() for image in test_set.images], version)
    results = []
    name = f"version {version.version}"
    for image, answer in zip(test_set.images, answers, strict=True):
        if answer["error"]:
            raise EvaluationError(f"{name} on {image.file_name}: {answer['error']}; check the image")
        results += coco_results(image.id, _detections(answer, test_set, name), test_set.category_ids)
    return evaluated(test_set, results, metric, test_json, slice_pattern)


def evaluated(
    test_set: CocoDataset, results: list[dict], metric: str, test_json: Path, slice_pattern: str = ""
) -> Evaluated:
    """A metric of COCO results rows, and their matches. Raises EvaluationError if there is no such metric."""
    evaluation = evaluate(test_set, results)
    metrics = summarize(evaluation, test_set)
    if metric not in metrics:
        raise EvaluationError(f"{test_json}: no metric {metric}; there are {', '.join(metrics)}")
    return Evaluated(metrics[metric], matches_of(evaluation, test_set, slices_of(test_set, slice_pattern)))


def labels_in(test_set: CocoDataset, class_names: Sequence[str], model: str) -> np.ndarray:
    """The label in the test set of each of a model's classes, (K,) int64. Raises EvaluationError if it lacks one."""
    unknown = sorted(set(class_names) - set(test_set.class_names))
    if unknown:
        raise EvaluationError(
            f"{model} has classes that the test set lacks: {', '.join(unknown)}; use a test set with these classes"
        )
    return np.array([test_set.class_names.index(name) for name in class_names], np.int64)


def _ask(folder: Path, images: list[Path], version: "ModelVersion") -> list[dict]:
    request = json.dumps({"model": str(folder), "images": [str(path) for path in images]})
    # Bytecode written beside the code would change the version's digest.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-P", PROGRAM], input=request, capture_output=True, text=True, env=environment
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise EvaluationError(f"version {version.version} could not be run ({last}); check its pinned requirements")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _detections(answer: dict, test_set: CocoDataset, name: str) -> Detections:
    return Detections(
        np.array(answer["boxes"], np.float32).reshape(-1, 4),
        np.array(answer["scores"], np.float32),
        labels_in(test_set, answer["labels"], name),
    )

"""What each stage logs: said once, for the stages, which log as they go, and for sync, which logs from the files."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from retinanet.export.runtimes import RUNTIMES
from retinanet.tracking.entries import PROCESSOR_TAG
from retinanet.tracking.gate import LATENCY, MEMORY
from retinanet.tracking.registry import find_version, register, same_version
from retinanet.tracking.signing import sign
from retinanet.tracking.store import open_client
from retinanet.tracking.version_record import CARD, VERSION, version_digests

PROCESSOR = "processor"  # in speed.json, beside the metrics that depend on it
# Of speed.json, what a version is registered with: what retinanet.tracking.gate limits, and the median.
REGISTERED_SPEED = (LATENCY, "latency_ms", MEMORY)
SIGNING_KEY = "RETINANET_SIGNING_KEY"  # environment variable: path of a private key


class Log(Protocol):
    """What a run accepts; see retinanet.tracking.runs.Run."""

    def log_params(self, params: Mapping) -> None: ...
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None: ...
    def log_artifact(self, path: Path, folder: str | None = None) -> None: ...
    def log_artifacts(self, path: Path, folder: str | None = None) -> None: ...
    def log_dataset(
        self, name: str, digest: str, source: str, context: str, profile: Mapping | None = None
    ) -> None: ...


def log_training_start(run: Log, record: Mapping[str, Any], paths: ModuleType) -> None:
    """Log what a training starts with: params, data, and the data report if it was made from this data.

    record is retinanet.tracking.training_record's, paths is stages/paths.py.
    """
    run.log_params(record["params"])
    if paths.DATA_STATISTICS.exists():
        reported = json.loads(paths.DATA_STATISTICS.read_text(encoding="utf-8")).get("prepared", {})
        if all(reported.get(split) == digest for split, digest in record["splits"].items()):
            run.log_artifacts(paths.DATA_REPORT, "data")
    for dataset in record["datasets"]:
        run.log_dataset(**dataset)


def log_training_end(run: Log, paths: ModuleType) -> None:
    # For model.weights: models:/...; a registered version holds only the exported model.
    run.log_artifact(paths.TRAINED, "model")
    run.log_artifacts(paths.TRAIN_REPORT, "train")


def log_evaluation(run: Log, paths: ModuleType) -> None:
    """Log to the run that retinanet.tracking.runs.evaluation_run opens."""
    metrics = json.loads(paths.METRICS.read_text(encoding="utf-8"))
    run.log_metrics({f"test/{name}": value for name, value in metrics.items()})
    run.log_artifacts(paths.EVALUATION, "evaluate")


def log_export(run: Log, paths: ModuleType) -> None:
    for report in (paths.EXPORT_REPORT, paths.EXPORT_TABLE):
        run.log_artifact(report, "export")
    speed = _speed(paths)
    if speed:
        run.log_artifact(paths.EXPORT_SPEED, "export")
    run.log_metrics({f"speed/{name}": value for name, value in speed.items() if name != PROCESSOR})
    run.log_artifact(paths.MODEL_CARD)


def log_heat_maps(run: Log, paths: ModuleType) -> None:
    metrics = json.loads(paths.GRADCAM_METRICS.read_text(encoding="utf-8"))
    run.log_metrics({f"test/{name}": value for name, value in metrics.items()})
    run.log_artifacts(paths.GRADCAM_REPORT, "gradcam")


def register_exported(model_name: str, run_id: str, paths: ModuleType) -> int:
    """Register the exported model with its record; returns the number of its version. Raises TrackingError.

    A new version is signed with the key that RETINANET_SIGNING_KEY names.
    """
    speed = _speed(paths)
    client = open_client()
    made = json.loads((paths.VERSION_RECORD / VERSION).read_text(encoding="utf-8"))
    is_new = same_version(client, model_name, version_digests(paths.VERSION_RECORD, paths.EXPORT)) is None
    with tempfile.TemporaryDirectory() as folder:
        for file in RUNTIMES[made["runtime"]].files(paths.EXPORT):
            shutil.copy2(file, folder)
        number = register(
            model_name,
            run_id=run_id,
            exported=Path(folder),
            model_sha256=made["model_sha256"],
            metrics=made["metrics"] | {name: speed[name] for name in REGISTERED_SPEED if name in speed},
            evaluation_digest=made["evaluation_digest"],
            class_names=made["class_names"],
            provenance=made["tags"] | ({PROCESSOR_TAG: speed[PROCESSOR]} if speed else {}),
            record=paths.VERSION_RECORD,
            card=(paths.VERSION_RECORD / CARD).read_text(encoding="utf-8"),
        )
    key = os.environ.get(SIGNING_KEY)
    if key and is_new:  # somebody else may have registered another
        sign(client, find_version(client, model_name, number), Path(key))
    return number


def _speed(paths: ModuleType) -> dict[str, Any]:
    """The content of speed.json; empty for a model that was exported before its speed was measured."""
    return json.loads(paths.EXPORT_SPEED.read_text(encoding="utf-8")) if paths.EXPORT_SPEED.exists() else {}

"""The record of a version, which is stored with its files: what made it, and what it was measured with."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from retinanet.export.runtimes import RUNTIMES
from retinanet.files import write_json, write_text
from retinanet.tracking.dvc_lock import read_lock, stages_before
from retinanet.tracking.provenance import provenance_tags
from retinanet.tracking.registry import tree_digest
from retinanet.tracking.served_files import RECORD

VERSION, PARAMS, LOCK, TRAINING, SBOM = "version.json", "params.yaml", "dvc.lock", "training.json", "sbom.json"
CARD = "model_card.md"
DETECTIONS, TEST_SET = "detections.json.gz", "test.json.gz"


def write_record(folder: Path, class_names: Sequence[str], runtime: str, paths: ModuleType) -> None:
    """Write the record of the version that the export stage registers; paths is stages/paths.py.

    runtime is the name of the exported model that the version holds.
    Only the stages before export are recorded of dvc.lock: DVC updates the others later.
    """
    metrics, evaluation, run = (_read(path) for path in (paths.METRICS, paths.EVALUATION_DIGEST, paths.RUN))
    write_json(
        folder / VERSION,
        {
            "class_names": list(class_names),
            "runtime": runtime,
            "model_sha256": run["model_sha256"],
            "evaluation_digest": evaluation["digest"],
            "metrics": metrics,
            "tags": provenance_tags(),
        },
    )
    write_text(folder / PARAMS, paths.PARAMS.read_text(encoding="utf-8"))
    for source, name in ((paths.TRAINING_RECORD, TRAINING), (paths.SBOM, SBOM), (paths.MODEL_CARD, CARD)):
        write_text(folder / name, source.read_text(encoding="utf-8"))
    for source, name in ((paths.DETECTIONS, DETECTIONS), (paths.TEST_JSON, TEST_SET)):
        (folder / name).write_bytes(gzip.compress(source.read_bytes(), mtime=0))
    if paths.LOCK.exists():  # without it, a stage was run without DVC
        deps = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]["export"]["deps"]
        before = stages_before(read_lock(paths.LOCK), deps)
        write_text(folder / LOCK, yaml.safe_dump({"schema": "2.0", "stages": before}, sort_keys=False))


def version_digests(record: Path, export: Path) -> dict[str, str]:
    """The tags by which the version of a record and of the folder of exported models is found in the registry."""
    made = _read(record / VERSION)
    files = RUNTIMES[made["runtime"]].files(export)
    return {"model_sha256": made["model_sha256"], "export_sha256": tree_digest(export, files)}


def read_record(folder: Path, name: str) -> Any:
    """The content of a JSON file of the record in a version's files. Raises OSError, or ValueError if it is damaged."""
    path = folder / RECORD / name
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return json.loads(content)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))

"""The files that a `dvc repro` leaves, without training, and what the stages log of them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects, write_coco
from retinanet.evaluation.coco_metrics import coco_metrics
from retinanet.files import sha256_of, write_json
from retinanet.tracking.dvc_lock import md5_of
from retinanet.tracking.publication import (
    log_evaluation,
    log_export,
    log_heat_maps,
    log_training_end,
    log_training_start,
    register_exported,
)
from retinanet.tracking.runs import evaluation_run, resume_run, start_run, write_run_file
from retinanet.tracking.sbom import sbom
from retinanet.tracking.training_record import training_record
from retinanet.tracking.version_record import write_record
from stages import paths
from support.toy_onnx import write_toy_onnx

EXPERIMENT = MODEL = "retinanet"
PARAMS = Path(__file__).parents[2] / "params.yaml"
EXPORT_DEPS = [paths.PREPARED, paths.MODEL, paths.RUN, paths.METRICS, paths.TRAIN_REPORT]
# Perfect on the first test image, a false positive on the second.
RESULTS = [
    {"image_id": 1, "category_id": 3, "bbox": [16.0, 12.0, 32.0, 24.0], "score": 0.9},
    {"image_id": 2, "category_id": 3, "bbox": [16.0, 12.0, 32.0, 24.0], "score": 0.8},
]

SPEED = {"latency_p95_ms": 40.5, "latency_ms": 31.25, "peak_memory_mb": 250.0, "read_ms": 1.5, "processor": "a toy"}


def write_project() -> None:
    """Write params.yaml, dvc.yaml and stages/paths.py into the working directory, to be committed."""
    shutil.copy(PARAMS, "params.yaml")
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"export": {"deps": [str(dep) for dep in EXPORT_DEPS]}}}))
    Path("stages").mkdir()
    shutil.copy(PARAMS.parent / "stages" / "paths.py", "stages")
    Path(".gitignore").write_text("mlflow.db\nmlartifacts/\n.cache/\ndata/\nmodels/\nreports/\n")


def run_stages(weights: bytes = b"weights") -> int:
    """Write what every stage writes, log it as they do, and register the version; returns its number."""
    _prepare()
    _train(weights)
    _evaluate()
    with resume_run(paths.RUN) as run:
        number = _export(run.id)
        log_export(run, paths)
        paths.GRADCAM_REPORT.mkdir(parents=True, exist_ok=True)
        (paths.GRADCAM_REPORT / "index.html").write_text("<p>heat maps</p>")
        write_json(paths.GRADCAM_METRICS, {"heat_inside": 0.5})
        log_heat_maps(run, paths)
    _lock("gradcam-report", [paths.MODEL, paths.RUN, paths.REGISTERED], [paths.GRADCAM_REPORT])
    return number


def _prepare() -> None:
    paths.RAW.mkdir(parents=True, exist_ok=True)
    (paths.RAW / "1.txt").write_text("raw")
    for split in paths.SPLITS:
        write_coco(_dataset(), paths.SPLITS[split])
    _lock("download", [], [paths.RAW])
    _lock("prepare", [paths.RAW], [paths.PREPARED])


def _train(weights: bytes) -> None:
    record = training_record(
        {"model.backbone": "resnet18", "train.epochs": 2},
        "birds",
        paths.SPLITS,
        {"train": _dataset(), "val": _dataset()},
        torch.device("cpu"),
    )
    paths.TRAIN_REPORT.mkdir(parents=True, exist_ok=True)
    paths.TRAINED.parent.mkdir(exist_ok=True)
    paths.TRAINED.write_bytes(weights)
    with start_run(EXPERIMENT) as run:
        log_training_start(run, record, paths)
        run.log_metrics({"train/loss": 1 / 3, "seconds": 2.0}, step=1)
        run.log_metrics({"train/loss": 0.25, "seconds": 2.0, "val/AP": 0.5}, step=2)
        history = pd.DataFrame({"epoch": [1, 2], "train/loss": [1 / 3, 0.25], "seconds": [2.0, 2.0]})
        history.to_csv(paths.TRAIN_REPORT / "history.csv", index=False)
        pd.DataFrame({"epoch": [2], "val/AP": [0.5]}).to_csv(paths.TRAIN_REPORT / "validation.csv", index=False)
        write_json(paths.TRAINING_RECORD, record)
        write_json(paths.SBOM, sbom())
        log_training_end(run, paths)
        write_run_file(paths.RUN, run, sha256_of(paths.TRAINED))
    _lock("train", [paths.PREPARED], [paths.TRAINED, paths.RUN, paths.TRAIN_REPORT])


def _evaluate() -> None:
    paths.EVALUATION.mkdir(parents=True, exist_ok=True)
    write_json(paths.DETECTIONS, RESULTS)
    write_json(paths.METRICS, coco_metrics(_dataset(), RESULTS))
    write_json(paths.EVALUATION_DIGEST, {"digest": "e" * 64})
    shutil.copy(paths.TRAINED, paths.MODEL)
    with evaluation_run(paths.RUN, "e" * 64) as run:
        log_evaluation(run, paths)
    _lock("evaluate", [paths.PREPARED, paths.TRAINED], [paths.MODEL, paths.DETECTIONS, paths.METRICS])


def _export(run_id: str) -> int:
    for folder in (paths.EXPORT, paths.VERSION_RECORD):
        folder.mkdir(parents=True, exist_ok=True)
    write_toy_onnx(paths.EXPORT / "model.onnx")
    write_json(paths.EXPORT_REPORT, {"images": 2})
    paths.EXPORT_TABLE.parent.mkdir(parents=True, exist_ok=True)
    paths.EXPORT_TABLE.write_text("runtime\nonnx\n")
    write_json(paths.EXPORT_SPEED, SPEED)
    paths.MODEL_CARD.write_text("# Birds\n")
    write_record(paths.VERSION_RECORD, ["cat", "dog"], "onnx", paths)
    number = register_exported(MODEL, run_id, paths)
    write_json(paths.REGISTERED, {"name": MODEL, "version": number})
    _lock("export", EXPORT_DEPS, [paths.EXPORT, paths.VERSION_RECORD, paths.REGISTERED, paths.EXPORT_REPORT])
    return number


def _dataset() -> CocoDataset:
    """Two images of 64 x 48 pixels, each with a cat."""
    boxes = {1: [16, 12, 48, 36], 2: [0, 0, 8, 8]}
    images = tuple(ImageInfo(number, f"{number}.png", 64, 48) for number in boxes)
    objects = {n: Objects(np.array([box], np.float32), np.array([0]), np.array([False])) for n, box in boxes.items()}
    return CocoDataset(images, ("cat", "dog"), (3, 7), objects)


def _lock(stage: str, deps: list[Path], outs: list[Path]) -> None:
    content: dict[str, Any] = {"schema": "2.0", "stages": {}}
    if paths.LOCK.exists():
        content = yaml.safe_load(paths.LOCK.read_text())
    content["stages"][stage] = {
        kind: [{"path": path.as_posix(), "hash": "md5", "md5": md5_of(path)} for path in rows]
        for kind, rows in (("deps", deps), ("outs", outs))
    }
    paths.LOCK.write_text(json.dumps(content))

"""What a training starts with, kept as a file beside its curves: settings, data, code, machine."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retinanet.dataset.coco import CocoDataset
from retinanet.errors import first_of
from retinanet.files import sha256_of
from retinanet.tracking.environment import environment
from retinanet.tracking.failures import without_password
from retinanet.tracking.provenance import provenance_tags
from retinanet.tracking.run_names import training_name
from retinanet.tracking.runs import source_tags

if TYPE_CHECKING:
    import torch

CONTEXTS = {"train": "training", "val": "validation"}  # MLflow's words for the splits that training reads


def training_record(
    params: Mapping[str, object],
    source: str,
    splits: Mapping[str, Path],
    datasets: Mapping[str, CocoDataset],
    device: "torch.device",
) -> dict[str, Any]:
    """The record of a training that starts now, as JSON values: its run, data, code and machine.

    params are flat, splits are the files of train, val and test, and datasets those that training has read.
    """
    digests = {split: sha256_of(path) for split, path in splits.items()}
    return {
        "name": training_name(source),
        "description": _description(params, source, datasets),
        "started_ms": time.time_ns() // 1_000_000,
        "params": dict(params),
        "splits": digests,
        "datasets": [_dataset(source, split, digests[split], datasets[split]) for split in CONTEXTS],
        "tags": source_tags(),
        "provenance": provenance_tags(),
        "environment": environment(device),
    }


def _description(params: Mapping[str, object], source: str, datasets: Mapping[str, CocoDataset]) -> str:
    """Markdown that MLflow's page of the run shows."""
    train, val = (datasets[split] for split in CONTEXTS)
    return (
        f"RetinaNet, {params['model.backbone']}, trained on {without_password(source)}: {len(train.images)} train and "
        f"{len(val.images)} val images, {first_of(train.class_names)}.\n\n"
        "Artifacts: `model_card.md`, `data/index.html` (the data), `evaluate/images` (ground truth and detections on "
        "test images), `gradcam/index.html` (heat maps)."
    )


def _dataset(source: str, split: str, digest: str, dataset: CocoDataset) -> dict[str, Any]:
    """The arguments of Run.log_dataset."""
    sizes = {"images": len(dataset.images), "objects": sum(objects.count for objects in dataset.objects.values())}
    name = f"{Path(source).name} {split}"
    return {"name": name, "digest": digest, "source": without_password(source), "context": CONTEXTS[split]} | {
        "profile": sizes
    }

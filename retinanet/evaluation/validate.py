"""Losses and COCO results of a model on a dataset, in one pass."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from retinanet import distributed
from retinanet.dataset.coco import CocoDataset
from retinanet.dataset.loading import batches_of, loader_of
from retinanet.dataset.samples import Batch, EvaluationImages
from retinanet.images.preprocess import InputSize, padding_color
from retinanet.inference.detections import DecodeSettings
from retinanet.inference.network import Outputs, decode_outputs, run_network, to_detections
from retinanet.inference.results import coco_results
from retinanet.losses.detection import DetectionLoss, Losses, image_divisors
from retinanet.losses.matching import match_images
from retinanet.model.retinanet import RetinaNet


class Validation(NamedTuple):
    """Mean losses per image, and COCO results rows in pixels of the original images."""

    classification_loss: float
    box_loss: float
    results: list[dict]


@torch.inference_mode()
def validate(
    model: RetinaNet,
    dataset: CocoDataset,
    root: Path,
    input_size: InputSize,
    settings: DecodeSettings,
    loss: DetectionLoss | None = None,
    workers: int = 1,
) -> Validation:
    """Run the model on its device over all images, one at a time so that results do not depend on batching.

    Anchors inside ignored regions have no loss. Several processes share the images, and each returns all results.
    """
    model.eval()
    loss = loss or DetectionLoss()
    world = distributed.world()
    rows = range(world.rank, len(dataset.images), world.size)
    totals = torch.zeros(2)
    results: list[dict] = []
    images = Subset(EvaluationImages(dataset, root, input_size), rows)
    loader = loader_of(images, workers, padding_color(model.backbone.mean))
    for row, batch in zip(rows, _with_progress(loader, world.rank), strict=True):
        outputs = run_network(model, batch.images)
        totals += torch.stack(_losses(outputs, batch, loss)).cpu()
        (decoded,) = decode_outputs(outputs, batch.sizes, settings)
        image = dataset.images[row]
        detections = to_detections(decoded, batch.sizes[0], (image.height, image.width))
        results += coco_results(image.id, detections, dataset.category_ids)
    totals = distributed.all_reduce_sum(totals) / max(1, len(dataset.images))
    return Validation(totals[0].item(), totals[1].item(), distributed.all_gather(results))


def _losses(outputs: Outputs, batch: Batch, loss: DetectionLoss) -> Losses:
    device = outputs.logits.device
    boxes, labels, crowds = (
        [t.to(device) for t in of_images] for of_images in (batch.boxes, batch.labels, batch.crowds)
    )
    matched = match_images(outputs.anchors, boxes, crowds)
    return loss(outputs.logits, outputs.deltas, outputs.anchors, matched, image_divisors(matched), boxes, labels)


def _with_progress(loader: DataLoader, rank: int) -> Iterator[Batch]:
    batches = batches_of(loader)
    return iter(tqdm(batches, total=len(loader), desc="validating", leave=False, disable=True if rank else None))

"""How good a model is on a data set, while it trains and after: losses and COCO results in one pass."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from retinanet import distributed
from retinanet.dataset.coco import CocoDataset, coco_results
from retinanet.dataset.loading import batches_of, loader_of
from retinanet.dataset.samples import Batch, PlainPictures
from retinanet.images.preprocess import padding_colour
from retinanet.inference.detections import Detections
from retinanet.inference.detector import DecodeSettings
from retinanet.model.decode import decode
from retinanet.model.losses import detection_losses, image_divisors
from retinanet.model.matching import match_images
from retinanet.model.retinanet import RetinaNet


class Validation(NamedTuple):
    """Mean losses per picture, and COCO results rows in pixels of the original pictures."""

    classification_loss: float
    box_loss: float
    results: list[dict]


@torch.inference_mode()
def validate(
    model: RetinaNet,
    dataset: CocoDataset,
    root: Path,
    settings: DecodeSettings,
    device: torch.device,
    box_loss: str = "l1",
    smooth_l1_beta: float = 0.0,
    workers: int = 1,
) -> Validation:
    """Run the model over all pictures, one at a time so that none depends on its neighbours.

    Crowds count neither way, in the losses too. Several processes share the pictures out, and each returns the figures
    of all.
    """
    model.eval()
    here = distributed.world()
    rows = range(here.rank, len(dataset.pictures), here.size)
    totals = torch.zeros(2)
    results: list[dict] = []
    sides = model.settings.short_side, model.settings.long_side
    pictures = Subset(PlainPictures(dataset, root, *sides), rows)
    loader = loader_of(pictures, workers, padding_colour(model.backbone.mean))
    for row, batch in zip(rows, _with_progress(loader, here.rank), strict=True):
        logits, deltas = model(model.normalise(batch.pictures.to(device)))
        size = batch.pictures.shape[1:3]
        anchors = model.anchors(*size)
        of_batch = batch.boxes, batch.labels, batch.crowds
        gt_boxes, gt_labels, crowds = ([marks.to(device) for marks in of_images] for of_images in of_batch)
        matched = match_images(anchors, gt_boxes, crowds)
        compared = matched, image_divisors(matched), gt_boxes, gt_labels, box_loss, smooth_l1_beta
        losses = detection_losses(logits, deltas, anchors, *compared)
        totals += torch.stack(losses).cpu()
        found = decode(
            logits,
            deltas,
            anchors,
            model.level_sizes(*size),
            batch.sizes,
            settings.score_threshold,
            settings.nms_iou,
            settings.candidates_per_level,
            settings.detections_per_image,
        )[0]
        picture = dataset.pictures[row]
        ratio = torch.tensor([picture.width / batch.sizes[0][1], picture.height / batch.sizes[0][0]] * 2)
        boxes, scores, labels = (
            (found.boxes_xyxy.cpu() * ratio).numpy(),
            found.scores.cpu().numpy(),
            found.labels.cpu(),
        )
        results += coco_results(picture.id, Detections(boxes, scores, labels.numpy()), dataset.category_ids)
    totals = distributed.total(totals) / max(1, len(dataset.pictures))
    return Validation(totals[0].item(), totals[1].item(), distributed.gathered(results))


def _with_progress(loader: DataLoader, rank: int) -> Iterator[Batch]:
    batches = batches_of(loader)
    return iter(tqdm(batches, total=len(loader), desc="validating", leave=False, disable=True if rank else None))

"""The images that training reads, in the order of its steps."""

from pathlib import Path

import torch
from torch.utils.data import DataLoader

from retinanet import distributed
from retinanet.config.training import Runtime, Train
from retinanet.dataset.augment import Augmentation
from retinanet.dataset.coco import CocoDataset
from retinanet.dataset.image_cache import ImageCache
from retinanet.dataset.loading import loader_of
from retinanet.dataset.samples import EpochBatches, TrainingImages
from retinanet.images.preprocess import InputSize, padding_color
from retinanet.model.retinanet import RetinaNet


def training_loader(
    model: RetinaNet,
    dataset: CocoDataset,
    root: Path,
    settings: Train,
    runtime: Runtime,
    input_size: InputSize,
    device: torch.device,
    cache: Path | None,
) -> tuple[DataLoader, EpochBatches]:
    """Augmented images in the batches of this process; cache is the folder of decoded images, or None."""
    here = distributed.world()
    padding = padding_color(model.backbone.mean)
    side = input_size.short_side
    augmentation = Augmentation(settings.augment, side, input_size.long_side, padding)
    images = TrainingImages(dataset, root, augmentation, settings.seed, ImageCache(cache) if cache else None)
    canvases = [max(1, round(side * factor)) for factor in settings.augment.multi_scale]
    batches = EpochBatches(
        len(images), settings.batch_size, settings.seed, canvases, runtime.accumulation_steps, here.rank, here.size
    )
    keep, pin = runtime.workers > 0, device.type == "cuda"
    loader = loader_of(images, runtime.workers, padding, batch_sampler=batches, persistent_workers=keep, pin_memory=pin)
    return loader, batches

"""Checks before a long training: can the network overfit one batch, and which learning rates work."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from retinanet.config.training import Runtime, Train
from retinanet.dataset.augment import Augmentation
from retinanet.dataset.coco import CocoDataset
from retinanet.dataset.samples import Batch, EpochBatches, EvaluationImages, TrainingImages, collate
from retinanet.errors import TrainingError
from retinanet.evaluation.coco_metrics import coco_metrics
from retinanet.evaluation.validate import validate
from retinanet.images.preprocess import InputSize, padding_color
from retinanet.inference.detections import STANDARD_DECODING
from retinanet.model.retinanet import RetinaNet
from retinanet.training.step import Learner, NotFiniteError, train_step

MIN_RATE, MAX_RATE = 1e-6, 1.0
DIVERGED = 3  # times the lowest loss
# The loss is lowest just before training diverges; a tenth of that rate is safe (fast.ai's rule).
SAFETY = 10
SMOOTHING = 0.8  # the weight of the average so far


class OverfitResult(NamedTuple):
    """The result of training on one batch again and again; ap50 is measured on the batch's images, given by name."""

    images: list[str]
    first_loss: float
    last_loss: float
    ap50: float


class RangeTest(NamedTuple):
    """Learning rates in ascending order, the smoothed loss at each, and the rate to use."""

    rates: list[float]
    losses: list[float]
    suggested: float


def overfit_batch(
    model: RetinaNet,
    dataset: CocoDataset,
    root: Path,
    settings: Train,
    runtime: Runtime,
    input_size: InputSize,
    device: torch.device,
    steps: int,
) -> OverfitResult:
    """Train on one batch for `steps` steps, without augmentation. Raises TrainingError if no image has an object."""
    rows = _rows_with_objects(dataset, settings.batch_size)
    samples = [EvaluationImages(dataset, root, input_size)[row] for row in rows]
    size = -(-len(samples) // _micro_batches(runtime))
    padding = padding_color(model.backbone.mean)
    micro_batches = [collate(samples[first : first + size], padding) for first in range(0, len(samples), size)]
    plain = {"schedule": "constant", "warmup_share": 0.1, "weight_decay": 0.0, "ema_steps": 0}
    learner = _learner(model, dataset, settings, steps, device, plain)
    model.train()
    losses = [
        train_step(learner, micro_batches)[0].item()
        for _ in tqdm(range(steps), "overfitting", disable=None, leave=False)
    ]
    batch_set = replace(dataset, images=tuple(dataset.images[row] for row in rows))
    validation = validate(model, batch_set, root, input_size, STANDARD_DECODING, workers=0)
    ap50 = coco_metrics(batch_set, validation.results)["AP50"]
    return OverfitResult([image.file_name for image in batch_set.images], losses[0], losses[-1], ap50)


def lr_range_test(
    model: RetinaNet,
    dataset: CocoDataset,
    root: Path,
    settings: Train,
    runtime: Runtime,
    input_size: InputSize,
    device: torch.device,
    steps: int,
) -> RangeTest:
    """Train with a learning rate that rises with each step until the loss diverges (Smith 2015).

    Rates are values of train.learning_rate. Raises TrainingError if the first step's loss is not finite.
    """
    rising = {"schedule": "constant", "warmup_share": 0.0, "ema_steps": 0}
    learner = _learner(model, dataset, settings, steps, device, rising)
    relative = [group["lr"] / settings.learning_rate for group in learner.optimizer.param_groups]
    rates: list[float] = []
    losses: list[float] = []
    model.train()
    batches = _batches(model, dataset, root, settings, runtime, input_size)
    for rate, micro_batches in tqdm(
        zip(np.geomspace(MIN_RATE, MAX_RATE, steps), batches, strict=False),
        "learning rates",
        steps,
        disable=None,
        leave=False,
    ):
        for group, factor in zip(learner.optimizer.param_groups, relative, strict=True):
            group["lr"] = rate * factor
        try:
            loss = train_step(learner, micro_batches)[0].item()
        except NotFiniteError as error:
            if not losses:
                raise TrainingError(
                    f"the loss is not finite at the first step: {error}; check reports/data, "
                    "or set train.precision: fp32"
                ) from error
            break
        rates.append(float(rate))
        losses.append(loss)
        smooth = _smoothed(losses)
        if len(smooth) > 5 and smooth[-1] > DIVERGED * min(smooth):
            break
    smooth = _smoothed(losses)
    return RangeTest(rates, smooth, rates[int(np.argmin(smooth))] / SAFETY)


def _learner(
    model: RetinaNet, dataset: CocoDataset, settings: Train, steps: int, device: torch.device, changed: dict
) -> Learner:
    uncompiled = settings.model_copy(update={"compile": False} | changed)
    return Learner(model, uncompiled, steps, device, dataset.class_names)


def _micro_batches(runtime: Runtime) -> int:
    """The micro-batches of a batch in this one process, of the size that training has in each of its processes."""
    return runtime.accumulation_steps * runtime.processes


def _rows_with_objects(dataset: CocoDataset, count: int) -> list[int]:
    rows = [row for row, image in enumerate(dataset.images) if dataset.objects[image.id].count]
    if not rows:
        raise TrainingError("no training image has an object; see reports/data")
    return [rows[i] for i in np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]


def _batches(
    model: RetinaNet, dataset: CocoDataset, root: Path, settings: Train, runtime: Runtime, input_size: InputSize
) -> Iterator[list[Batch]]:
    """The micro-batches of each step."""
    padding = padding_color(model.backbone.mean)
    side = input_size.short_side
    augmentation = Augmentation(settings.augment, *input_size, padding)
    images = TrainingImages(dataset, root, augmentation, settings.seed)
    order = EpochBatches(len(images), settings.batch_size, settings.seed, [side], _micro_batches(runtime))
    for order.epoch in count(1):
        micro_batches = (collate([images[key] for key in keys], padding) for keys in order)
        while step := list(islice(micro_batches, _micro_batches(runtime))):
            yield step


def _smoothed(
    losses: Sequence[float],
) -> list[float]:
    """An exponential moving average, corrected for its start at zero."""
    mean, out = 0.0, []
    for number, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        out.append(mean / (1 - math.pow(SMOOTHING, number)))
    return out

"""Before hours are spent: does the network learn one batch by heart, and which learning rates make it learn at all."""

import math
from collections.abc import Iterator, Sequence
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

LOWEST, HIGHEST = 1e-6, 1.0  # learning rates that are tried
BLOWN_UP = 3  # times the best loss
# The loss is least where learning is about to break down; a tenth of that rate is safe (fast.ai's rule).
SAFETY = 10


class OverfitResult(NamedTuple):
    """What came of training on the same few images again and again; AP50 is on those images."""

    images: list[str]
    first_loss: float
    last_loss: float
    ap50: float


class RangeTest(NamedTuple):
    """Learning rates in rising order with the smoothed loss at each, and the one to take."""

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
    """Train on one batch alone, without augmentation. Raises TrainingError when nothing has objects."""
    rows = _rows_with_objects(dataset, settings.batch_size)
    samples = [EvaluationImages(dataset, root, input_size)[row] for row in rows]
    size = -(-len(samples) // _micro_batches(runtime))
    padding = padding_color(model.backbone.mean)
    micro_batches = [collate(samples[first : first + size], padding) for first in range(0, len(samples), size)]
    plain = {"schedule": "constant", "warmup_share": 0.1, "weight_decay": 0.0, "ema_steps": 0}
    learner = _learner(model, dataset, settings, steps, device, plain)
    model.train()
    losses = [
        train_step(learner, micro_batches)[0].item() for _ in tqdm(range(steps), "by heart", disable=None, leave=False)
    ]
    chosen = tuple(dataset.images[row] for row in rows)
    few = CocoDataset(chosen, dataset.class_names, dataset.category_ids, {p.id: dataset.objects[p.id] for p in chosen})
    found = validate(model, few, root, input_size, STANDARD_DECODING, workers=0)
    return OverfitResult([p.file_name for p in chosen], losses[0], losses[-1], coco_metrics(few, found.results)["AP50"])


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
    """Train with a rate that rises from step to step until the loss blows up (Smith 2015).

    Rates are what train.learning_rate would say. Raises TrainingError where the first step is not finite already.
    """
    rising = {"schedule": "constant", "warmup_share": 0.0, "ema_steps": 0}
    learner = _learner(model, dataset, settings, steps, device, rising)
    relative = [group["lr"] / settings.learning_rate for group in learner.optimizer.param_groups]
    rates: list[float] = []
    losses: list[float] = []
    model.train()
    batches = _batches(model, dataset, root, settings, runtime, input_size)
    for rate, micro_batches in tqdm(
        zip(np.geomspace(LOWEST, HIGHEST, steps), batches, strict=False), "rates", steps, disable=None, leave=False
    ):
        for group, factor in zip(learner.optimizer.param_groups, relative, strict=True):
            group["lr"] = rate * factor
        try:
            loss = train_step(learner, micro_batches)[0].item()
        except NotFiniteError as error:
            if not losses:
                raise TrainingError(f"the loss is no number before anything is learned: {error}") from error
            break
        rates.append(float(rate))
        losses.append(loss)
        smooth = _smoothed(losses)
        if len(smooth) > 5 and smooth[-1] > BLOWN_UP * min(smooth):
            break
    smooth = _smoothed(losses)
    return RangeTest(rates, smooth, rates[int(np.argmin(smooth))] / SAFETY)


def _learner(
    model: RetinaNet, dataset: CocoDataset, settings: Train, steps: int, device: torch.device, changed: dict
) -> Learner:
    uncompiled = settings.model_copy(update={"compile": False} | changed)
    return Learner(model, uncompiled, steps, device, dataset.class_names)


def _micro_batches(runtime: Runtime) -> int:
    """In how many parts one process computes what training computes in several, and in parts of each."""
    return runtime.accumulation_steps * runtime.processes


def _rows_with_objects(dataset: CocoDataset, count: int) -> list[int]:
    rows = [row for row, image in enumerate(dataset.images) if dataset.objects[image.id].count]
    if not rows:
        raise TrainingError("no training image has an object; see reports/data")
    return [rows[i] for i in np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]


def _batches(
    model: RetinaNet, dataset: CocoDataset, root: Path, settings: Train, runtime: Runtime, input_size: InputSize
) -> Iterator[list[Batch]]:
    """The parts of one step after the other's."""
    padding = padding_color(model.backbone.mean)
    side = input_size.short_side
    augmentation = Augmentation(settings.augment, *input_size, padding)
    images = TrainingImages(dataset, root, augmentation, settings.seed)
    order = EpochBatches(len(images), settings.batch_size, settings.seed, [side], _micro_batches(runtime))
    for order.epoch in count(1):
        micro_batches = (collate([images[key] for key in keys], padding) for keys in order)
        while step := list(islice(micro_batches, _micro_batches(runtime))):
            yield step


def _smoothed(losses: Sequence[float], weight: float = 0.8) -> list[float]:
    """An exponential mean without the bias of its start."""
    mean, out = 0.0, []
    for number, loss in enumerate(losses, start=1):
        mean = weight * mean + (1 - weight) * loss
        out.append(mean / (1 - math.pow(weight, number)))
    return out

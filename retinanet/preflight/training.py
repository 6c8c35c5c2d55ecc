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
from retinanet.dataset.coco import CocoDataset
from retinanet.dataset.loading import batches_of
from retinanet.dataset.samples import Batch, EvaluationImages, collate
from retinanet.errors import TrainingError
from retinanet.evaluation.coco_metrics import coco_metrics
from retinanet.evaluation.validate import validate
from retinanet.images.preprocess import InputSize, padding_color
from retinanet.images.sampling import evenly_spaced
from retinanet.inference.detections import STANDARD_DECODING
from retinanet.model.retinanet import RetinaNet
from retinanet.training.loader import training_loader
from retinanet.training.step import Learner, NotFiniteError, train_step

MIN_RATE, MAX_RATE = 1e-6, 1.0
DIVERGED = 3  # times the lowest loss
# The loss is lowest just before training diverges; a tenth of that rate is safe (fast.ai's rule).
SAFETY = 10
SMOOTHING = 0.8  # the weight of the average so far


class Trial(NamedTuple):
    """What a check trains on, and how; image paths in dataset are relative to root."""

    dataset: CocoDataset
    root: Path
    settings: Train
    runtime: Runtime
    input_size: InputSize
    device: torch.device
    steps: int

    @property
    def micro_batches(self) -> int:
        """The micro-batches of a batch in this one process, of the size that each training process has."""
        return self.runtime.accumulation_steps * self.runtime.processes


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


def overfit_batch(model: RetinaNet, trial: Trial) -> OverfitResult:
    """Train on one batch for trial.steps steps, without augmentation. Raises TrainingError without an object."""
    dataset = trial.dataset
    with_objects = [row for row, image in enumerate(dataset.images) if dataset.objects[image.id].count]
    if not with_objects:
        raise TrainingError("no training image has an object; see reports/data")
    rows = evenly_spaced(with_objects, trial.settings.batch_size)
    samples = [EvaluationImages(dataset, trial.root, trial.input_size)[row] for row in rows]
    size = -(-len(samples) // trial.micro_batches)
    padding = padding_color(model.backbone.mean)
    micro_batches = [collate(samples[first : first + size], padding) for first in range(0, len(samples), size)]
    learner = _learner(model, trial, {"warmup_share": 0.1, "weight_decay": 0.0})
    model.train()
    losses = [
        train_step(learner, micro_batches)[0].item()
        for _ in tqdm(range(trial.steps), "overfitting", disable=None, leave=False)
    ]
    batch_set = replace(dataset, images=tuple(dataset.images[row] for row in rows))
    validation = validate(model, batch_set, trial.root, trial.input_size, STANDARD_DECODING, workers=0)
    ap50 = coco_metrics(batch_set, validation.results)["AP50"]
    return OverfitResult([image.file_name for image in batch_set.images], losses[0], losses[-1], ap50)


def lr_range_test(model: RetinaNet, trial: Trial) -> RangeTest:
    """Train with a learning rate that rises with each step until the loss diverges (Smith 2015).

    Rates are values of train.learning_rate. Raises TrainingError if the first step's loss is not finite.
    """
    learner = _learner(model, trial, {"warmup_share": 0.0})
    relative = [group["lr"] / trial.settings.learning_rate for group in learner.optimizer.param_groups]
    rates: list[float] = []
    losses: list[float] = []
    model.train()
    for rate, micro_batches in tqdm(
        zip(np.geomspace(MIN_RATE, MAX_RATE, trial.steps), _batches(model, trial), strict=False),
        "learning rates",
        trial.steps,
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


def _learner(model: RetinaNet, trial: Trial, changed: dict) -> Learner:
    plain = {"compile": False, "schedule": "constant", "ema_steps": 0}
    settings = trial.settings.model_copy(update=plain | changed)
    return Learner(model, settings, trial.steps, trial.device, trial.dataset.class_names)


def _batches(model: RetinaNet, trial: Trial) -> Iterator[list[Batch]]:
    """The micro-batches of each step, without end."""
    alone = {"workers": 0, "processes": 1, "accumulation_steps": trial.micro_batches}
    runtime = trial.runtime.model_copy(update=alone)
    dataset, root, settings = trial.dataset, trial.root, trial.settings
    loader, order = training_loader(model, dataset, root, settings, runtime, trial.input_size, trial.device, None)
    for order.epoch in count():
        micro_batches = batches_of(loader)
        while step := list(islice(micro_batches, trial.micro_batches)):
            yield step


def _smoothed(losses: Sequence[float]) -> list[float]:
    """An exponential moving average, corrected for its start at zero."""
    mean, averages = 0.0, []
    for number, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        averages.append(mean / (1 - math.pow(SMOOTHING, number)))
    return averages

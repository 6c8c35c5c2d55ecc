"""The time of a training step and of inference on this machine."""

import statistics
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from retinanet.config.settings import Params
from retinanet.dataset.coco import CocoDataset
from retinanet.dataset.loading import batches_of
from retinanet.evaluation.validate import validate
from retinanet.images.preprocess import InputSize
from retinanet.images.sampling import evenly_spaced
from retinanet.inference.detections import STANDARD_DECODING
from retinanet.model.retinanet import RetinaNet
from retinanet.training.loader import training_loader
from retinanet.training.step import Learner, train_step

WARM_UP_STEPS, TIMED_STEPS = 3, 8
TIMED_IMAGES = 6
# While this process waits: the share of the cores' time above which others slow down the measurement.
LOOK_S, BUSY_SHARE = 0.5, 0.25


class Speed(NamedTuple):
    """Seconds of a training step, and of inference for an image."""

    step_s: float
    image_s: float


def busy_machine() -> str:
    """A warning if other work is running on this machine's cores; empty if not. Takes half a second."""
    # Not the load average, which counts what this program and an installation before it did in the last minute.
    busy = psutil.cpu_percent(LOOK_S) / 100
    if busy <= BUSY_SHARE:
        return ""
    return (
        f"other work takes {busy:.0%} of this machine's cores, so the measured steps are slower than steps alone; run "
        "init again when it has ended"
    )


def measure_speed(
    model: RetinaNet, params: Params, train: CocoDataset, input_size: InputSize, device: torch.device
) -> Speed:
    """Train some steps on batches of the split, then run the model on some of its images.

    The median is taken over steps with their loading. Image paths in the dataset are absolute or relative to the
    current folder. Changes the model.
    """
    runtime = params.runtime.model_copy(update={"processes": 1, "accumulation_steps": 1})
    loader, order = training_loader(model, train, Path(), params.train, runtime, input_size, device, None)
    learner = Learner(model, params.train, WARM_UP_STEPS + TIMED_STEPS, device, train.class_names)
    model.train()
    seconds: list[float] = []
    while len(seconds) < WARM_UP_STEPS + TIMED_STEPS:
        batches = batches_of(loader)
        for batch in islice(batches, WARM_UP_STEPS + TIMED_STEPS - len(seconds)):
            start = time.perf_counter()
            # item() waits for the device.
            train_step(learner, [batch])[0].item()
            seconds.append(time.perf_counter() - start)
        order.epoch += 1
    images = replace(train, images=tuple(evenly_spaced(train.images, TIMED_IMAGES)))
    timed = []
    for _ in range(2):
        start = time.perf_counter()
        validate(model, images, Path(), input_size, STANDARD_DECODING, workers=0)
        timed.append((time.perf_counter() - start) / len(images.images))
    return Speed(statistics.median(seconds[WARM_UP_STEPS:]), min(timed))

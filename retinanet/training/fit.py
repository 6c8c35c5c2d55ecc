"""The training loop."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from retinanet import distributed
from retinanet.config.training import Runtime, Train
from retinanet.dataset.augment import Augmentation
from retinanet.dataset.coco import CocoDataset
from retinanet.dataset.image_cache import ImageCache
from retinanet.dataset.loading import batches_of, loader_of
from retinanet.dataset.samples import EpochBatches, TrainingImages
from retinanet.errors import TrainingError
from retinanet.evaluation.coco_metrics import coco_metrics
from retinanet.evaluation.validate import validate
from retinanet.images.preprocess import InputSize, padding_color
from retinanet.inference.detections import STANDARD_DECODING
from retinanet.model.retinanet import RetinaNet
from retinanet.training.checkpoint import load_checkpoint, save_checkpoint
from retinanet.training.process import StopSignal
from retinanet.training.replay import keep_step
from retinanet.training.step import STEP_METRICS, Learner, NotFiniteError, train_step


class Epoch(NamedTuple):
    """As many steps as a pass over the training images takes.

    number counts from 1; metrics by name; weights are those to deploy.
    """

    number: int
    metrics: dict[str, float]
    is_best: bool
    weights: dict[str, torch.Tensor]


class TrainingSets(NamedTuple):
    """What is trained on, what decides which epoch is best, and the folder that file names start from."""

    train: CocoDataset
    val: CocoDataset
    root: Path = Path()


class TrainState(NamedTuple):
    """How far training is: epochs done, steps done of the next one, the sums of their figures and the seconds that
    they took, the best AP on val and the validations since."""

    epoch: int = 0
    step: int = 0
    sums: tuple[float, ...] = (0.0,) * len(STEP_METRICS)
    seconds: float = 0.0
    best: float = -math.inf
    validations_since: int = 0


def fit(
    model: RetinaNet,
    sets: TrainingSets,
    settings: Train,
    runtime: Runtime,
    input_size: InputSize,
    device: torch.device,
    folder: Path,
    cache: Path | None = None,
    stop: StopSignal | None = None,
) -> Iterator[Epoch]:
    """Train, and yield each epoch when it is done; go on from the last checkpoint found in `folder`.

    Epochs that an earlier process finished are not yielded again. cache is the folder of decoded images, if they are
    kept. On a signal that `stop` caught, the state is saved and the process exits with 128 + the signal's number.
    Raises TrainingError if the loss is not finite.
    """
    here = distributed.world()
    stop = stop or StopSignal(())
    loader, batches = _loader(model, sets, settings, runtime, input_size, device, cache)
    learner = Learner(model, settings, settings.epochs * batches.steps, device, sets.train.class_names)
    train_state = _resume(folder, learner)

    def save(reached: TrainState) -> None:
        if here.rank == 0:
            position = reached.epoch * batches.steps + reached.step
            save_checkpoint(folder, position, {"learner": learner.state_dict(), "train_state": list(reached)})

    while train_state.epoch < settings.epochs and not _gave_up(train_state, settings):
        number = train_state.epoch + 1
        batches.epoch, batches.first = number, train_state.step
        ended = saved = time.monotonic()
        model.train()
        name = f"epoch {number}/{settings.epochs}"
        quiet = True if here.rank else None
        bar = tqdm(desc=name, initial=train_state.step, total=batches.steps, unit="step", disable=quiet, leave=False)
        micro_batches = batches_of(loader)
        while train_state.step < batches.steps:
            # Whatever the network draws at random (dropout, stochastic depth) follows from the step as well. torch
            # takes seeds of 64 bits.
            drawn = ((settings.seed * 10_007 + number) * 1_000_003 + train_state.step) * 101 + here.rank
            torch.manual_seed(drawn % 2**63)
            batch = list(islice(micro_batches, runtime.accumulation_steps))
            try:
                step_metrics = train_step(learner, batch)
            except NotFiniteError as error:
                raise _not_finite(
                    f"epoch {number}, step {train_state.step}", error, learner, sets.train, folder
                ) from error
            sums = tuple(a + b for a, b in zip(train_state.sums, step_metrics.tolist(), strict=True))
            began, ended = ended, time.monotonic()
            train_state = train_state._replace(
                step=train_state.step + 1, sums=sums, seconds=train_state.seconds + ended - began
            )
            bar.update()
            if signal := distributed.all_reduce_max(stop.number):
                save(train_state)
                raise SystemExit(128 + signal)
            if time.monotonic() - saved > runtime.checkpoint_minutes * 60:
                save(train_state)
                saved = time.monotonic()
        bar.close()
        metrics = {name: value / batches.steps for name, value in zip(STEP_METRICS, train_state.sums, strict=True)}
        metrics |= {
            "learning_rate": float(learner.schedule.get_last_lr()[-1]),
            "images_per_second": batches.steps * settings.batch_size / train_state.seconds,
        }
        is_best, best, since = False, train_state.best, train_state.validations_since
        if number % settings.validate_every == 0 or number == settings.epochs:
            with stop.at_once(partial(save, train_state)):
                metrics |= _validation_metrics(learner, sets, input_size, runtime)
            is_best = metrics["val/AP"] >= best
            best, since = (metrics["val/AP"], 0) if is_best else (best, since + 1)
        metrics["seconds"] = train_state.seconds + time.monotonic() - ended
        yield Epoch(number, metrics, is_best, learner.deployed.state_dict())
        # After the caller kept what it wants of the epoch: a crash between the two repeats its end, losing nothing.
        train_state = TrainState(epoch=number, best=best, validations_since=since)
        save(train_state)


def _loader(
    model: RetinaNet,
    sets: TrainingSets,
    settings: Train,
    runtime: Runtime,
    input_size: InputSize,
    device: torch.device,
    cache: Path | None,
) -> tuple[DataLoader, EpochBatches]:
    here = distributed.world()
    padding = padding_color(model.backbone.mean)
    side = input_size.short_side
    augmentation = Augmentation(settings.augment, side, input_size.long_side, padding)
    image_cache = ImageCache(cache) if cache else None
    images = TrainingImages(sets.train, sets.root, augmentation, settings.seed, image_cache)
    canvases = [max(1, round(side * factor / 32)) * 32 for factor in settings.augment.multi_scale]
    if settings.augment.multi_scale == [1.0]:
        canvases = [side]
    batches = EpochBatches(
        len(images), settings.batch_size, settings.seed, canvases, runtime.accumulation_steps, here.rank, here.size
    )
    loader = loader_of(
        images,
        runtime.workers,
        padding,
        batch_sampler=batches,
        persistent_workers=runtime.workers > 0,
        pin_memory=device.type == "cuda",
    )
    return loader, batches


def _not_finite(
    where: str, error: NotFiniteError, learner: Learner, dataset: CocoDataset, folder: Path
) -> TrainingError:
    """What to tell of a step that failed, which is kept with the parts of all processes."""
    micro_batches = distributed.all_gather(list(error.micro_batches))
    kept = folder / "failed-step.pt"
    if distributed.world().rank == 0:
        keep_step(kept, learner, micro_batches)
    # One that ends takes the others along.
    distributed.barrier()
    names = {image.id: image.file_name for image in dataset.images}
    images = ", ".join(names[image_id] for micro_batch in micro_batches for image_id in micro_batch.image_ids)
    return TrainingError(
        f"{where}: {error} on {images}; kept: `retinanet replay-step {kept}` shows the losses by level and the "
        "gradients; lower train.learning_rate or set train.precision: fp32"
    )


def _gave_up(train_state: TrainState, settings: Train) -> bool:
    return bool(settings.patience) and train_state.validations_since >= settings.patience


def _validation_metrics(
    learner: Learner, sets: TrainingSets, input_size: InputSize, runtime: Runtime
) -> dict[str, float]:
    # The averaged weights are on the device, too.
    network = learner.deployed.to(learner.device)
    loss = replace(learner.loss, class_weights=None)
    found = validate(network, sets.val, sets.root, input_size, STANDARD_DECODING, loss, runtime.workers)
    metrics = coco_metrics(sets.val, found.results)
    return {
        "val/classification_loss": found.classification_loss,
        "val/box_loss": found.box_loss,
        **{f"val/{name}": value for name, value in metrics.items()},
    }


def _resume(folder: Path, learner: Learner) -> TrainState:
    state = load_checkpoint(folder)
    if state is None:
        return TrainState()
    learner.load_state_dict(state["learner"])
    train_state = TrainState(*state["train_state"])
    epoch, step = train_state.epoch, train_state.step
    where = f"epoch {epoch}" + (f" and {step} steps" if step else "")
    if distributed.world().rank == 0:
        print(f"train: going on after {where}, from {folder}", flush=True)
    return train_state._replace(sums=tuple(train_state.sums))

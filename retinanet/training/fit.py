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
from retinanet.dataset.coco import CocoDataset
from retinanet.dataset.loading import batches_of
from retinanet.dataset.samples import EpochBatches
from retinanet.errors import TrainingError
from retinanet.evaluation.coco_metrics import coco_metrics
from retinanet.evaluation.validate import validate
from retinanet.images.preprocess import InputSize
from retinanet.inference.detections import STANDARD_DECODING
from retinanet.model.retinanet import RetinaNet
from retinanet.training.checkpoint import load_checkpoint, save_checkpoint
from retinanet.training.loader import training_loader
from retinanet.training.process import StopSignal
from retinanet.training.replay import keep_step
from retinanet.training.step import STEP_METRICS, Learner, NotFiniteError, train_step
from retinanet.training.turns import Turns, cpu_turns


class Epoch(NamedTuple):
    """One epoch, counted from 1: its metrics by name, and the weights to deploy after it."""

    number: int
    metrics: dict[str, float]
    is_best: bool
    weights: dict[str, torch.Tensor]


class TrainingSets(NamedTuple):
    """The images to train on, those that decide which epoch is best, and the folder of their file names."""

    train: CocoDataset
    val: CocoDataset
    root: Path = Path()


class TrainState(NamedTuple):
    """The progress of training, as a checkpoint holds it.

    epoch is the number of finished epochs. Of the epoch in progress: steps made (`step`), steps whose gradients
    overflowed (`skipped`), the sums of STEP_METRICS and the seconds. best is the best AP on val.
    """

    epoch: int = 0
    step: int = 0
    skipped: int = 0
    sums: tuple[float, ...] = (0.0,) * len(STEP_METRICS)
    seconds: float = 0.0
    best: float = -math.inf
    validations_since_best: int = 0


class _Loop(NamedTuple):
    """The constants of the loop."""

    learner: Learner
    loader: DataLoader
    batches: EpochBatches
    sets: TrainingSets
    settings: Train
    runtime: Runtime
    folder: Path
    stop: StopSignal
    turns: Turns


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
    """Train, and yield each epoch when it is finished; resume from the newest checkpoint in `folder`.

    Epochs that an earlier process finished are not yielded again. The epoch with the highest AP on val is the best, the
    latest of equals. Training stops early after settings.patience validations in a row whose AP is not higher than all
    before; an equal AP is not higher. cache is the folder of decoded images, or None for no cache.

    On a signal that `stop` caught, a checkpoint is saved and the process exits with code 128 + the signal's number.
    Raises TrainingError if a loss is not finite.
    """
    loader, batches = training_loader(model, sets.train, sets.root, settings, runtime, input_size, device, cache)
    epochs = settings.epochs_for(len(sets.train.images))
    learner = Learner(model, settings, epochs * batches.steps, device, sets.train.class_names)
    loop = _Loop(learner, loader, batches, sets, settings, runtime, folder, stop or StopSignal(()), cpu_turns(device))
    state = _resume(folder, learner)
    while state.epoch < epochs and not _is_out_of_patience(state, settings):
        number = state.epoch + 1
        state = _train_epoch(loop, state)
        training_ended = time.monotonic()
        metrics = _training_metrics(loop, state)
        is_best, best, since_best = False, state.best, state.validations_since_best
        if number % settings.validate_every == 0 or number == epochs:
            with loop.stop.at_once(partial(_save, loop, state)):
                metrics |= _validation_metrics(loop, input_size)
            ap = metrics["val/AP"]
            is_best, since_best = ap >= best, 0 if ap > best else since_best + 1
            best = max(best, ap)
        metrics["seconds"] = state.seconds + time.monotonic() - training_ended
        yield Epoch(number, metrics, is_best, learner.deployed.state_dict())
        # After the caller has stored the epoch: a crash in between repeats its end and loses nothing.
        state = TrainState(epoch=number, best=best, validations_since_best=since_best)
        _save(loop, state)


def _train_epoch(loop: _Loop, state: TrainState) -> TrainState:
    """Make the epoch's remaining steps."""
    learner, steps, rank = loop.learner, loop.batches.steps, distributed.world().rank
    number = state.epoch + 1
    loop.batches.epoch, loop.batches.first = number, state.step
    ended = saved = time.monotonic()
    learner.model.train()
    name = f"epoch {number}/{loop.settings.epochs_for(len(loop.sets.train.images))}"
    bar = tqdm(desc=name, initial=state.step, total=steps, unit="step", disable=True if rank else None, leave=False)
    micro_batches = batches_of(loop.loader)
    while state.step < steps:
        # Dropout and stochastic depth follow from the step, too. torch takes seeds of 64 bits.
        seed = ((loop.settings.seed * 10_007 + number) * 1_000_003 + state.step) * 101 + rank
        torch.manual_seed(seed % 2**63)
        batch = list(islice(micro_batches, loop.runtime.accumulation_steps))
        try:
            with loop.turns.take():
                step_metrics = train_step(learner, batch)
        except NotFiniteError as error:
            raise _not_finite(f"epoch {number}, step {state.step}", error, loop) from error
        began, ended = ended, time.monotonic()
        state = _add_step(state, step_metrics.tolist(), ended - began)
        bar.update()
        if signal := distributed.all_reduce_max(loop.stop.number):
            _save(loop, state)
            raise SystemExit(128 + signal)
        if time.monotonic() - saved > loop.runtime.checkpoint_minutes * 60:
            _save(loop, state)
            saved = time.monotonic()
    bar.close()
    return state


def _add_step(state: TrainState, step_metrics: list[float], seconds: float) -> TrainState:
    *losses, norm = step_metrics
    skipped = math.isnan(norm)
    sums = tuple(a + b for a, b in zip(state.sums, (*losses, 0.0 if skipped else norm), strict=True))
    return state._replace(
        step=state.step + 1, skipped=state.skipped + skipped, sums=sums, seconds=state.seconds + seconds
    )


def _training_metrics(loop: _Loop, state: TrainState) -> dict[str, float]:
    """Means over the epoch's steps; of the gradient norm, over those that were not skipped."""
    *losses, norm = state.sums
    metrics = {name: loss / state.step for name, loss in zip(STEP_METRICS, losses, strict=False)}
    if state.skipped < state.step:
        metrics[STEP_METRICS[-1]] = norm / (state.step - state.skipped)
    return metrics | {
        "learning_rate": float(loop.learner.schedule.get_last_lr()[-1]),
        "images_per_second": state.step * loop.settings.batch_size / state.seconds,
    }


def _validation_metrics(loop: _Loop, input_size: InputSize) -> dict[str, float]:
    # The averaged weights are on the device, too.
    network = loop.learner.deployed.to(loop.learner.device)
    loss = replace(loop.learner.loss, class_weights=None)
    val = loop.sets.val
    validation = validate(network, val, loop.sets.root, input_size, STANDARD_DECODING, loss, loop.runtime.workers)
    return {
        "val/classification_loss": validation.classification_loss,
        "val/box_loss": validation.box_loss,
        **{f"val/{name}": value for name, value in coco_metrics(val, validation.results).items()},
    }


def _is_out_of_patience(state: TrainState, settings: Train) -> bool:
    return bool(settings.patience) and state.validations_since_best >= settings.patience


def _save(loop: _Loop, state: TrainState) -> None:
    if distributed.world().rank == 0:
        step = state.epoch * loop.batches.steps + state.step
        content = {"learner": loop.learner.state_dict(), "train_state": state._asdict()}
        save_checkpoint(loop.folder, step, content)


def _resume(folder: Path, learner: Learner) -> TrainState:
    # Only rank 0 writes checkpoints, and another host has a disk of its own.
    content = distributed.broadcast(load_checkpoint(folder) if distributed.world().rank == 0 else None)
    if content is None:
        return TrainState()
    learner.load_state_dict(content["learner"])
    state = TrainState(**content["train_state"])
    position = f"epoch {state.epoch}" + (f" and {state.step} steps" if state.step else "")
    if distributed.world().rank == 0:
        print(f"train: resuming after {position}, from {folder}", flush=True)
    return state


def _not_finite(position: str, error: NotFiniteError, loop: _Loop) -> TrainingError:
    """The error of a step that is not finite; the micro-batches of all processes are kept for `replay-step`."""
    micro_batches = distributed.all_gather(list(error.micro_batches))
    path = loop.folder / "failed-step.pt"
    if distributed.world().rank == 0:
        keep_step(path, loop.learner, micro_batches)
    distributed.barrier()  # torchrun ends all processes when one exits
    names = {image.id: image.file_name for image in loop.sets.train.images}
    images = ", ".join(names[image_id] for micro_batch in micro_batches for image_id in micro_batch.image_ids)
    return TrainingError(
        f"{position}: {error} on {images}; `retinanet replay-step {path}` shows the losses by level and the gradients "
        "of this step; lower train.learning_rate or set train.precision: fp32"
    )

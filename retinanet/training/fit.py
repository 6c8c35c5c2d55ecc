"""The training loop."""

import math
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from retinanet import distributed
from retinanet.config.settings import Train
from retinanet.dataset.augment import Augmentation
from retinanet.dataset.coco import CocoDataset
from retinanet.dataset.image_cache import PictureCache
from retinanet.dataset.loading import batches_of, loader_of
from retinanet.dataset.samples import EpochBatches, TrainingPictures
from retinanet.errors import TrainingError
from retinanet.evaluation.coco_metrics import coco_metrics
from retinanet.evaluation.validate import validate
from retinanet.files import home
from retinanet.images.preprocess import padding_colour
from retinanet.inference.detector import DecodeSettings
from retinanet.model.retinanet import RetinaNet
from retinanet.training.checkpoint import load_checkpoint, save_checkpoint
from retinanet.training.process import StopSignal
from retinanet.training.replay import keep_step
from retinanet.training.step import FIGURES, Learner, NotFiniteError, train_step


class Epoch(NamedTuple):
    """As many steps as a pass over the training pictures takes.

    number counts from 1; metrics by name; weights are those to deploy.
    """

    number: int
    metrics: dict[str, float]
    is_best: bool
    weights: dict[str, torch.Tensor]


class _Standing(NamedTuple):
    """How far training is: epochs done, steps done of the next one, the sums of their figures and the seconds that
    they took, the best AP on val and the validations since."""

    epoch: int = 0
    step: int = 0
    sums: tuple[float, ...] = (0.0,) * len(FIGURES)
    seconds: float = 0.0
    best: float = -math.inf
    validations_since: int = 0


def fit(
    model: RetinaNet,
    train_set: CocoDataset,
    val_set: CocoDataset,
    root: Path,
    settings: Train,
    decoding: DecodeSettings,
    device: torch.device,
    folder: Path,
    stop: StopSignal | None = None,
) -> Iterator[Epoch]:
    """Train, and yield each epoch when it is done; go on from the last checkpoint found in `folder`.

    Epochs that an earlier process finished are not yielded again. On a signal that `stop` caught, where training
    stands is saved and the process exits with 128 + its number. Raises TrainingError when the loss is not finite.
    """
    here = distributed.world()
    stop = stop or StopSignal(())
    loader, batches = _loader(model, train_set, root, settings, device)
    learner = Learner(model, settings, settings.epochs * batches.steps, device, train_set.class_names)
    standing = _resume(folder, learner)

    def save(reached: _Standing) -> None:
        if here.rank == 0:
            position = reached.epoch * batches.steps + reached.step
            save_checkpoint(folder, position, {"learner": learner.state_dict(), "standing": list(reached)})

    while standing.epoch < settings.epochs and not _gave_up(standing, settings):
        number = standing.epoch + 1
        batches.epoch, batches.first = number, standing.step
        ended = saved = time.monotonic()
        model.train()
        name = f"epoch {number}/{settings.epochs}"
        quiet = True if here.rank else None
        bar = tqdm(desc=name, initial=standing.step, total=batches.steps, unit="step", disable=quiet, leave=False)
        parts = batches_of(loader)
        while standing.step < batches.steps:
            # Whatever the network draws at random (dropout, stochastic depth) follows from the step as well. torch
            # takes seeds of 64 bits.
            drawn = ((settings.seed * 10_007 + number) * 1_000_003 + standing.step) * 101 + here.rank
            torch.manual_seed(drawn % 2**63)
            batch = list(islice(parts, settings.accumulate))
            try:
                figures = train_step(learner, batch)
            except NotFiniteError as error:
                raise _not_finite(f"epoch {number}, step {standing.step}", error, learner, train_set, folder) from error
            sums = tuple(a + b for a, b in zip(standing.sums, figures.tolist(), strict=True))
            began, ended = ended, time.monotonic()
            standing = standing._replace(step=standing.step + 1, sums=sums, seconds=standing.seconds + ended - began)
            bar.update()
            if signal := distributed.highest(stop.number):
                save(standing)
                raise SystemExit(128 + signal)
            if time.monotonic() - saved > settings.checkpoint_minutes * 60:
                save(standing)
                saved = time.monotonic()
        bar.close()
        metrics = {name: value / batches.steps for name, value in zip(FIGURES, standing.sums, strict=True)}
        metrics |= {
            "learning_rate": float(learner.schedule.get_last_lr()[-1]),
            "pictures_per_second": batches.steps * settings.batch_size / standing.seconds,
        }
        is_best, best, since = False, standing.best, standing.validations_since
        if number % settings.validate_every == 0 or number == settings.epochs:
            with stop.at_once(partial(save, standing)):
                metrics |= _validation_metrics(learner, val_set, root, decoding, settings)
            is_best = metrics["val/AP"] >= best
            best, since = (metrics["val/AP"], 0) if is_best else (best, since + 1)
        metrics["seconds"] = standing.seconds + time.monotonic() - ended
        yield Epoch(number, metrics, is_best, learner.deployed.state_dict())
        # After the caller kept what it wants of the epoch: a crash between the two repeats its end, losing nothing.
        standing = _Standing(epoch=number, best=best, validations_since=since)
        save(standing)


def _loader(
    model: RetinaNet, train_set: CocoDataset, root: Path, settings: Train, device: torch.device
) -> tuple[DataLoader, EpochBatches]:
    here = distributed.world()
    padding = padding_colour(model.backbone.mean)
    side, long_side = model.settings.short_side, model.settings.long_side
    augmentation = Augmentation(settings.augment, side, long_side, padding)
    cache = PictureCache(home() / ".cache" / "pictures") if settings.cache_pictures else None
    pictures = TrainingPictures(train_set, root, augmentation, settings.seed, cache)
    canvases = [max(1, round(side * factor / 32)) * 32 for factor in settings.augment.multi_scale]
    if settings.augment.multi_scale == [1.0]:
        canvases = [side]
    batches = EpochBatches(
        len(pictures), settings.batch_size, settings.seed, canvases, settings.accumulate, here.rank, here.size
    )
    loader = loader_of(
        pictures,
        settings.workers,
        padding,
        batch_sampler=batches,
        persistent_workers=settings.workers > 0,
        pin_memory=device.type == "cuda",
    )
    return loader, batches


def _not_finite(
    where: str, error: NotFiniteError, learner: Learner, train_set: CocoDataset, folder: Path
) -> TrainingError:
    """What to tell of a step that failed, which is kept with the parts of all processes."""
    parts = distributed.gathered(list(error.parts))
    kept = folder / "failed-step.pt"
    if distributed.world().rank == 0:
        keep_step(kept, learner, parts)
    # One that ends takes the others along.
    distributed.wait_for_all()
    names = {picture.id: picture.file_name for picture in train_set.pictures}
    pictures = ", ".join(names[picture_id] for part in parts for picture_id in part.picture_ids)
    return TrainingError(
        f"{where}: {error} on {pictures}; kept: `retinanet replay-step {kept}` shows the losses by level and the "
        "gradients; lower train.learning_rate or set train.precision: fp32"
    )


def _gave_up(standing: _Standing, settings: Train) -> bool:
    return bool(settings.patience) and standing.validations_since >= settings.patience


def _validation_metrics(
    learner: Learner, val_set: CocoDataset, root: Path, decoding: DecodeSettings, settings: Train
) -> dict[str, float]:
    compared = settings.box_loss, settings.smooth_l1_beta
    found = validate(learner.deployed, val_set, root, decoding, learner.device, *compared, settings.workers)
    metrics = coco_metrics(val_set, found.results)
    return {
        "val/classification_loss": found.classification_loss,
        "val/box_loss": found.box_loss,
        **{f"val/{name}": value for name, value in metrics.items()},
    }


def _resume(folder: Path, learner: Learner) -> _Standing:
    state = load_checkpoint(folder)
    if state is None:
        return _Standing()
    learner.load_state_dict(state["learner"])
    standing = _Standing(*state["standing"])
    epoch, step = standing.epoch, standing.step
    where = f"epoch {epoch}" + (f" and {step} steps" if step else "")
    if distributed.world().rank == 0:
        print(f"train: going on after {where}, from {folder}", flush=True)
    return standing._replace(sums=tuple(standing.sums))

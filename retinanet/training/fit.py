"""The training loop."""

import math
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from retinanet.data.augment import Augmentation
from retinanet.data.coco import CocoDataset
from retinanet.data.dataset import Batch, EpochBatches, TrainingPictures, collate
from retinanet.data.preprocess import padding_colour
from retinanet.detector import DecodeSettings
from retinanet.errors import TrainingError
from retinanet.evaluation.coco_metrics import coco_metrics
from retinanet.model.losses import Losses, detection_losses
from retinanet.model.retinanet import RetinaNet
from retinanet.params import Train
from retinanet.training.checkpoint import load_checkpoint, save_checkpoint
from retinanet.training.optim import average_weights, build_optimiser, build_schedule, computes_in_bf16
from retinanet.training.validate import validate


class Epoch(NamedTuple):
    """One pass over the training pictures. number counts from 1; metrics by name; weights are those to deploy."""

    number: int
    metrics: dict[str, float]
    is_best: bool
    weights: dict[str, torch.Tensor]


def fit(
    model: RetinaNet,
    train_set: CocoDataset,
    val_set: CocoDataset,
    root: Path,
    settings: Train,
    decoding: DecodeSettings,
    device: torch.device,
    folder: Path,
) -> Iterator[Epoch]:
    """Train, and yield each epoch when it is done; go on from the last one found in `folder`.

    Epochs that an earlier process finished are not yielded again. Raises TrainingError when the loss is not finite.
    """
    model.to(device, memory_format=torch.channels_last)
    padding = padding_colour(model.backbone.mean)
    sides = model.settings.short_side, model.settings.long_side
    pictures = TrainingPictures(train_set, root, Augmentation(settings.augment, *sides, padding), settings.seed)
    batches = EpochBatches(len(pictures), settings.batch_size, settings.seed)
    loader = DataLoader(
        pictures,
        batch_sampler=batches,
        num_workers=settings.workers,
        collate_fn=partial(collate, padding=padding),
        persistent_workers=settings.workers > 0,
        pin_memory=device.type == "cuda",
    )
    steps = settings.epochs * len(batches)
    optimiser = build_optimiser(
        model, settings.optimizer, settings.learning_rate, settings.backbone_rate, settings.weight_decay
    )
    schedule = build_schedule(optimiser, settings.schedule, steps, round(steps * settings.warmup_share))
    averaged = average_weights(model, settings.ema_steps) if settings.ema_steps else None
    stateful = {"model": model, "optimiser": optimiser, "schedule": schedule}
    stateful |= {"averaged": averaged} if averaged else {}
    done, best = _resume(folder, stateful)

    for number in range(done + 1, settings.epochs + 1):
        started = time.perf_counter()
        batches.epoch = number
        # Whatever the network draws at random (dropout, stochastic depth) follows from the epoch as well.
        torch.manual_seed(settings.seed * 1_000_003 + number)
        model.train()
        bar = tqdm(loader, desc=f"epoch {number}/{settings.epochs}", unit="step", disable=None, leave=False)
        metrics = _mean([_step(model, batch, settings, optimiser, schedule, averaged, device) for batch in bar])
        trained = time.perf_counter() - started
        metrics |= {
            "learning_rate": schedule.get_last_lr()[-1],
            "pictures_per_second": len(batches) * settings.batch_size / trained,
        }
        deployed = averaged.module if averaged else model
        is_best = False
        if number % settings.validate_every == 0 or number == settings.epochs:
            metrics |= _validation_metrics(deployed, val_set, root, decoding, settings, device)
            is_best = metrics["val/AP"] >= best
            best = max(best, metrics["val/AP"])
        metrics["seconds"] = time.perf_counter() - started
        yield Epoch(number, metrics, is_best, deployed.state_dict())
        # After the caller kept what it wants of the epoch: a crash between the two repeats the epoch, losing nothing.
        state = {name: part.state_dict() for name, part in stateful.items()}
        save_checkpoint(folder, number, {**state, "epoch": number, "best": best})


def _step(model, batch: Batch, settings: Train, optimiser, schedule, averaged, device) -> dict[str, float]:
    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and computes_in_bf16(device))
    images = model.normalise(batch.pictures.to(device, non_blocking=True))
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        logits, deltas = model(images)
    losses = detection_losses(
        logits,
        deltas,
        model.anchors(*images.shape[-2:]),
        [boxes.to(device) for boxes in batch.boxes],
        [labels.to(device) for labels in batch.labels],
        settings.box_loss,
        settings.normaliser,
    )
    loss = losses.classification + settings.box_weight * losses.box
    _require_finite(loss, losses, batch, schedule)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm or math.inf)
    optimiser.step()
    schedule.step()
    if averaged:
        averaged.update_parameters(model)
    return {
        "train/loss": loss.item(),
        "train/classification_loss": losses.classification.item(),
        "train/box_loss": losses.box.item(),
        "train/gradient_norm": norm.item(),
    }


def _require_finite(loss: torch.Tensor, losses: Losses, batch: Batch, schedule) -> None:
    if not math.isfinite(loss.item()):
        raise TrainingError(
            f"step {schedule.last_epoch}: the loss is {loss.item()} (classes {losses.classification.item():.4g}, "
            f"boxes {losses.box.item():.4g}) on pictures {batch.picture_ids}; "
            "lower train.learning_rate or set train.precision: fp32"
        )


def _validation_metrics(model, val_set, root, decoding, settings: Train, device) -> dict[str, float]:
    found = validate(model, val_set, root, decoding, device, settings.box_loss, settings.workers)
    metrics = coco_metrics(val_set, found.results)
    return {
        "val/classification_loss": found.classification_loss,
        "val/box_loss": found.box_loss,
        **{f"val/{name}": value for name, value in metrics.items()},
    }


def _resume(folder: Path, stateful: dict) -> tuple[int, float]:
    state = load_checkpoint(folder)
    if state is None:
        return 0, -math.inf
    for name, part in stateful.items():
        part.load_state_dict(state[name])
    print(f"going on after epoch {state['epoch']}, from {folder}")
    return state["epoch"], state["best"]


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}

"""One optimisation step, and all that it changes."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from retinanet.data.dataset import Batch
from retinanet.errors import TrainingError
from retinanet.model.losses import Losses, detection_losses
from retinanet.model.retinanet import RetinaNet
from retinanet.model.winograd import fast_convolutions
from retinanet.settings import Train
from retinanet.training import distributed
from retinanet.training.normaliser import MovingCount, class_weights
from retinanet.training.optim import average_weights, build_optimiser, build_schedule, compute_type, fast_memory_format

FIGURES = ("train/loss", "train/classification_loss", "train/box_loss", "train/gradient_norm")


class NotFiniteError(TrainingError):
    """A loss or gradient norm that is no number; parts are the batch's, the first of which `figures` tell."""

    def __init__(self, figures: dict[str, float], parts: Sequence[Batch]):
        ids = [picture_id for part in parts for picture_id in part.picture_ids]
        said = ", ".join(f"{name.removeprefix('train/')} {value:.4g}" for name, value in figures.items())
        super().__init__(f"{said} on pictures {ids}")
        self.parts = parts


class Learner:
    """The network and what follows its training: optimiser, schedule, averaged weights, loss scale."""

    def __init__(
        self, model: RetinaNet, settings: Train, steps: int, device: torch.device, class_names: Sequence[str] = ()
    ):
        self.memory_format = fast_memory_format(model, device)
        self.model = model.to(device).to(memory_format=self.memory_format)
        self.settings, self.device, self.class_names = settings, device, tuple(class_names)
        weights = class_weights(settings.class_weights, class_names)
        self.class_weights = weights if weights is None else weights.to(device)
        self.moving = MovingCount() if settings.normaliser == "moving" else None
        rate = settings.learning_rate
        if settings.learning_rate_batch:
            rate *= settings.batch_size / settings.learning_rate_batch
        self.optimiser = build_optimiser(model, settings.optimizer, rate, settings.backbone_rate, settings.weight_decay)
        self.schedule = build_schedule(self.optimiser, settings.schedule, steps, round(steps * settings.warmup_share))
        self.averaged = average_weights(model, settings.ema_steps) if settings.ema_steps else None
        self.compute_type = compute_type(settings.precision, device)
        # float16 alone has too narrow a range for gradients.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.compute_type == torch.float16)
        self._network: Callable[[Tensor], tuple[Tensor, Tensor]] = distributed.data_parallel(model, device)
        if settings.compile:
            self._network = torch.compile(self._network)

    @property
    def deployed(self) -> RetinaNet:
        """The network whose weights count."""
        # Of what it averages, torch's annotations say only that it is a Module.
        return cast(RetinaNet, self.averaged.module) if self.averaged else self.model

    def losses(self, batch: Batch) -> Losses:
        """Of one batch, in float32, in the graph."""
        images = self.model.normalise(batch.pictures.to(self.device, non_blocking=True))
        images = images.contiguous(memory_format=self.memory_format)
        mixed = self.compute_type != torch.float32
        fast = self.device.type == "cpu" and not (mixed or self.settings.compile)
        with torch.autocast(self.device.type, self.compute_type, enabled=mixed), fast_convolutions(fast):
            logits, deltas = self._network(images)
        return detection_losses(
            logits,
            deltas,
            self.model.anchors(*images.shape[-2:]),
            [boxes.to(self.device) for boxes in batch.boxes],
            [labels.to(self.device) for labels in batch.labels],
            self.settings.box_loss,
            self.settings.normaliser,
            self._divisor,
            self.settings.smooth_l1_beta,
            self.class_weights,
            self.crowds(batch),
        )

    def crowds(self, batch: Batch) -> list[Tensor] | None:
        """The regions in which background teaches nothing, where settings.crowds says so."""
        return [crowds.to(self.device) for crowds in batch.crowds] if self.settings.crowds == "ignored" else None

    def state_dict(self) -> dict:
        return {name: part.state_dict() for name, part in self._stateful().items()}

    def load_state_dict(self, state: dict) -> None:
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])

    def _divisor(self, count: Tensor) -> Tensor:
        shared = distributed.mean(count)
        return self.moving(shared) if self.moving else shared

    def _stateful(self) -> dict:
        parts = {"model": self.model, "optimiser": self.optimiser, "schedule": self.schedule, "scaler": self.scaler}
        kept = {"averaged": self.averaged, "moving": self.moving}
        return parts | {name: part for name, part in kept.items() if part}


def train_step(learner: Learner, parts: Sequence[Batch]) -> Tensor:
    """Learn from a batch that comes in parts; FIGURES of it, as a tensor on the CPU.

    Raises NotFiniteError, before the weights change, and TrainingError when memory runs out.
    """
    try:
        return _train_step(learner, parts)
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(learner.settings) from error
    except RuntimeError as error:
        # The allocator of main memory has no type of its own for this.
        if "DefaultCPUAllocator" in str(error):
            raise _out_of_memory(learner.settings) from error
        raise


def _train_step(learner: Learner, parts: Sequence[Batch]) -> Tensor:
    settings, scaler, optimiser = learner.settings, learner.scaler, learner.optimiser
    optimiser.zero_grad(set_to_none=True)
    sums = torch.zeros(2, device=learner.device)
    for part in parts:
        losses = learner.losses(part)
        loss = (losses.classification + settings.box_weight * losses.box) / len(parts)
        scaler.scale(loss).backward()
        sums += torch.stack([losses.classification.detach(), losses.box.detach()]) / len(parts)
    scaler.unscale_(optimiser)
    norm = torch.nn.utils.clip_grad_norm_(learner.model.parameters(), settings.clip_norm or math.inf)
    figures = torch.stack([sums[0] + settings.box_weight * sums[1], *sums, norm]).cpu()
    # float16 gradients overflow now and then; the scaler leaves that step out and lowers the scale.
    judged = figures[:3] if scaler.is_enabled() else figures
    if not judged.isfinite().all():
        raise NotFiniteError(dict(zip(FIGURES, figures.tolist(), strict=True)), parts)
    scaler.step(optimiser)
    scaler.update()
    learner.schedule.step()
    if learner.averaged:
        learner.averaged.update_parameters(learner.model)
    return figures


class Blame(NamedTuple):
    """Where a step's numbers stop being finite: losses by level, gradient norms by part of the network."""

    losses: dict[str, tuple[float, float]]
    gradient_norms: dict[str, float]


def explain_step(learner: Learner, parts: Sequence[Batch]) -> Blame:
    """Look into a step without making it: (classification, box) loss of each level, gradient norm of each part."""
    learner.optimiser.zero_grad(set_to_none=True)
    by_level: dict[str, tuple[float, float]] = {}
    for part in parts:
        images = learner.model.normalise(part.pictures.to(learner.device))
        with torch.enable_grad():
            logits, deltas = learner.model(images)
        sizes = learner.model.level_sizes(*images.shape[-2:])
        anchors = learner.model.anchors(*images.shape[-2:])
        objects = [b.to(learner.device) for b in part.boxes], [x.to(learner.device) for x in part.labels]
        levels = zip(logits.split(sizes, 1), deltas.split(sizes, 1), anchors.split(sizes), strict=True)
        for number, level in enumerate(levels, start=3):
            found = detection_losses(
                *level,
                *objects,
                learner.settings.box_loss,
                learner.settings.normaliser,
                smooth_l1_beta=learner.settings.smooth_l1_beta,
                class_weights=learner.class_weights,
                crowds=learner.crowds(part),
            )
            before = by_level.get(f"P{number}", (0.0, 0.0))
            by_level[f"P{number}"] = (before[0] + found.classification.item(), before[1] + found.box.item())
        losses = learner.losses(part)
        (losses.classification + losses.box).backward()
    norms = {
        name: float(torch.nn.utils.get_total_norm([p.grad for p in child.parameters() if p.grad is not None]))
        for name, child in learner.model.named_children()
    }
    learner.optimiser.zero_grad(set_to_none=True)
    return Blame(by_level, norms)


def _out_of_memory(settings: Train) -> TrainingError:
    smaller = settings.batch_size // settings.accumulate // settings.processes
    if smaller > 1:
        way = f"set train.accumulate: {settings.accumulate * 2} (the same step in smaller parts)"
        way += f", or train.batch_size: {settings.batch_size // 2}"
    else:
        way = "lower model.short_side and long_side, or take a smaller backbone"
    return TrainingError(f"out of memory with train.batch_size {settings.batch_size}; {way}")

"""One optimization step, and all that it changes."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from retinanet import distributed
from retinanet.config.training import Train
from retinanet.dataset.samples import Batch
from retinanet.errors import TrainingError
from retinanet.losses.detection import DetectionLoss, Losses
from retinanet.losses.matching import match_images
from retinanet.model.retinanet import RetinaNet
from retinanet.training.networks import training_network
from retinanet.training.normalizer import Normalizer, class_weights
from retinanet.training.optim import average_weights, build_optimizer, build_schedule, compute_type, fast_memory_format

# A loss scale that overflows this low is no reason for a gradient that is no number.
MIN_LOSS_SCALE = 1.0
STEP_METRICS = ("train/loss", "train/classification_loss", "train/box_loss", "train/gradient_norm")


class NotFiniteError(TrainingError):
    """A step with a loss or gradient norm that is no number; all processes raise it, each with its own parts."""

    def __init__(self, step_metrics: dict[str, float], micro_batches: Sequence[Batch]):
        super().__init__(
            ", ".join(f"{name.removeprefix('train/')} {value:.4g}" for name, value in step_metrics.items())
        )
        self.micro_batches = micro_batches


class Targets(NamedTuple):
    """What a batch's anchors (R, 4) are to predict: matched (N, R) as match_images says; divisors (N,) of losses."""

    anchors: Tensor
    matched: Tensor
    divisors: Tensor


class Learner:
    """The network and what follows its training: optimizer, schedule, averaged weights, loss scale."""

    def __init__(
        self, model: RetinaNet, settings: Train, steps: int, device: torch.device, class_names: Sequence[str] = ()
    ):
        self.memory_format = fast_memory_format(model, device)
        self.model = model.to(device).to(memory_format=self.memory_format)
        self.settings, self.device, self.class_names = settings, device, tuple(class_names)
        weights = class_weights(settings.class_weights, class_names)
        self.loss = DetectionLoss(
            settings.box_loss.kind,
            {name: value for name, value in settings.box_loss if name != "kind"},
            settings.box_weight,
            weights if weights is None else weights.to(device),
        )
        self.normalizer = Normalizer(settings.normalizer)
        rate = settings.learning_rate
        if settings.reference_batch_size:
            rate *= settings.batch_size / settings.reference_batch_size
        self.optimizer = build_optimizer(
            model, settings.optimizer, rate, settings.backbone_lr_multiplier, settings.weight_decay
        )
        self.schedule = build_schedule(self.optimizer, settings.schedule, steps, round(steps * settings.warmup_share))
        self.averaged = average_weights(model, settings.ema_steps) if settings.ema_steps else None
        self.compute_type = compute_type(settings.precision, device)
        # float16 alone has too narrow a range for gradients.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.compute_type == torch.float16)
        network = training_network(model, device, self.compute_type, settings.compile)
        network = distributed.data_parallel(network, device)
        self._network: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = (
            torch.compile(network) if settings.compile else network
        )

    @property
    def deployed(self) -> RetinaNet:
        """The network whose weights count."""
        # Of what it averages, torch's annotations say only that it is a Module.
        return cast(RetinaNet, self.averaged.module) if self.averaged else self.model

    def targets(self, micro_batches: Sequence[Batch]) -> list[Targets]:
        """Of the parts of one step; each process must call."""
        anchors = [self.model.anchors(*micro_batch.images.shape[1:3]) for micro_batch in micro_batches]
        # Marked ones, and what tiles and crops left of objects.
        ignores = self.settings.crowds == "ignored"
        matched = [
            match_images(
                of_micro_batch, self._here(micro_batch.boxes), self._here(micro_batch.crowds) if ignores else None
            )
            for of_micro_batch, micro_batch in zip(anchors, micro_batches, strict=True)
        ]
        return [
            Targets(*of_micro_batch)
            for of_micro_batch in zip(anchors, matched, self.normalizer.divisors(matched), strict=True)
        ]

    def predict(self, batch: Batch, targets: Targets) -> tuple[Tensor, Tensor]:
        """(logits, deltas), in the graph; deltas count at foreground anchors only."""
        inputs = self.model.normalize(batch.images.to(self.device, non_blocking=True))
        inputs = inputs.contiguous(memory_format=self.memory_format)
        mixed = self.compute_type != torch.float32
        with torch.autocast(self.device.type, self.compute_type, enabled=mixed):
            return self._network(inputs, targets.matched >= 0)

    def compute_losses(self, logits: Tensor, deltas: Tensor, targets: Targets, batch: Batch) -> Losses:
        """The losses of predictions for the anchors of targets, in float32."""
        return self.loss(logits, deltas, *targets, self._here(batch.boxes), self._here(batch.labels))

    def state_dict(self) -> dict:
        return {name: part.state_dict() for name, part in self._stateful().items()}

    def load_state_dict(self, state: dict) -> None:
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])

    def _here(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [tensor.to(self.device) for tensor in tensors]

    def _stateful(self) -> dict:
        stateful = {
            "model": self.model,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "scaler": self.scaler,
        }
        stateful |= {"normalizer": self.normalizer}
        return stateful | ({"averaged": self.averaged} if self.averaged else {})


def train_step(learner: Learner, micro_batches: Sequence[Batch]) -> Tensor:
    """Make one optimization step from a batch in micro-batches; returns its STEP_METRICS as a tensor on the CPU.

    Raises NotFiniteError, before the weights change, and TrainingError when memory runs out.
    """
    try:
        return _train_step(learner, micro_batches)
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(learner, len(micro_batches)) from error
    except RuntimeError as error:
        # The allocator of main memory has no type of its own for this.
        if "DefaultCPUAllocator" in str(error):
            raise _out_of_memory(learner, len(micro_batches)) from error
        raise


def _train_step(learner: Learner, micro_batches: Sequence[Batch]) -> Tensor:
    settings, scaler, optimizer = learner.settings, learner.scaler, learner.optimizer
    optimizer.zero_grad(set_to_none=True)
    sums = torch.zeros(3, device=learner.device)
    for micro_batch, targets in zip(micro_batches, learner.targets(micro_batches), strict=True):
        losses = learner.compute_losses(*learner.predict(micro_batch, targets), targets, micro_batch)
        loss = learner.loss.total(losses) / len(micro_batches)
        scaler.scale(loss).backward()
        sums += torch.stack([loss.detach(), *(one.detach() / len(micro_batches) for one in losses)])
    scaler.unscale_(optimizer)
    norm = torch.nn.utils.clip_grad_norm_(learner.model.parameters(), settings.max_grad_norm or math.inf)
    # Of all processes, so that all go on or none does.
    step_metrics = distributed.all_reduce_mean(torch.cat([sums, norm[None]]).cpu())
    # float16 gradients overflow now and then; the scaler leaves that step out and lowers the scale.
    overflowed = scaler.is_enabled() and scaler.get_scale() > MIN_LOSS_SCALE
    judged = step_metrics[:3] if overflowed else step_metrics
    if not judged.isfinite().all():
        raise NotFiniteError(dict(zip(STEP_METRICS, step_metrics.tolist(), strict=True)), micro_batches)
    scaler.step(optimizer)
    scaler.update()
    learner.schedule.step()
    learner.normalizer.advance()
    if learner.averaged:
        learner.averaged.update_parameters(learner.model)
    return step_metrics


def _out_of_memory(learner: Learner, accumulation_steps: int) -> TrainingError:
    batch, processes = learner.settings.batch_size, distributed.world().size
    finer = [n for n in range(accumulation_steps + 1, batch + 1) if batch % (n * processes) == 0]
    if finer:
        way = f"set runtime.accumulation_steps: {finer[0]} (the same step in smaller micro-batches; training resumes)"
    else:
        way = "lower model.short_side and model.long_side, or choose a smaller backbone"
    return TrainingError(f"out of memory with train.batch_size {batch}; {way}")

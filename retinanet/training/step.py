"""One optimization step, and the state that it changes."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
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

# Below this loss scale, a gradient that is not finite is real divergence, not an overflow of float16.
MIN_LOSS_SCALE = 1.0
STEP_METRICS = ("train/loss", "train/classification_loss", "train/box_loss", "train/gradient_norm")


class NotFiniteError(TrainingError):
    """A step whose loss or gradient norm is not finite; every process raises it, with its own micro-batches."""

    def __init__(self, step_metrics: dict[str, float], micro_batches: Sequence[Batch]):
        super().__init__(
            ", ".join(f"{name.removeprefix('train/')} {value:.4g}" for name, value in step_metrics.items())
        )
        self.micro_batches = micro_batches


class Targets(NamedTuple):
    """anchors (R, 4) xyxy in pixels, matched (N, R) as match_images returns it, divisors (N,) of the images' losses."""

    anchors: Tensor
    matched: Tensor
    divisors: Tensor


class Learner:
    """The network with its optimizer, schedule, averaged weights, loss normalizer and loss scale.

    steps is the number of optimization steps that the schedule spans.
    """

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
        # Of the precisions, only float16 has too narrow a range for gradients.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.compute_type == torch.float16)
        network = training_network(model, device, self.compute_type, settings.compile)
        self._parallel = distributed.data_parallel(network, device)
        self._network: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = (
            torch.compile(self._parallel) if settings.compile else self._parallel
        )

    @property
    def deployed(self) -> RetinaNet:
        """The network to validate and save: the averaged one, if there is an average."""
        # torch annotates AveragedModel.module as a plain Module.
        return cast(RetinaNet, self.averaged.module) if self.averaged else self.model

    def targets(self, micro_batches: Sequence[Batch]) -> list[Targets]:
        """The targets of one step's micro-batches; every process must call it."""
        anchors = [self.model.anchors(*micro_batch.images.shape[1:3]) for micro_batch in micro_batches]
        # Crowd regions, and objects that a tile or crop truncates.
        ignores = self.settings.crowds == "ignored"
        matched = [
            match_images(
                boxes_xyxy, self._to_device(micro_batch.boxes), self._to_device(micro_batch.crowds) if ignores else None
            )
            for boxes_xyxy, micro_batch in zip(anchors, micro_batches, strict=True)
        ]
        divisors = self.normalizer.divisors(matched)
        return [Targets(*fields) for fields in zip(anchors, matched, divisors, strict=True)]

    def predict(self, batch: Batch, targets: Targets) -> tuple[Tensor, Tensor]:
        """logits (N, R, K) and deltas (N, R, 4), in the graph; only the deltas of foreground anchors are valid."""
        inputs = self.model.normalize(batch.images.to(self.device, non_blocking=True))
        inputs = inputs.contiguous(memory_format=self.memory_format)
        mixed = self.compute_type != torch.float32
        with torch.autocast(self.device.type, self.compute_type, enabled=mixed):
            return self._network(inputs, targets.matched >= 0)

    def local_gradients(self) -> AbstractContextManager:
        """A context in which backward does not average the gradients over the processes."""
        return distributed.local_gradients(self._parallel)

    def compute_losses(self, logits: Tensor, deltas: Tensor, targets: Targets, batch: Batch) -> Losses:
        """The losses, in float32, of predictions at the anchors of `targets`."""
        return self.loss(logits, deltas, *targets, self._to_device(batch.boxes), self._to_device(batch.labels))

    def state_dict(self) -> dict:
        return {name: part.state_dict() for name, part in self._stateful().items()}

    def load_state_dict(self, state: dict) -> None:
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])

    def _to_device(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [tensor.to(self.device) for tensor in tensors]

    def _stateful(self) -> dict:
        stateful = {
            "model": self.model,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "scaler": self.scaler,
            "normalizer": self.normalizer,
        }
        return stateful | ({"averaged": self.averaged} if self.averaged else {})


def train_step(learner: Learner, micro_batches: Sequence[Batch]) -> Tensor:
    """Make one optimization step from a batch's micro-batches, and return its STEP_METRICS as a tensor on the CPU.

    If float16 gradients overflow, nothing changes but the loss scale, and the gradient norm is NaN. Raises
    NotFiniteError, before the weights change, and TrainingError if memory runs out.
    """
    try:
        return _train_step(learner, micro_batches)
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(learner, len(micro_batches)) from error
    except RuntimeError as error:
        # The CPU's allocator has no exception of its own.
        if "DefaultCPUAllocator" in str(error):
            raise _out_of_memory(learner, len(micro_batches)) from error
        raise


def _train_step(learner: Learner, micro_batches: Sequence[Batch]) -> Tensor:
    learner.optimizer.zero_grad(set_to_none=True)
    losses = _backward(learner, micro_batches)
    learner.scaler.unscale_(learner.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(learner.model.parameters(), learner.settings.max_grad_norm or math.inf)
    # Averaged over the processes, so that all of them stop or none does.
    step_metrics = distributed.all_reduce_mean(torch.cat([losses, norm[None]]).cpu())
    # float16 gradients overflow now and then; the scaler then skips the step and lowers the scale.
    may_overflow = learner.scaler.is_enabled() and learner.scaler.get_scale() > MIN_LOSS_SCALE
    checked = step_metrics[:3] if may_overflow else step_metrics
    if not checked.isfinite().all():
        raise NotFiniteError(dict(zip(STEP_METRICS, step_metrics.tolist(), strict=True)), micro_batches)
    if _update_weights(learner):
        learner.schedule.step()
        learner.normalizer.advance()
        if learner.averaged:
            learner.averaged.update_parameters(learner.model)
    else:
        step_metrics[STEP_METRICS.index("train/gradient_norm")] = math.nan
    return step_metrics


def _backward(learner: Learner, micro_batches: Sequence[Batch]) -> Tensor:
    """Accumulate the gradients, and return the batch's (total, classification, box) losses as a tensor (3,)."""
    sums = torch.zeros(3, device=learner.device)
    targets_of_step = learner.targets(micro_batches)
    for number, (micro_batch, targets) in enumerate(zip(micro_batches, targets_of_step, strict=True), start=1):
        # The processes exchange gradients once a step, with the last micro-batch.
        with nullcontext() if number == len(micro_batches) else learner.local_gradients():
            losses = learner.compute_losses(*learner.predict(micro_batch, targets), targets, micro_batch)
            total = learner.loss.total(losses) / len(micro_batches)
            learner.scaler.scale(total).backward()
        sums += torch.stack([total.detach(), *(loss.detach() / len(micro_batches) for loss in losses)])
    return sums


def _update_weights(learner: Learner) -> bool:
    """Let the optimizer make its step, unless the scaler skips it; returns whether it was made."""
    scale = learner.scaler.get_scale()
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    return learner.scaler.get_scale() >= scale  # the scale is lowered when, and only when, the step was skipped


def _out_of_memory(learner: Learner, accumulation_steps: int) -> TrainingError:
    batch_size, processes = learner.settings.batch_size, distributed.world().size
    finer = [n for n in range(accumulation_steps + 1, batch_size + 1) if batch_size % (n * processes) == 0]
    if finer:
        fix = f"set runtime.accumulation_steps: {finer[0]} (the same step in smaller micro-batches; training resumes)"
    else:
        fix = "lower model.short_side and model.long_side, or choose a smaller backbone"
    return TrainingError(f"out of memory with train.batch_size {batch_size}; {fix}")

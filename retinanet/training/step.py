"""One optimisation step, and all that it changes."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from retinanet import distributed
from retinanet.config.settings import Train
from retinanet.dataset.samples import Batch
from retinanet.errors import TrainingError
from retinanet.model.losses import Losses, detection_losses
from retinanet.model.matching import match_images
from retinanet.model.retinanet import RetinaNet
from retinanet.training.cpu.winograd import fast_convolutions
from retinanet.training.normaliser import Normaliser, class_weights
from retinanet.training.optim import average_weights, build_optimiser, build_schedule, compute_type, fast_memory_format

# A loss scale that overflows this low is no reason for a gradient that is no number.
LEAST_SCALE = 1.0
FIGURES = ("train/loss", "train/classification_loss", "train/box_loss", "train/gradient_norm")


class NotFiniteError(TrainingError):
    """A step with a loss or gradient norm that is no number; all processes raise it, each with its own parts."""

    def __init__(self, figures: dict[str, float], parts: Sequence[Batch]):
        super().__init__(", ".join(f"{name.removeprefix('train/')} {value:.4g}" for name, value in figures.items()))
        self.parts = parts


class Targets(NamedTuple):
    """What a batch's anchors (R, 4) are to predict: matched (N, R) as match_images says; divisors (N,) of losses."""

    anchors: Tensor
    matched: Tensor
    divisors: Tensor


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
        self.normaliser = Normaliser(settings.normaliser)
        rate = settings.learning_rate
        if settings.learning_rate_batch:
            rate *= settings.batch_size / settings.learning_rate_batch
        self.optimiser = build_optimiser(model, settings.optimizer, rate, settings.backbone_rate, settings.weight_decay)
        self.schedule = build_schedule(self.optimiser, settings.schedule, steps, round(steps * settings.warmup_share))
        self.averaged = average_weights(model, settings.ema_steps) if settings.ema_steps else None
        self.compute_type = compute_type(settings.precision, device)
        # float16 alone has too narrow a range for gradients.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.compute_type == torch.float16)
        self._network: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]] = distributed.data_parallel(
            model, device
        )
        if settings.compile:
            self._network = torch.compile(self._network)

    @property
    def deployed(self) -> RetinaNet:
        """The network whose weights count."""
        # Of what it averages, torch's annotations say only that it is a Module.
        return cast(RetinaNet, self.averaged.module) if self.averaged else self.model

    def targets(self, parts: Sequence[Batch]) -> list[Targets]:
        """Of the parts of one step; each process must call."""
        anchors = [self.model.anchors(*part.pictures.shape[1:3]) for part in parts]
        # Marked ones, and what tiles and crops left of objects.
        ignores = self.settings.crowds == "ignored"
        matched = [
            match_images(of_part, self._here(part.boxes), self._here(part.crowds) if ignores else None)
            for of_part, part in zip(anchors, parts, strict=True)
        ]
        return [Targets(*of_part) for of_part in zip(anchors, matched, self.normaliser.divisors(matched), strict=True)]

    def predict(self, batch: Batch, targets: Targets) -> tuple[Tensor, Tensor]:
        """(logits, deltas), in the graph, as the settings want them computed; deltas for the foreground at least."""
        images = self.model.normalise(batch.pictures.to(self.device, non_blocking=True))
        images = images.contiguous(memory_format=self.memory_format)
        mixed = self.compute_type != torch.float32
        eager = self.device.type == "cpu" and not self.settings.compile
        wanted = targets.matched >= 0 if eager else None
        with torch.autocast(self.device.type, self.compute_type, enabled=mixed), fast_convolutions(eager and not mixed):
            return self._network(images, wanted)

    def compare(self, logits: Tensor, deltas: Tensor, targets: Targets, batch: Batch) -> Losses:
        """The losses of predictions for the anchors of targets, in float32."""
        settings = self.settings
        objects = self._here(batch.boxes), self._here(batch.labels)
        return detection_losses(
            logits, deltas, *targets, *objects, settings.box_loss, settings.smooth_l1_beta, self.class_weights
        )

    def total(self, losses: Losses, parts: int) -> Tensor:
        """What a step of so many parts minimises, as far as one part's losses go."""
        return (losses.classification + self.settings.box_weight * losses.box) / parts

    def state_dict(self) -> dict:
        return {name: part.state_dict() for name, part in self._stateful().items()}

    def load_state_dict(self, state: dict) -> None:
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])

    def _here(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [tensor.to(self.device) for tensor in tensors]

    def _stateful(self) -> dict:
        parts = {"model": self.model, "optimiser": self.optimiser, "schedule": self.schedule, "scaler": self.scaler}
        parts |= {"normaliser": self.normaliser}
        return parts | ({"averaged": self.averaged} if self.averaged else {})


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
    sums = torch.zeros(3, device=learner.device)
    for part, targets in zip(parts, learner.targets(parts), strict=True):
        losses = learner.compare(*learner.predict(part, targets), targets, part)
        loss = learner.total(losses, len(parts))
        scaler.scale(loss).backward()
        sums += torch.stack([loss.detach(), *(one.detach() / len(parts) for one in losses)])
    scaler.unscale_(optimiser)
    norm = torch.nn.utils.clip_grad_norm_(learner.model.parameters(), settings.clip_norm or math.inf)
    # Of all processes, so that all go on or none does.
    figures = distributed.mean(torch.cat([sums, norm[None]]).cpu())
    # float16 gradients overflow now and then; the scaler leaves that step out and lowers the scale.
    overflowed = scaler.is_enabled() and scaler.get_scale() > LEAST_SCALE
    judged = figures[:3] if overflowed else figures
    if not judged.isfinite().all():
        raise NotFiniteError(dict(zip(FIGURES, figures.tolist(), strict=True)), parts)
    scaler.step(optimiser)
    scaler.update()
    learner.schedule.step()
    learner.normaliser.advance()
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
    with torch.enable_grad():
        for part, targets in zip(parts, learner.targets(parts), strict=True):
            logits, deltas = learner.predict(part, targets)
            sizes = learner.model.level_sizes(*part.pictures.shape[1:3])
            anchors, matched = targets.anchors.split(sizes), targets.matched.split(sizes, 1)
            loss = torch.zeros((), device=learner.device)
            for number, level in enumerate(zip(logits.split(sizes, 1), deltas.split(sizes, 1), strict=True)):
                of_level = Targets(anchors[number], matched[number], targets.divisors)
                losses = learner.compare(*level, of_level, part)
                loss = loss + learner.total(losses, len(parts))
                classification, box = by_level.get(f"P{number + 3}", (0.0, 0.0))
                classification += losses.classification.item() / len(parts)
                by_level[f"P{number + 3}"] = (classification, box + losses.box.item() / len(parts))
            loss.backward()
    norms = {
        name: float(torch.nn.utils.get_total_norm([p.grad for p in child.parameters() if p.grad is not None]))
        for name, child in learner.model.named_children()
    }
    learner.optimiser.zero_grad(set_to_none=True)
    return Blame(by_level, norms)


def _out_of_memory(settings: Train) -> TrainingError:
    batch, accumulate = settings.batch_size, settings.accumulate
    finer = [n for n in range(accumulate + 1, batch + 1) if batch % (n * settings.processes) == 0]
    if finer:
        way = f"set train.accumulate: {finer[0]} (the same step in smaller parts), or a smaller train.batch_size"
    else:
        way = "lower model.short_side and long_side, or take a smaller backbone"
    return TrainingError(f"out of memory with train.batch_size {batch}; {way}")

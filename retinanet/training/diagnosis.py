"""Losses and gradients of a single step, to find where they stop being finite."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from retinanet.dataset.samples import Batch
from retinanet.model.levels import FIRST_LEVEL
from retinanet.training.step import Learner, Targets


class StepDiagnosis(NamedTuple):
    """(classification, box) losses by pyramid level, and gradient norms by part of the network."""

    losses: dict[str, tuple[float, float]]
    gradient_norms: dict[str, float]


def diagnose_step(learner: Learner, micro_batches: Sequence[Batch]) -> StepDiagnosis:
    """Compute the losses and gradients of a step without making it."""
    learner.optimizer.zero_grad(set_to_none=True)
    by_level: dict[str, tuple[float, float]] = {}
    with torch.enable_grad():
        for micro_batch, targets in zip(micro_batches, learner.targets(micro_batches), strict=True):
            logits, deltas = learner.predict(micro_batch, targets)
            sizes = learner.model.anchors_per_level(*micro_batch.images.shape[1:3])
            anchors, matched = targets.anchors.split(sizes), targets.matched.split(sizes, 1)
            loss = torch.zeros((), device=learner.device)
            for number, level in enumerate(zip(logits.split(sizes, 1), deltas.split(sizes, 1), strict=True)):
                name = f"P{FIRST_LEVEL + number}"
                level_targets = Targets(anchors[number], matched[number], targets.divisors)
                losses = learner.compute_losses(*level, level_targets, micro_batch)
                loss = loss + learner.loss.total(losses) / len(micro_batches)
                classification, box = by_level.get(name, (0.0, 0.0))
                classification += losses.classification.item() / len(micro_batches)
                by_level[name] = (classification, box + losses.box.item() / len(micro_batches))
            loss.backward()
    norms = {
        name: float(torch.nn.utils.get_total_norm([p.grad for p in child.parameters() if p.grad is not None]))
        for name, child in learner.model.named_children()
    }
    learner.optimizer.zero_grad(set_to_none=True)
    return StepDiagnosis(by_level, norms)

"""The network at the start of training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from retinanet.config.model import Model
from retinanet.model.backbones import freeze_stages
from retinanet.model.retinanet import RetinaNet
from retinanet.training.pretrained import load_weights


def starting_model(
    settings: Model, seed: int, class_names: Sequence[str], weights: str, packaged: Mapping[str, Path]
) -> tuple[RetinaNet, list[str]]:
    """Build the network, load its initial weights and freeze stages; returns it and lines about what was loaded.

    weights is model.weights, or the file of a registered version; packaged are files of backbones' ImageNet weights.
    Raises WeightsError.
    """
    # A seed may have more than the 64 bits that torch takes.
    torch.manual_seed(seed % 2**63)
    model = RetinaNet(len(class_names), **settings.architecture())
    messages, is_random = load_weights(model, weights, packaged, class_names)
    if is_random and settings.frozen_stages:
        messages.append(f"model.frozen_stages: {settings.frozen_stages} is ignored: random weights are not frozen")
    if is_random and settings.frozen_norm:
        messages.append("WARNING: frozen norms do not normalize random weights; set model.frozen_norm: false")
    freeze_stages(model.backbone, 0 if is_random else settings.frozen_stages)
    return model, messages

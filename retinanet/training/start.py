"""The network as training begins with it."""

from collections.abc import Sequence
from pathlib import Path

import torch

from retinanet.config.settings import Params
from retinanet.model.backbones import freeze_stages
from retinanet.model.pretrained import load_weights
from retinanet.model.retinanet import RetinaNet

WEIGHTS = Path("data/weights")


def starting_model(params: Params, class_names: Sequence[str], weights: str) -> tuple[RetinaNet, list[str]]:
    """The network with its first weights, some of them frozen, as params say; and lines about what was loaded.

    weights is model.weights, or the file that stands for a registered version. Raises WeightsError.
    """
    torch.manual_seed(params.train.seed)
    model = RetinaNet(params.model, len(class_names))
    packaged = {params.download.weights.backbone: WEIGHTS / Path(params.download.weights.member).name}
    said = load_weights(model, weights, packaged, class_names)
    freeze_stages(model.backbone, params.model.frozen_stages)
    return model, said

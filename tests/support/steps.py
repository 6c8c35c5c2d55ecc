"""A learner and a batch, for tests of single training steps."""

import torch

from retinanet.config.model import Model
from retinanet.config.params import load_params
from retinanet.dataset.samples import Batch
from retinanet.training.step import Learner
from support.squares import build_network

CPU = torch.device("cpu")


def learner(small_settings: Model, **changed: object) -> Learner:
    """A learner of two classes, with plain SGD in float32 unless settings of train are changed."""
    torch.manual_seed(0)
    simple = {
        "optimizer": "sgd",
        "precision": "fp32",
        "ema_steps": 0,
        "warmup_share": 0.0,
        "normalizer": "image",
        "max_grad_norm": 0.0,
    }
    settings = load_params().train.model_copy(update=simple | changed)
    model = build_network(small_settings.model_copy(update={"frozen_norm": True}), 2)
    return Learner(model.train(), settings, 10, CPU)


def batch(count: int = 4) -> Batch:
    """Images of noise with one object each; the last has none and is a crowd region all over."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 255, (count, 96, 96, 3), dtype=torch.uint8, generator=generator)
    lefts = [10.0 * (i % 6) for i in range(count - 1)]
    boxes = [torch.tensor([[left, 10, left + 40, 60]]) for left in lefts] + [torch.zeros(0, 4)]
    labels = [torch.tensor([i % 2]) for i in range(count - 1)] + [torch.zeros(0, dtype=torch.int64)]
    crowds = [torch.zeros(0, 4)] * (count - 1) + [torch.tensor([[0.0, 0, 96, 96]])]
    return Batch(images, boxes, labels, crowds, [(96, 96)] * count, list(range(count)))

"""What the losses of a step are divided by, and how much each class counts."""

import difflib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from retinanet.errors import ParamsError


class MovingCount:
    """The number of matched anchors, averaged over the steps as detectron2 does it: 0.9 of what it was, from 100."""

    def __init__(self) -> None:
        self.value = torch.tensor(100.0)

    def __call__(self, count: Tensor) -> Tensor:
        self.value = 0.9 * self.value.to(count.device) + 0.1 * count
        return self.value

    def state_dict(self) -> dict:
        return {"value": self.value}

    def load_state_dict(self, state: dict) -> None:
        self.value = state["value"]


def class_weights(weights: Mapping[str, float], class_names: Sequence[str]) -> Tensor | None:
    """(K,) weights in the order of the classes, 1 where none is named; None for no weights. Raises ParamsError."""
    for name in weights:
        if name not in class_names:
            near = difflib.get_close_matches(name, class_names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the classes are {', '.join(class_names)}"
            raise ParamsError(f"train.class_weights: the data has no class {name!r}; {hint}")
    return torch.tensor([float(weights.get(name, 1)) for name in class_names]) if weights else None

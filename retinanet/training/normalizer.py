"""What the losses of a step are divided by, and how much each class counts."""

import difflib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from retinanet import distributed
from retinanet.errors import ParamsError
from retinanet.losses.detection import count_foreground, image_divisors


class Normalizer:
    """Divisors of a step's losses, the same for its images in whatever parts and processes they come.

    "image" is torchvision's; "batch" the foreground of the whole step, each image's at least 1; "moving" the average
    of this over the steps, as detectron2 does it: 0.9 of what it was, from 100, an image without objects counting 0.
    """

    def __init__(self, kind: str):
        self.kind = kind
        self.average = self._next = torch.tensor(100.0)

    def divisors(self, matched: Sequence[Tensor]) -> list[Tensor]:
        """(N,) for each part's (N, R). Each process must call; what the losses come to is then averaged over all."""
        if self.kind == "image":
            return [image_divisors(of_micro_batch) for of_micro_batch in matched]
        found = torch.cat([count_foreground(of_micro_batch) for of_micro_batch in matched])
        count = distributed.all_reduce_sum((found if self.kind == "moving" else found.clamp(min=1)).sum()).clamp(min=1)
        if self.kind == "moving":
            count = self._next = 0.9 * self.average.to(count.device) + 0.1 * count
        share = count / (len(matched) * distributed.world().size)
        return [share.expand(len(of_micro_batch)) for of_micro_batch in matched]

    def advance(self) -> None:
        """The step of the last divisors was made: the next average goes on from it."""
        self.average = self._next

    def state_dict(self) -> dict:
        return {"average": self.average}

    def load_state_dict(self, state: dict) -> None:
        self.average = self._next = state["average"]


def class_weights(weights: Mapping[str, float], class_names: Sequence[str]) -> Tensor | None:
    """(K,) weights in the order of the classes, 1 where none is named; None for no weights. Raises ParamsError."""
    for name in weights:
        if name not in class_names:
            near = difflib.get_close_matches(name, class_names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the classes are {', '.join(class_names)}"
            raise ParamsError(f"train.class_weights: the data has no class {name!r}; {hint}")
    return torch.tensor([float(weights.get(name, 1)) for name in class_names]) if weights else None

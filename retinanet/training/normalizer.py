"""The divisors of a step's losses, and class weights."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from retinanet import distributed
from retinanet.errors import ParamsError, suggestion
from retinanet.losses.detection import count_foreground, image_divisors


class Normalizer:
    """Divisors of a step's losses, which do not depend on how the batch is split into micro-batches and processes.

    kind "image" divides by each image's foreground anchors, like torchvision; "batch" by those of the step, at least 1
    for each image; "moving" by their moving average over the steps, like detectron2: it starts at 100, decays by 0.9,
    and an image without objects counts 0.
    """

    def __init__(self, kind: str):
        self.kind = kind
        self.average = self._next = torch.tensor(100.0)

    def divisors(self, matched: Sequence[Tensor]) -> list[Tensor]:
        """(N,) for each micro-batch's matched (N, R); every process must call it.

        The losses are to be averaged over the micro-batches and processes.
        """
        if self.kind == "image":
            return [image_divisors(micro_batch) for micro_batch in matched]
        counts = torch.cat([count_foreground(micro_batch) for micro_batch in matched])
        counts = counts if self.kind == "moving" else counts.clamp(min=1)
        count = distributed.all_reduce_sum(counts.sum()).clamp(min=1)
        if self.kind == "moving":
            count = self._next = 0.9 * self.average.to(count.device) + 0.1 * count
        share = count / (len(matched) * distributed.world().size)
        return [share.expand(len(micro_batch)) for micro_batch in matched]

    def advance(self) -> None:
        """Keep the moving average that the last divisors came from, once their step is made."""
        self.average = self._next

    def state_dict(self) -> dict:
        return {"average": self.average}

    def load_state_dict(self, state: dict) -> None:
        self.average = self._next = state["average"]


def class_weights(weights: Mapping[str, float], class_names: Sequence[str]) -> Tensor | None:
    """(K,) weights in the order of the classes, 1 for a class without one; None if there are none.

    Raises ParamsError for a class that the data does not have.
    """
    for name in weights:
        if name not in class_names:
            hint = suggestion(name, class_names) or f"the classes are {', '.join(class_names)}"
            raise ParamsError(f"train.class_weights: the data has no class {name!r}; {hint}")
    return torch.tensor([float(weights.get(name, 1)) for name in class_names]) if weights else None

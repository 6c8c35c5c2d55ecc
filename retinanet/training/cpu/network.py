"""RetinaNet computed for training on a CPU: fewer multiplications, the same outputs but for rounding."""

from torch import Tensor, nn

from retinanet.model.heads import Subnet
from retinanet.model.retinanet import RetinaNet
from retinanet.training.cpu.sparse import convolve, plan
from retinanet.training.cpu.winograd import fast_convolutions

# Share of the cells above which computing whole maps is as fast.
MAX_SPARSE_SHARE = 0.5


class CpuNetwork(nn.Module):
    """(inputs, foreground) -> (logits, deltas); deltas of anchors that are not foreground may be zeros."""

    def __init__(self, model: RetinaNet, winograd: bool):
        super().__init__()
        self.model, self.winograd = model, winograd

    def forward(self, inputs: Tensor, foreground: Tensor) -> tuple[Tensor, Tensor]:
        with fast_convolutions(self.winograd):
            features = self.model.features(inputs)
            return self.model.classification(features), outputs_at(self.model.box, features, foreground)


def outputs_at(subnet: Subnet, features: list[Tensor], anchors: Tensor) -> Tensor:
    """A subnet's (N, R, outputs), computed where anchors (N, R) is true; the outputs of others may be zeros."""
    if subnet.norm != "none":  # the statistics of a group norm are those of whole maps
        return subnet(features)
    cells = anchors.unflatten(1, (-1, subnet.anchors_per_cell)).any(dim=2)
    planned = plan(cells, [feature.shape[2:] for feature in features], len(subnet.convolutions))
    if planned.share(cells.numel()) >= MAX_SPARSE_SHARE:
        return subnet(features)
    found = convolve(features, subnet.convolutions, planned)
    rows = found.new_zeros(cells.numel(), found.shape[1])
    rows = rows.index_copy(0, cells.flatten().nonzero()[:, 0], found)
    return rows.view(*anchors.shape, subnet.outputs)

"""RetinaNet for training on a CPU: fewer multiplications, the same outputs up to rounding."""

from torch import Tensor, nn

from retinanet.model.heads import Subnet
from retinanet.model.retinanet import RetinaNet
from retinanet.training.cpu.sparse import convolve, plan
from retinanet.training.cpu.winograd import fast_convolutions

# With a larger share of the cells to compute, whole maps are as fast.
MAX_SPARSE_SHARE = 0.5


class CpuNetwork(nn.Module):
    """(inputs (N, 3, H, W), foreground (N, R) bool) -> (logits, deltas); the deltas of other anchors may be zeros.

    winograd is for float32 only.
    """

    def __init__(self, model: RetinaNet, winograd: bool):
        super().__init__()
        self.model, self.winograd = model, winograd

    def forward(self, inputs: Tensor, foreground: Tensor) -> tuple[Tensor, Tensor]:
        with fast_convolutions(self.winograd):
            features = self.model.features(inputs)
            return self.model.classification(features), outputs_at(self.model.box, features, foreground)


def outputs_at(subnet: Subnet, features: list[Tensor], anchors: Tensor) -> Tensor:
    """A subnet's outputs (N, R, outputs) at the anchors (N, R) bool; those of other anchors may be zeros."""
    if subnet.norm != "none":  # group norm needs the statistics of whole maps
        return subnet(features)
    cells = anchors.unflatten(1, (-1, subnet.anchors_per_cell)).any(dim=2)
    sparse = plan(cells, [feature.shape[2:] for feature in features], len(subnet.convolutions))
    if sparse.share(cells.numel()) >= MAX_SPARSE_SHARE:
        return subnet(features)
    computed = convolve(features, subnet.convolutions, sparse)
    rows = computed.new_zeros(cells.numel(), computed.shape[1])
    rows = rows.index_copy(0, cells.flatten().nonzero()[:, 0], computed)
    return rows.view(*anchors.shape, subnet.outputs)

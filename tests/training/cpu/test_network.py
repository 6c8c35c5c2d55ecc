import pytest
import torch

from retinanet.model.heads import box_subnet
from retinanet.training.cpu.network import outputs_at


@pytest.mark.parametrize(
    ("norm", "share", "others_computed"),
    [("none", 0.01, False), ("none", 0.5, True), ("group", 0.01, True)],  # few, many, and a norm that needs whole maps
)
def test_outputs_at_chosen_anchors_equal_those_on_whole_maps(norm, share, others_computed):
    torch.manual_seed(0)
    subnet = box_subnet(8, 32, 2, norm, 3)
    maps = [torch.randn(2, 8, 12, 14), torch.randn(2, 8, 6, 7)]
    anchors = torch.rand(2, 210 * 3) < share
    whole, sparse = subnet(maps), outputs_at(subnet, maps, anchors)
    assert sparse.shape == whole.shape and anchors.any(dim=1).all()
    torch.testing.assert_close(sparse[anchors], whole[anchors])
    cells = anchors.view(2, 210, 3).any(dim=2)
    assert sparse.view(2, 210, -1)[~cells].any() == others_computed

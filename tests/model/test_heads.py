import pytest
import torch

from retinanet.model.heads import PRIOR, Subnet, box_subnet, classification_subnet


def test_every_anchor_starts_as_background():
    subnet = classification_subnet(8, 32, 1, "none", 9, num_classes=3)
    logits = subnet([torch.zeros(1, 8, 4, 4)])
    torch.testing.assert_close(logits.sigmoid(), torch.full((1, 4 * 4 * 9, 3), PRIOR))


def test_outputs_run_over_level_row_column_anchor():
    subnet = Subnet(1, 32, 0, "none", 2, 1)
    subnet.last = torch.nn.Conv2d(1, 2, 1)
    torch.nn.init.constant_(subnet.last.weight, 1)
    subnet.last.bias.data = torch.tensor([0.0, 100.0])  # the second anchor of a cell says 100 more
    out = subnet([torch.tensor([[[[1.0, 2], [3, 4]]]]), torch.tensor([[[[5.0]]]])])
    assert out[0, :, 0].tolist() == [1, 101, 2, 102, 3, 103, 4, 104, 5, 105]


@pytest.mark.parametrize(
    ("norm", "wanted_share", "others_come"),
    [("none", 0.01, False), ("none", 0.5, True), ("group", 0.01, True)],  # few, many, and what needs the whole map
)
def test_wanted_outputs_are_those_of_whole_maps(norm, wanted_share, others_come):
    torch.manual_seed(0)
    subnet = box_subnet(8, 32, 2, norm, 3)
    maps = [torch.randn(2, 8, 12, 14), torch.randn(2, 8, 6, 7)]
    wanted = torch.rand(2, 210 * 3) < wanted_share
    whole, found = subnet(maps), subnet(maps, wanted)
    assert found.shape == whole.shape and wanted.any(dim=1).all()
    torch.testing.assert_close(found[wanted], whole[wanted])
    cells = wanted.view(2, 210, 3).any(dim=2)
    assert found.view(2, 210, -1)[~cells].any() == others_come

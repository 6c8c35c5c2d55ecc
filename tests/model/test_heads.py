import torch

from retinanet.model.heads import PRIOR, Subnet, classification_subnet


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

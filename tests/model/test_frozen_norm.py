import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from retinanet.model.frozen_norm import freeze_norms


def seasoned(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    torch.manual_seed(0)
    for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        if tensor is not None:
            nn.init.uniform_(tensor, 0.5, 2)
    return norm.eval()


def frozen(norm: nn.Module) -> nn.Module:
    network = nn.Sequential(norm)
    freeze_norms(network)
    return network[0]


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(3), nn.BatchNorm2d(3, eps=0.1, affine=False), BatchNormAct2d(3)])
def test_it_computes_what_the_norm_did_in_eval_mode(norm):
    images = torch.randn(2, 3, 4, 5)
    expected = seasoned(norm)(images)
    torch.testing.assert_close(frozen(norm).train()(images), expected)


def test_nothing_of_it_learns_or_changes_and_weights_keep_their_names():
    norm = seasoned(nn.BatchNorm2d(3))
    after = frozen(norm).train()
    before = {name: tensor.clone() for name, tensor in after.state_dict().items()}
    after(torch.randn(2, 3, 4, 5))
    assert before.keys() == norm.state_dict().keys() - {"num_batches_tracked"}
    assert all(torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.items())
    assert not list(after.parameters())


def test_maps_in_half_precision_stay_so():
    norm = frozen(seasoned(nn.BatchNorm2d(3)))
    assert norm(torch.ones(1, 3, 2, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_norms_without_statistics_stay_as_they_are():
    norm = nn.BatchNorm2d(3, track_running_stats=False)
    assert frozen(norm) is norm

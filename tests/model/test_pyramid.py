import pytest
import torch
from torchvision.ops import FeaturePyramidNetwork

from retinanet.model.pyramid import FeaturePyramid

FEATURES = [torch.rand(1, 8, 20, 13), torch.rand(1, 16, 10, 7), torch.rand(1, 32, 5, 4)]


@pytest.mark.parametrize("p6_from", ["c5", "p5"])
def test_sizes_halve_upward_also_when_odd(p6_from):
    sizes = [tuple(p.shape) for p in FeaturePyramid([8, 16, 32], 12, p6_from)(FEATURES)]
    assert sizes == [(1, 12, 20, 13), (1, 12, 10, 7), (1, 12, 5, 4), (1, 12, 3, 2), (1, 12, 2, 1)]


def test_equals_torchvisions():
    ours, theirs = FeaturePyramid([8, 16, 32], 12, "c5"), FeaturePyramidNetwork([8, 16, 32], 12)
    for i in range(3):
        theirs.inner_blocks[i][0].load_state_dict(ours.lateral[i].state_dict())
        theirs.layer_blocks[i][0].load_state_dict(ours.output[i].state_dict())
    expected = theirs({str(i): feature for i, feature in enumerate(FEATURES)})
    torch.testing.assert_close(ours(FEATURES)[:3], list(expected.values()))


@pytest.mark.parametrize(("p6_from", "reads"), [("c5", 16), ("p5", 12)])
def test_a_network_without_stride_32_gets_p5_from_a_convolution(p6_from, reads):
    pyramid = FeaturePyramid([8, 16], 12, p6_from)
    sizes = [tuple(p.shape) for p in pyramid(FEATURES[:2])]
    assert sizes == [(1, 12, 20, 13), (1, 12, 10, 7), (1, 12, 5, 4), (1, 12, 3, 2), (1, 12, 2, 1)]
    assert pyramid.p5.in_channels == reads


def test_maps_of_one_column_teach_in_bfloat16_as_in_float32():
    torch.manual_seed(0)
    pyramid = FeaturePyramid([8, 16, 32], 32, "c5")
    features = [torch.rand(2, 8, 8, 4), torch.rand(2, 16, 4, 2), torch.rand(2, 32, 2, 1)]
    weights = [pyramid.p6.weight, pyramid.p7.weight]
    gradients = []
    for enabled in (False, True):
        _stale = [torch.full((5000 * n,), float("nan")) for n in range(1, 40)]  # what freed memory then holds
        del _stale
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            maps = pyramid.train()(features)
        gradients.append(torch.autograd.grad(maps[-1].float().sum() + maps[-2].float().sum(), weights))
    for exact, rounded in zip(*gradients, strict=True):
        torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.02 * exact.abs().max().item())


def test_the_column_more_changes_no_output():
    pyramid = FeaturePyramid([8, 16, 32], 12, "c5")
    features = [torch.rand(1, 8, 8, 4), torch.rand(1, 16, 4, 2), torch.rand(1, 32, 2, 1)]
    torch.testing.assert_close(pyramid.train()(features), pyramid.eval()(features))

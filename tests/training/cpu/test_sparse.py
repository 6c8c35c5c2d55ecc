from itertools import pairwise

import pytest
import torch
from torch import nn

from retinanet.training.cpu import sparse
from retinanet.training.cpu.sparse import convolve, plan

SIZES = [(7, 9), (4, 5), (2, 3), (1, 1)]


def chosen(*cells: int, count: int = 20, images: int = 1) -> torch.Tensor:
    """(images, count) bool, true at these cells."""
    mask = torch.zeros(images * count, dtype=torch.bool)
    mask[list(cells)] = True
    return mask.view(images, count)


def convolutions(*channels: int) -> list[nn.Conv2d]:
    torch.manual_seed(0)
    return [nn.Conv2d(c, d, 3, padding=1, dtype=torch.float64) for c, d in pairwise(channels)]


def maps(images: int = 2, channels: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(images, channels, *size, dtype=torch.float64, generator=generator).requires_grad_()
        for size in SIZES
    ]


def on_whole_maps(features: list[torch.Tensor], layers: list[nn.Conv2d], cells: torch.Tensor) -> torch.Tensor:
    network = nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))[:-1]
    flat = [network(feature).permute(0, 2, 3, 1).flatten(1, 2) for feature in features]
    return torch.cat(flat, dim=1)[cells]


def with_gradients(out: torch.Tensor, leaves: list[torch.Tensor]) -> list[torch.Tensor]:
    """The outputs, and the gradients of a sum with a different weight for each."""
    weights = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view(out.shape)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), leaves)]


def test_plan_of_a_corner_by_hand():
    # The map is 4 x 5: around its first cell are cells 1, 5 and 6.
    planned = plan(chosen(0), [(4, 5)], 1)
    assert planned.first.tolist() == [0, 1, 5, 6]
    (layer,) = planned.layers
    assert layer.forward.tolist() == [[4, 4, 4, 4, 0, 1, 4, 2, 3]]  # row 4 holds the zeros outside the map
    # The only output lies at input 0, left of 1, above 5, above and left of 6.
    assert layer.backward.argmin(dim=1).tolist() == [4, 3, 1, 0]
    assert (layer.backward == 0).sum() == 4


def test_plan_adds_a_ring_for_each_earlier_convolution():
    planned = plan(chosen(24, count=49), [(7, 7)], 3)  # the middle
    assert [len(layer.forward) for layer in planned.layers] == [25, 9, 1]
    assert len(planned.first) == 49
    assert planned.share(49) == pytest.approx(35 / (3 * 49))


def test_plan_keeps_levels_and_images_apart():
    # The last cell of a level or image and the first of the next, of levels of 2 x 2 and 1 x 1.
    planned = plan(chosen(3, 4, 5, count=5, images=2), [(2, 2), (1, 1)], 1)
    assert planned.first.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    beyond = 9
    assert planned.layers[0].forward.tolist() == [
        [0, 1, beyond, 2, 3, *[beyond] * 4],
        [*[beyond] * 4, 4, *[beyond] * 4],
        [*[beyond] * 4, 5, 6, beyond, 7, 8],
    ]


@pytest.mark.parametrize("share", [0.02, 0.2, 1.0])
@pytest.mark.parametrize("at_once", [1, sparse.GATHER_BYTES])
def test_convolve_equals_whole_maps_in_outputs_and_gradients(monkeypatch, share, at_once):
    monkeypatch.setattr(sparse, "GATHER_BYTES", at_once)  # a row at a time, or all
    cells = torch.rand(2, 90, generator=torch.Generator().manual_seed(2)) < share
    layers, features = convolutions(3, 5, 4, 2), maps()
    leaves = [*features, *(p for layer in layers for p in layer.parameters())]
    found = with_gradients(convolve(features, layers, plan(cells, SIZES, 3)), leaves)
    expected = with_gradients(on_whole_maps(features, layers, cells), leaves)
    assert len(found[0]) == cells.sum() > 0
    for actual, correct in zip(found, expected, strict=True):
        torch.testing.assert_close(actual, correct)


def test_convolve_at_no_cells_has_zero_gradients():
    layers, features = convolutions(3, 4, 2), maps()
    out = convolve(features, layers, plan(chosen(count=90, images=2), SIZES, 2))
    assert out.shape == (0, 2)
    out.sum().backward()
    for leaf in (*features, *(p for layer in layers for p in layer.parameters())):
        assert leaf.grad is not None and not leaf.grad.any()


def test_convolve_in_bfloat16_equals_float32_up_to_rounding():
    cells = torch.rand(2, 90, generator=torch.Generator().manual_seed(2)) < 0.2
    layers = [layer.float() for layer in convolutions(3, 5, 2)]
    features = [feature.detach().float() for feature in maps()]
    found = convolve([feature.bfloat16() for feature in features], layers, plan(cells, SIZES, 2))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), on_whole_maps(features, layers, cells), rtol=0.05, atol=0.05)
    found.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for layer in layers for p in layer.parameters())

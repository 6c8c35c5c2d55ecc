import pytest
import torch
import torch.nn.functional as F
from torch import nn

from retinanet.training.cpu import winograd
from retinanet.training.cpu.winograd import conv3x3, fast_convolutions


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def with_gradients(conv, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """The output, and the gradient of each input for an output gradient of noise."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = conv(*leaves)
    out.backward(noise(*out.shape).to(out))
    return [out.detach(), *(leaf.grad for leaf in leaves)]


def test_conv3x3_by_hand():
    # A map of ones: the middle sees nine of them, an edge six, a corner four.
    out = conv3x3(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 3, 3), torch.tensor([0.5]))
    assert out[0, 0, [3, 0, 0], [3, 3, 0]].tolist() == pytest.approx([9.5, 6.5, 4.5], abs=1e-4)


@pytest.mark.parametrize("size", [(8, 8), (9, 14), (3, 50), (1, 1), (60, 50)])
@pytest.mark.parametrize("channels", [(4, 6), (7, 3)])
def test_conv3x3_equals_conv2d_in_outputs_and_gradients(size, channels):
    """Against float64, within a little more than float32's rounding."""
    inputs = noise(3, channels[0], *size), noise(channels[1], channels[0], 3, 3), noise(channels[1])
    found = with_gradients(conv3x3, *inputs)
    exact = with_gradients(lambda x, w, b: F.conv2d(x, w, b, padding=1), *(x.double() for x in inputs))
    for actual, correct in zip(found, exact, strict=True):
        assert (actual - correct).abs().max() < 3e-5 * correct.abs().max()


def test_conv3x3_without_a_bias_and_with_frozen_weights():
    x, weight = noise(1, 2, 8, 8).requires_grad_(), noise(2, 2, 3, 3)
    conv3x3(x, weight).sum().backward()
    expected = torch.autograd.grad(F.conv2d(x, weight, padding=1).sum(), x)[0]
    torch.testing.assert_close(x.grad, expected, rtol=1e-4, atol=1e-4)


def test_conv3x3_is_deterministic():
    inputs = noise(2, 32, 40, 40), noise(32, 32, 3, 3), noise(32)
    for first, second in zip(with_gradients(conv3x3, *inputs), with_gradients(conv3x3, *inputs), strict=True):
        assert torch.equal(first, second)


@pytest.fixture
def calls(monkeypatch) -> list[tuple[int, ...]]:
    """The shapes of the inputs of calls to conv3x3."""
    shapes = []

    def recorded(x, weight, bias):
        shapes.append(tuple(x.shape))
        return conv3x3(x, weight, bias)

    monkeypatch.setattr(winograd, "conv3x3", recorded)
    return shapes


def test_fast_convolutions_replaces_wide_convolutions_of_any_module(calls):
    layer = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1), nn.ReLU())
    x = noise(2, 128, 40, 40)
    with fast_convolutions(True):
        found = layer(x)
    assert calls == [(2, 128, 40, 40)]
    torch.testing.assert_close(found, layer(x), rtol=1e-4, atol=1e-4)
    assert len(calls) == 1  # not outside the context


@pytest.mark.parametrize(
    "other",
    [
        {"stride": 2},
        {"padding": 0},
        {"padding": "same"},
        {"dilation": 2, "padding": 2},
        {"groups": 128},
        {"kernel_size": 1, "padding": 0},
        {"kernel_size": 5, "padding": 2},
        {"out_channels": 36},
    ],
)
def test_fast_convolutions_leaves_other_convolutions(calls, other):
    conv = nn.Conv2d(**{"in_channels": 128, "out_channels": 128, "kernel_size": 3, "padding": 1} | other)
    x = noise(2, 128, 40, 40)
    with fast_convolutions(True):
        found = conv(x)
    assert not calls and torch.equal(found, conv(x))


@pytest.mark.parametrize("shape", [(1, 128, 40, 40), (16, 128, 9, 9)])
def test_fast_convolutions_leaves_few_or_wasted_tiles(calls, shape):
    conv = nn.Conv2d(128, 128, 3, padding=1)
    with fast_convolutions(True):
        conv(noise(*shape))
    assert not calls


def test_fast_convolutions_disabled_replaces_nothing(calls):
    with fast_convolutions(False):
        nn.Conv2d(128, 128, 3, padding=1)(noise(2, 128, 40, 40))
    assert not calls

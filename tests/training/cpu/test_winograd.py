import pytest
import torch
import torch.nn.functional as F
from torch import nn

from retinanet.training.cpu import winograd
from retinanet.training.cpu.winograd import conv3x3, fast_convolutions


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def with_gradients(conv, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """What comes out, and the gradient of each input for a gradient of noise."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = conv(*leaves)
    out.backward(numbers(*out.shape).to(out))
    return [out.detach(), *(leaf.grad for leaf in leaves)]


def test_one_output_by_hand():
    # A map of ones: the middle sees nine of them, an edge six, a corner four.
    out = conv3x3(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 3, 3), torch.tensor([0.5]))
    assert out[0, 0, [3, 0, 0], [3, 3, 0]].tolist() == pytest.approx([9.5, 6.5, 4.5], abs=1e-4)


@pytest.mark.parametrize("size", [(8, 8), (9, 14), (3, 50), (1, 1), (60, 50)])
@pytest.mark.parametrize("channels", [(4, 6), (7, 3)])
def test_it_is_the_convolution_and_its_gradients(size, channels):
    """Against float64, to a little more than what float32 leaves of it."""
    inputs = numbers(3, channels[0], *size), numbers(channels[1], channels[0], 3, 3), numbers(channels[1])
    found = with_gradients(conv3x3, *inputs)
    exact = with_gradients(lambda x, w, b: F.conv2d(x, w, b, padding=1), *(x.double() for x in inputs))
    for one, right in zip(found, exact, strict=True):
        assert (one - right).abs().max() < 3e-5 * right.abs().max()


def test_without_a_bias_and_with_weights_that_do_not_learn():
    x, weight = numbers(1, 2, 8, 8).requires_grad_(), numbers(2, 2, 3, 3)
    conv3x3(x, weight).sum().backward()
    expected = torch.autograd.grad(F.conv2d(x, weight, padding=1).sum(), x)[0]
    torch.testing.assert_close(x.grad, expected, rtol=1e-4, atol=1e-4)


def test_the_same_numbers_at_every_run():
    inputs = numbers(2, 32, 40, 40), numbers(32, 32, 3, 3), numbers(32)
    for one, again in zip(with_gradients(conv3x3, *inputs), with_gradients(conv3x3, *inputs), strict=True):
        assert torch.equal(one, again)


@pytest.fixture
def taken(monkeypatch) -> list[tuple[int, ...]]:
    """The shapes of the inputs of the convolutions that were computed so."""
    shapes = []

    def noted(x, weight, bias):
        shapes.append(tuple(x.shape))
        return conv3x3(x, weight, bias)

    monkeypatch.setattr(winograd, "conv3x3", noted)
    return shapes


def test_any_modules_wide_convolution_is_taken(taken):
    layer = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1), nn.ReLU())
    x = numbers(2, 128, 40, 40)
    with fast_convolutions(True):
        found = layer(x)
    assert taken == [(2, 128, 40, 40)]
    torch.testing.assert_close(found, layer(x), rtol=1e-4, atol=1e-4)
    assert len(taken) == 1  # outside, nothing is


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
def test_other_convolutions_stay_as_they_are(taken, other):
    conv = nn.Conv2d(**{"in_channels": 128, "out_channels": 128, "kernel_size": 3, "padding": 1} | other)
    x = numbers(2, 128, 40, 40)
    with fast_convolutions(True):
        found = conv(x)
    assert not taken and torch.equal(found, conv(x))


@pytest.mark.parametrize("shape", [(1, 128, 40, 40), (16, 128, 9, 9)])
def test_few_tiles_and_wasted_ones_are_not_worth_it(taken, shape):
    conv = nn.Conv2d(128, 128, 3, padding=1)
    with fast_convolutions(True):
        conv(numbers(*shape))
    assert not taken


def test_switched_off_it_does_nothing(taken):
    with fast_convolutions(False):
        nn.Conv2d(128, 128, 3, padding=1)(numbers(2, 128, 40, 40))
    assert not taken

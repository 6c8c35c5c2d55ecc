"""3x3 convolutions one after the other, computed only where their outputs count, for training.

The box loss is of the foreground anchors, and a few cells have all of them. What a convolution gives there depends on
those cells and the ring around them, so each of the convolutions is computed one ring further out than its successor.
Outputs and gradients are the whole maps' ones, but for rounding, and all levels and images are one matrix product.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Q cells are all of one image's, by level, row, column; n are those of N images that one convolution computes.

GATHER_BYTES = 16_000_000  # bytes that are gathered at a time, to bound the memory
DOWN, ACROSS = torch.cartesian_prod(torch.arange(-1, 2), torch.arange(-1, 2)).T


class Layer(NamedTuple):
    """Which rows one convolution reads: of what it gets (inputs, C), and of the gradient it gets back (outputs, D)."""

    forward: Tensor  # (outputs, 9): the inputs around each output, by row and column; beyond the map, `inputs`
    backward: Tensor  # (inputs, 9): the outputs around each input; where none is computed, `outputs`


class Plan(NamedTuple):
    """What to compute for the outputs at some cells."""

    first: Tensor  # (inputs of the first,) which of the N * Q cells are read
    layers: list[Layer]

    def share(self, cells: int) -> float:
        """How much of N * Q cells the convolutions compute, on average."""
        return sum(len(layer.forward) for layer in self.layers) / (len(self.layers) * cells)


def plan(wanted: Tensor, sizes: Sequence[Sequence[int]], layers: int) -> Plan:
    """For outputs at the cells wanted (N, Q), on maps of these (rows, columns), after so many convolutions."""
    inside, pitch = (values.to(wanted.device).repeat(len(wanted)) for values in _board(sizes))
    mask = torch.zeros_like(inside)
    mask[inside] = wanted.flatten()
    places = [mask.nonzero()[:, 0]]
    for _ in range(layers):
        mask = torch.zeros_like(inside)
        mask[_around(places[0], pitch)] = True
        places.insert(0, (mask & inside).nonzero()[:, 0])
    found = []
    for read, written in pairwise(places):
        of_read, of_written = _numbers(read, len(inside)), _numbers(written, len(inside))
        found.append(Layer(of_read[_around(written, pitch)], of_written[_around(read, pitch)]))
    return Plan(inside.cumsum(0)[places[0]] - 1, found)


def convolve(features: Sequence[Tensor], convolutions: Sequence[nn.Conv2d], plan: Plan) -> Tensor:
    """Outputs (n, D) at the planned cells, in their order, of 3x3 convolutions of maps (N, C, H, W), ReLUs between."""
    flat = torch.cat([feature.permute(0, 2, 3, 1).flatten(1, 2) for feature in features], dim=1).flatten(0, 1)
    x = _Rows.apply(flat, plan.first)
    for number, (convolution, layer) in enumerate(zip(convolutions, plan.layers, strict=True)):
        x = _Convolve.apply(F.relu(x) if number else x, convolution.weight, convolution.bias, layer)
    return x


class _Rows(torch.autograd.Function):
    """x[rows], each at most once, so that their gradients need not be added."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor) -> Tensor:
        ctx.rows, ctx.shape = rows, x.shape
        return x.index_select(0, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.new_zeros(ctx.shape).index_copy_(0, ctx.rows, gradient), None


class _Convolve(torch.autograd.Function):
    """x (inputs, C), weight (D, C, 3, 3), bias (D,) -> (outputs, D)"""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, layer: Layer) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.layer = layer
        kernels, bias = weight.permute(0, 2, 3, 1).flatten(1).to(x), bias.to(x)
        return torch.cat([F.linear(around, kernels, bias) for around in _gather(x, layer.forward)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        D, C = weight.shape[:2]
        # From outputs to inputs it is a convolution again, with the kernels turned around.
        turned = weight.flip(2, 3).permute(2, 3, 0, 1).reshape(9 * D, C).to(x)
        of_x = torch.cat([around @ turned for around in _gather(gradient, ctx.layer.backward)])
        of_kernels = weight.new_zeros(D, 9 * C)
        reads = _gather(x, ctx.layer.forward)
        for written, around in zip(gradient.split(_rows_at_once(x)), reads, strict=True):
            of_kernels += written.T @ around
        return of_x, of_kernels.view(D, 3, 3, C).permute(0, 3, 1, 2), gradient.sum(0, dtype=weight.dtype), None


def _gather(x: Tensor, rows: Tensor) -> Iterator[Tensor]:
    """x (n, C) and rows (m, 9) -> (m, 9 * C) in parts of _rows_at_once(x), zeros for the row n."""
    x = F.pad(x, (0, 0, 0, 1))
    for some in rows.split(_rows_at_once(x)):
        yield x.index_select(0, some.flatten()).view(len(some), 9 * x.shape[1])


def _rows_at_once(x: Tensor) -> int:
    return max(1, GATHER_BYTES // (9 * x.shape[1] * x.element_size()))


def _board(sizes: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """An image's maps with a border each, laid out in a line of P places: (P,) no border, (P,) the length of a row."""
    inside = [F.pad(torch.ones(*size, dtype=torch.bool), (1, 1, 1, 1)) for size in sizes]
    pitch = [torch.full((board.numel(),), board.shape[1]) for board in inside]
    return torch.cat([board.flatten() for board in inside]), torch.cat(pitch)


def _around(places: Tensor, pitch: Tensor) -> Tensor:
    """(n, 9): the places around each of n, itself among them, by row and column."""
    down, across = DOWN.to(places.device), ACROSS.to(places.device)
    return places[:, None] + pitch[places, None] * down + across


def _numbers(places: Tensor, of: int) -> Tensor:
    """(of,) the number of each place among these, or how many these are."""
    numbers = torch.full((of,), len(places), device=places.device)
    numbers[places] = torch.arange(len(places), device=places.device)
    return numbers

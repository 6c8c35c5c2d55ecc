"""A sequence of 3x3 convolutions computed only at the cells whose outputs the loss uses, for training.

The box loss uses foreground anchors only, and few cells have one. An output depends on its cell and the ring around it,
so each convolution is computed one ring further out than the next. Outputs and gradients equal those on whole maps up
to rounding; all levels and images are one matrix product.

With 8 objects an image, a training step of ResNet-50 at 512 px in bfloat16 was 2.87 times as fast as torchvision's, and
2.35 times without this (two Zen 5 cores; docs/training.md). Only for subnets without norm and if few cells count.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# N images with Q cells each, ordered by level, row, column; a convolution reads C and writes D channels at n cells.

GATHER_BYTES = 16_000_000  # gathered at a time, to bound the memory
DOWN, ACROSS = torch.cartesian_prod(torch.arange(-1, 2), torch.arange(-1, 2)).T


class Layer(NamedTuple):
    """The rows that one convolution reads: of its inputs (inputs, C), and of its outputs' gradient (outputs, D)."""

    forward: Tensor  # (outputs, 9): inputs around each output, row by row; `inputs` outside the map
    backward: Tensor  # (inputs, 9): outputs around each input; `outputs` if not computed


class Plan(NamedTuple):
    """The rows to read for the outputs at chosen cells."""

    first: Tensor  # (inputs of the first layer,) indices into the N * Q cells
    layers: list[Layer]

    def share(self, cells: int) -> float:
        """The share of `cells` (N * Q) that a convolution computes, on average."""
        return sum(len(layer.forward) for layer in self.layers) / (len(self.layers) * cells)


def plan(cells: Tensor, sizes: Sequence[Sequence[int]], layers: int) -> Plan:
    """Plan `layers` convolutions for outputs at the cells (N, Q) bool, on maps of sizes (rows, columns) by level."""
    inside, pitch = (values.to(cells.device).repeat(len(cells)) for values in _padded_layout(sizes))
    mask = torch.zeros_like(inside)
    mask[inside] = cells.flatten()
    positions = [mask.nonzero()[:, 0]]  # of each convolution's inputs, and of the outputs, first to last
    for _ in range(layers):
        mask = torch.zeros_like(inside)
        mask[_neighbors(positions[0], pitch)] = True
        positions.insert(0, (mask & inside).nonzero()[:, 0])
    planned = []
    for read, written in pairwise(positions):
        read_rows, written_rows = _row_numbers(read, len(inside)), _row_numbers(written, len(inside))
        planned.append(Layer(read_rows[_neighbors(written, pitch)], written_rows[_neighbors(read, pitch)]))
    return Plan(inside.cumsum(0)[positions[0]] - 1, planned)


def convolve(features: Sequence[Tensor], convolutions: Sequence[nn.Conv2d], plan: Plan) -> Tensor:
    """Apply 3x3 convolutions, ReLUs in between, to maps (N, C, H, W); returns outputs (n, D) at the planned cells."""
    flat = torch.cat([feature.permute(0, 2, 3, 1).flatten(1, 2) for feature in features], dim=1).flatten(0, 1)
    x = _Rows.apply(flat, plan.first)
    for number, (convolution, layer) in enumerate(zip(convolutions, plan.layers, strict=True)):
        x = _Convolve.apply(F.relu(x) if number else x, convolution.weight, convolution.bias, layer)
    return x


class _Rows(torch.autograd.Function):
    """x[rows], no row twice: the gradient is then a copy without sums."""

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
        return torch.cat([F.linear(patches, kernels, bias) for patches in _gather(x, layer.forward)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        D, C = weight.shape[:2]
        # The inputs' gradient is a convolution of the outputs' gradient with the flipped kernels.
        flipped = weight.flip(2, 3).permute(2, 3, 0, 1).reshape(9 * D, C).to(x)
        x_gradient = torch.cat([patches @ flipped for patches in _gather(gradient, ctx.layer.backward)])
        kernel_gradient = weight.new_zeros(D, 9 * C)
        inputs = _gather(x, ctx.layer.forward)
        for outputs, patches in zip(gradient.split(_rows_at_once(x)), inputs, strict=True):
            kernel_gradient += outputs.T @ patches
        return (
            x_gradient,
            kernel_gradient.view(D, 3, 3, C).permute(0, 3, 1, 2),
            gradient.sum(0, dtype=weight.dtype),
            None,
        )


def _gather(x: Tensor, rows: Tensor) -> Iterator[Tensor]:
    """x (n, C) and rows (m, 9) -> (m, 9 * C), zeros for the row n, in chunks of _rows_at_once(x)."""
    x = F.pad(x, (0, 0, 0, 1))
    for chunk in rows.split(_rows_at_once(x)):
        yield x.index_select(0, chunk.flatten()).view(len(chunk), 9 * x.shape[1])


def _rows_at_once(x: Tensor) -> int:
    return max(1, GATHER_BYTES // (9 * x.shape[1] * x.element_size()))


def _padded_layout(sizes: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """An image's maps, padded by one cell and flattened to P positions: (P,) no padding, (P,) their rows' lengths."""
    inside = [F.pad(torch.ones(*size, dtype=torch.bool), (1, 1, 1, 1)) for size in sizes]
    pitch = [torch.full((level.numel(),), level.shape[1]) for level in inside]
    return torch.cat([level.flatten() for level in inside]), torch.cat(pitch)


def _neighbors(positions: Tensor, pitch: Tensor) -> Tensor:
    """(n, 9): the 3x3 positions around each of n, row by row."""
    down, across = DOWN.to(positions.device), ACROSS.to(positions.device)
    return positions[:, None] + pitch[positions, None] * down + across


def _row_numbers(positions: Tensor, count: int) -> Tensor:
    """(count,) the row of each position in `positions` (n,), n for those that are not in it."""
    rows = torch.full((count,), len(positions), device=positions.device)
    rows[positions] = torch.arange(len(positions), device=positions.device)
    return rows

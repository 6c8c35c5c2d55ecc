"""Winograd's 3x3 convolution in float32 on a CPU, with a quarter of the multiplications, for training.

The algorithm is F(4x4, 3x3) of Lavin and Gray 2016, Fast Algorithms for Convolutional Neural Networks: a tile of 4x4
outputs takes one product for each of the 36 elements of its transform, instead of 9 for each of its 16 outputs. Outputs
differ from a direct convolution's by about 1e-5 of the largest, and are the same at every run.

On a CPU with AVX2 but no AVX-512, a training step is 1.35 times as fast for ResNet-50 with 256-wide subnets and 1.17
times with README's setting for BCCD; the default, with 64-wide subnets, gains nothing (0.98).

The products over the channels are a grouped 1x1 convolution of oneDNN, one group for each element; as a batched matrix
product of MKL, TILES_AT_ONCE tiles took 1.5 times as long on an AMD EPYC (Zen 5).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

# N images of H x W, C channels in and D out; a tile reads 6x6 and writes 4x4.
READ, WRITTEN = 6, 4
ELEMENTS = READ * READ
TILES_AT_ONCE = 128  # so that intermediate results stay in the cache


def fast_convolutions(enabled: bool) -> AbstractContextManager:
    """A context in which F.conv2d uses this algorithm where it is faster, in any module.

    For float32 on a CPU, without torch.compile and autocast.
    """
    return _FastConvolutions() if enabled else nullcontext()


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """F.conv2d(x, weight, bias, padding=1) of x (N, C, H, W) and weight (D, C, 3, 3): (N, D, H, W), channels last."""
    return _Conv3x3.apply(x, weight, bias)


class _FastConvolutions(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        run = _conv2d if func is F.conv2d else func
        return run(*args, **kwargs or {})


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    is_plain = (stride, padding, dilation, groups) == ((1, 1), (1, 1), (1, 1), 1) and weight.shape[2:] == (3, 3)
    if is_plain and input.dtype == torch.float32 and _is_faster(input.shape, len(weight)):
        return conv3x3(input, weight, bias)
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _is_faster(shape: torch.Size, outputs: int) -> bool:
    """Whether this algorithm is faster for inputs (N, C, H, W) and `outputs` channels.

    The transforms' cost grows with the channels, the products' with their square, and edge tiles are computed in full.
    Speed-up of forward and backward on maps of 40 x 40, two Zen 5 cores with AVX-512, and with oneDNN limited to AVX2:
    1.2 and 2.2 for 256 channels, 1.0 and 1.9 for 128, below 1 and 1.6 for 64.
    """
    n, channels, height, width = shape
    tiles = _tile_count(height) * _tile_count(width)
    return min(channels, outputs) >= 128 and n * tiles >= 128 and height * width >= 10 * tiles


class _Conv3x3(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            # The inputs' gradient is a convolution of the outputs' gradient with the flipped kernels.
            _convolve(gradient, weight.flip(2, 3).transpose(0, 1), None) if needs_x else None,
            _kernel_gradient(x, gradient) if needs_weight else None,
            gradient.sum((0, 2, 3)) if needs_bias else None,
        )


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    (N, C, H, W), D = x.shape, len(weight)
    rows, columns = _tile_count(H), _tile_count(W)
    kernels = (FROM_KERNEL @ weight.permute(2, 3, 0, 1).reshape(9, -1)).view(ELEMENTS * D, C, 1, 1)
    out = torch.empty((N, D, rows * WRITTEN, columns * WRITTEN), memory_format=torch.channels_last)
    written = out.permute(0, 2, 3, 1).view(N, rows, WRITTEN, columns, WRITTEN, D).transpose(2, 3)
    for images, lines in _chunks(N, rows, columns):
        windows = _windows(x[images], READ, 1)
        for chunk in lines:
            tiles = FROM_INPUT @ windows[:, chunk].reshape(-1, ELEMENTS, C)  # (tiles, 36, C)
            channels = tiles.view(1, -1, 1, ELEMENTS * C).permute(0, 3, 1, 2)  # (1, 36 * C, tiles, 1), channels last
            products = F.conv2d(channels, kernels, groups=ELEMENTS).permute(0, 2, 3, 1)
            outputs = TO_OUTPUT @ products.view(-1, ELEMENTS, D)  # (tiles, 16, D)
            if bias is not None:
                outputs += bias
            target = written[images, chunk]
            target.copy_(outputs.view(target.shape))
    if out.shape[2:] == (H, W):
        return out
    return out[:, :, :H, :W].clone(memory_format=torch.channels_last)


def _kernel_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    (N, C, H, W), D = x.shape, gradient.shape[1]
    total = x.new_zeros(ELEMENTS, C, D)
    for images, lines in _chunks(N, _tile_count(H), _tile_count(W)):
        windows, gradients = _windows(x[images], READ, 1), _windows(gradient[images], WRITTEN, 0)
        for chunk in lines:
            tiles = FROM_INPUT @ windows[:, chunk].reshape(-1, ELEMENTS, C)
            outputs = TO_OUTPUT.T @ gradients[:, chunk].reshape(-1, WRITTEN * WRITTEN, D)
            # oneDNN's weight gradient of the grouped convolution would take four times as long.
            total.baddbmm_(tiles.permute(1, 2, 0), outputs.transpose(0, 1))
    return (FROM_KERNEL.T @ total.view(ELEMENTS, -1)).view(3, 3, C, D).permute(3, 2, 0, 1)


def _tile_count(side: int) -> int:
    """The number of tiles that cover a side, in cells."""
    return -(-side // WRITTEN)


def _windows(x: Tensor, side: int, border: int) -> Tensor:
    """(N, rows, columns, side, side, C): the cells that each tile reads, zeros outside the map."""
    N, C, H, W = x.shape
    rows, columns = _tile_count(H), _tile_count(W)
    right, below = columns * WRITTEN - W + border, rows * WRITTEN - H + border
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, border, right, border, below)).contiguous()
    image, row, column, channel = x.stride()
    return x.as_strided(
        (N, rows, columns, side, side, C), (image, WRITTEN * row, WRITTEN * column, row, column, channel)
    )


def _chunks(N: int, rows: int, columns: int) -> Iterator[tuple[slice, list[slice]]]:
    """Slices of images, and for each of them slices of tile rows with about TILES_AT_ONCE tiles."""
    images, lines = max(1, TILES_AT_ONCE // (rows * columns)), max(1, TILES_AT_ONCE // columns)
    for image in range(0, N, images):
        yield slice(image, image + images), [slice(row, row + lines) for row in range(0, rows, lines)]


def _both_axes(rows: list[list[float]]) -> Tensor:
    matrix = torch.tensor(rows, dtype=torch.float64)
    return torch.kron(matrix, matrix).float()


# The paper's B^T, G and A^T, applied to rows and columns at once: (36, 36), (36, 9), (16, 36).
FROM_INPUT = _both_axes(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
FROM_KERNEL = _both_axes(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
TO_OUTPUT = _both_axes([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])

"""3x3 convolutions in float32 on a processor, with a quarter of the multiplications, for training.

The algorithm is F(4x4, 3x3) of Lavin and Gray 2016, Fast Algorithms for Convolutional Neural Networks: a tile of 4 x 4
outputs takes a product for each of the 36 places of its transform, instead of 9 for each of its 16 outputs. Outputs
differ from a direct convolution's by about 1e-5 of the largest, and are the same at every run.

The products over the channels are a 1x1 convolution with a group for each place, for oneDNN; as a batch of matrix
products, for MKL, TILES_AT_ONCE tiles took 1.5 times as long on an AMD EPYC (Zen 5).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

# N images of H x W, C channels in and D out; a tile reads 6 x 6 and writes 4 x 4.
READ, WRITTEN = 6, 4
PLACES = READ * READ
TILES_AT_ONCE = 128  # tiles at a time, so that what lies between the steps stays in the cache


def fast_convolutions(enabled: bool) -> AbstractContextManager:
    """Within it, the convolutions that are faster this way are computed so, in whichever module they are.

    Only for float32 on a processor, outside torch.compile and autocast.
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
    if is_plain and input.dtype == torch.float32 and _is_worth_it(input.shape, len(weight)):
        return conv3x3(input, weight, bias)
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _is_worth_it(shape: torch.Size, outputs: int) -> bool:
    """Transforms cost as the channels do, products as their square; and edge tiles are computed whole.

    Forward and backward on two cores of that processor, with its AVX-512 and with oneDNN held to AVX2: 256 channels
    gain 1.2 and 2.2 times on maps of 40 x 40, 128 channels 1.0 and 1.9, 64 channels less than nothing and 1.6.
    """
    n, channels, height, width = shape
    tiles = _count(height) * _count(width)
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
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            # From outputs to inputs it is a convolution again, with the kernels turned around.
            _convolve(gradient, weight.flip(2, 3).transpose(0, 1), None) if wants_x else None,
            _kernel_gradient(x, gradient) if wants_weight else None,
            gradient.sum((0, 2, 3)) if wants_bias else None,
        )


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    (N, C, H, W), D = x.shape, len(weight)
    rows, columns = _count(H), _count(W)
    kernels = (FROM_KERNEL @ weight.permute(2, 3, 0, 1).reshape(9, -1)).view(PLACES * D, C, 1, 1)
    out = torch.empty((N, D, rows * WRITTEN, columns * WRITTEN), memory_format=torch.channels_last)
    written = out.permute(0, 2, 3, 1).view(N, rows, WRITTEN, columns, WRITTEN, D).transpose(2, 3)
    for images, lines in _chunks(N, rows, columns):
        windows = _windows(x[images], READ, 1)
        for some in lines:
            tiles = FROM_INPUT @ windows[:, some].reshape(-1, PLACES, C)  # (tiles, 36, C)
            places = tiles.view(1, -1, 1, PLACES * C).permute(0, 3, 1, 2)  # an image of (tiles, 1), channels last
            products = F.conv2d(places, kernels, groups=PLACES).permute(0, 2, 3, 1)
            outputs = TO_OUTPUT @ products.view(-1, PLACES, D)  # (tiles, 16, D)
            if bias is not None:
                outputs += bias
            target = written[images, some]
            target.copy_(outputs.view(target.shape))
    if out.shape[2:] == (H, W):
        return out
    return out[:, :, :H, :W].clone(memory_format=torch.channels_last)


def _kernel_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    (N, C, H, W), D = x.shape, gradient.shape[1]
    total = x.new_zeros(PLACES, C, D)
    for images, lines in _chunks(N, _count(H), _count(W)):
        windows, gradients = _windows(x[images], READ, 1), _windows(gradient[images], WRITTEN, 0)
        for some in lines:
            tiles = FROM_INPUT @ windows[:, some].reshape(-1, PLACES, C)
            outputs = TO_OUTPUT.T @ gradients[:, some].reshape(-1, WRITTEN * WRITTEN, D)
            # As the weights' gradient of that convolution, oneDNN would take four times as long for it.
            total.baddbmm_(tiles.permute(1, 2, 0), outputs.transpose(0, 1))
    return (FROM_KERNEL.T @ total.view(PLACES, -1)).view(3, 3, C, D).permute(3, 2, 0, 1)


def _count(side: int) -> int:
    """How many tiles cover a side of that many pixels."""
    return -(-side // WRITTEN)


def _windows(x: Tensor, side: int, border: int) -> Tensor:
    """(N, rows, columns, side, side, C): what each tile reads, place by place, zeros beyond the map's edges."""
    N, C, H, W = x.shape
    rows, columns = _count(H), _count(W)
    right, below = columns * WRITTEN - W + border, rows * WRITTEN - H + border
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, border, right, border, below)).contiguous()
    image, row, column, channel = x.stride()
    return x.as_strided(
        (N, rows, columns, side, side, C), (image, WRITTEN * row, WRITTEN * column, row, column, channel)
    )


def _chunks(N: int, rows: int, columns: int) -> Iterator[tuple[slice, list[slice]]]:
    """Some images at a time, and of them lines of tiles, about TILES_AT_ONCE tiles in each."""
    images, lines = max(1, TILES_AT_ONCE // (rows * columns)), max(1, TILES_AT_ONCE // columns)
    for image in range(0, N, images):
        yield slice(image, image + images), [slice(row, row + lines) for row in range(0, rows, lines)]


def _both_axes(rows: list[list[float]]) -> Tensor:
    matrix = torch.tensor(rows, dtype=torch.float64)
    return torch.kron(matrix, matrix).float()


# The paper's B^T, G and A^T, for the rows and the columns of a tile at once: (36, 36), (36, 9), (16, 36).
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

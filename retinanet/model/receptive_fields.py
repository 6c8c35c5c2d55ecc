"""The stride and offset of a network's feature maps on the image, computed from its convolutions."""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class GridGeometry(NamedTuple):
    """Receptive fields lie `stride` pixels apart; the first cell's is centered on pixel `origin`.

    Padding counts as part of a receptive field, so an evenly padded convolution has origin 0. Without padding the
    origin lies further inside the image.
    """

    stride: float
    origin: float


def grid_geometries(network: nn.Module, side: int) -> list[GridGeometry | None]:
    """Geometry of each feature map (a list, or the values of a dict) of a network on the device "meta".

    side is the image's, in pixels. None for a map whose grid was changed by anything but convolution, pooling and
    padding. Kernels and padding are assumed symmetric between rows and columns. Where branches merge, the geometry
    of the largest tensor is kept, the first of equals: the main path of a residual block, the map and not its gate.
    """
    image = torch.empty(1, 3, side, side, device="meta")
    tracker = _GeometryTracker(image)
    with torch.no_grad(), tracker:
        features = network(image)
    maps = features.values() if isinstance(features, dict) else features
    return [tracker.geometry(feature) for feature in maps]


def meta_twin(network: nn.Module) -> nn.Module:
    """A copy of the network in eval mode on the device "meta": it computes shapes, and no weights are copied."""
    shapes: dict[int, Tensor] = {id(p): nn.Parameter(p.detach().to("meta")) for p in network.parameters()}
    shapes |= {id(b): b.to("meta") for b in network.buffers()}
    return copy.deepcopy(network, shapes).eval()


class _GeometryTracker(TorchDispatchMode):
    """Follows the geometry of each tensor through all operations on the image."""

    def __init__(self, image: Tensor):
        super().__init__()
        # Keep the tensors alive: the id of a freed one would be given to another.
        self.known: dict[int, tuple[Tensor, GridGeometry | None]] = {id(image): (image, GridGeometry(1, 0))}

    def geometry(self, tensor: Tensor) -> GridGeometry | None:
        return self.known.get(id(tensor), (tensor, None))[1]

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> object:
        out = func(*args, **(kwargs or {}))
        sources = [t for t in tree_leaves(args) if isinstance(t, Tensor) and id(t) in self.known]
        if sources:
            source = max(sources, key=Tensor.numel)
            for result in tree_leaves(out):
                if isinstance(result, Tensor):
                    self.known[id(result)] = (result, _after_operation(self.geometry(source), func, args, source))
        return out


def _after_operation(
    geometry: GridGeometry | None, func: OpOverload, args: Sequence, source: Tensor
) -> GridGeometry | None:
    if geometry is None or source.ndim != 4:
        return geometry
    match func.overloadpacket.__name__:
        case "convolution":
            _, weight, _, stride, padding, dilation, transposed, *_ = args
            if transposed or weight.ndim != 4:
                return None
            return _after_window(geometry, dilation[0] * (weight.shape[2] - 1) + 1, stride[0], padding[0])
        case "max_pool2d_with_indices" | "avg_pool2d":
            kernel, stride, padding = args[1], args[2] if len(args) > 2 else [], args[3] if len(args) > 3 else [0]
            return _after_window(geometry, kernel[0], (stride or kernel)[0], padding[0])
        case "constant_pad_nd":
            above = args[1][2] if len(args[1]) > 2 else 0
            return GridGeometry(geometry.stride, geometry.origin - above * geometry.stride)
        case "upsample_nearest2d" | "upsample_bilinear2d":
            return None
    return geometry


def _after_window(geometry: GridGeometry, field: int, stride: int, padding: int) -> GridGeometry:
    """The geometry after a window of `field` cells was moved in steps of `stride`."""
    return GridGeometry(geometry.stride * stride, geometry.origin + geometry.stride * ((field - 1) / 2 - padding))

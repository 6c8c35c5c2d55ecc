"""Where the cells of a network's feature maps lie on the image, by the arithmetic of its convolutions."""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Place(NamedTuple):
    """Cells lie `stride` pixels apart; what the first one sees is centerd on pixel `origin`, its own padding included.

    Every convolution that is padded to keep its grid has origin 0; one without padding moves it inward.
    """

    stride: float
    origin: float


def find_places(network: nn.Module, side: int) -> list[Place | None]:
    """The place of each map that the network, on the device "meta", returns for an image of this side, as a list or
    the values of a dict. None where other than convolutions, poolings and paddings change the grid.

    Kernels are taken to be centerd alike in both directions. Where branches meet, the largest tensor counts, of
    equals the first: a residual block's main path, the map and not the gate.
    """
    image = torch.empty(1, 3, side, side, device="meta")
    places = _Places(image)
    with torch.no_grad(), places:
        features = network(image)
    maps = features.values() if isinstance(features, dict) else features
    return [places.of(feature) for feature in maps]


def meta_twin(network: nn.Module) -> nn.Module:
    """The same network in eval mode with shapes instead of numbers, made without copying these."""
    shapes: dict[int, Tensor] = {id(p): nn.Parameter(p.detach().to("meta")) for p in network.parameters()}
    shapes |= {id(b): b.to("meta") for b in network.buffers()}
    return copy.deepcopy(network, shapes).eval()


class _Places(TorchDispatchMode):
    """Follows the place of each tensor through all that is computed from the image."""

    def __init__(self, image: Tensor):
        super().__init__()
        # The tensors are kept, so that no other one gets the id of a freed one.
        self.known: dict[int, tuple[Tensor, Place | None]] = {id(image): (image, Place(1, 0))}

    def of(self, tensor: Tensor) -> Place | None:
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
                    self.known[id(result)] = (result, _moved(self.of(source), func, args, source, result))
        return out


def _moved(place: Place | None, func: OpOverload, args: Sequence, source: Tensor, result: Tensor) -> Place | None:
    if place is None or source.ndim != 4:
        return place
    match func.overloadpacket.__name__:
        case "convolution":
            _, weight, _, stride, padding, dilation, transposed, *_ = args
            if transposed or weight.ndim != 4:
                return None
            return _slid(place, dilation[0] * (weight.shape[2] - 1) + 1, stride[0], padding[0])
        case "max_pool2d_with_indices" | "avg_pool2d":
            kernel, stride, padding = args[1], args[2] if len(args) > 2 else [], args[3] if len(args) > 3 else [0]
            return _slid(place, kernel[0], (stride or kernel)[0], padding[0])
        case "constant_pad_nd":
            above = args[1][2] if len(args[1]) > 2 else 0
            return Place(place.stride, place.origin - above * place.stride)
        case "upsample_nearest2d" | "upsample_bilinear2d":
            return None
    return place


def _slid(place: Place, field: int, stride: int, padding: int) -> Place:
    """The place after a window of `field` cells moved in steps of `stride`."""
    return Place(place.stride * stride, place.origin + place.stride * ((field - 1) / 2 - padding))

"""Any classification CNN as a backbone with feature maps of strides 8, 16 and 32.

`resnet50` and the like come from torchvision, `timm/<name>` from timm. The feature maps are found by running the
network once and measuring its strides, not listed by name.
"""

import re
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import timm
import torch
import torchvision
from timm.models import FeatureInfo
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from retinanet.errors import WeightsError, suggestion
from retinanet.model.receptive_fields import GridGeometry, grid_geometries, meta_twin
from retinanet.model.same_padding import pads_evenly, with_constant_padding
from retinanet.model.tracing import PROBE_SIDES, extract, find_taps, nearest_stride

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BACKBONE_STRIDES = (8, 16, 32)
# The pyramid can compute stride 32 itself.
REQUIRED_STRIDES = (8, 16)


class Feature(NamedTuple):
    """A feature map: receptive fields `stride` pixels apart, the first centered on pixel `origin`."""

    stride: int
    channels: int
    origin: float


class Backbone(nn.Module):
    """A network without its classifier: images (N, 3, H, W) -> [C3, C4, C5], or [C3, C4] if it has no stride 32.

    features describes all maps that the network returns, finest first; channels and origins are those of C3 to C5.
    mean and std normalize RGB in 0..1 as the network's ImageNet weights expect.
    """

    def __init__(
        self, network: nn.Module, features: Sequence[Feature], mean: tuple, std: tuple, channels_last: bool = False
    ):
        super().__init__()
        self.network, self.features, self.channels_last = network, tuple(features), channels_last
        self.levels = [i for i, feature in enumerate(features) if feature.stride in BACKBONE_STRIDES]
        self.channels = [features[i].channels for i in self.levels]
        self.origins = [features[i].origin for i in self.levels]
        self.mean, self.std = tuple(mean), tuple(std)
        self.frozen_norms: list[nn.Module] = []

    def train(self, mode: bool = True) -> "Backbone":
        """Set the training mode; batch norms of frozen stages stay in eval mode, so their statistics do not drift."""
        super().train(mode)
        for norm in self.frozen_norms:
            norm.eval()
        return self

    def stages(self, images: Tensor) -> list[Tensor]:
        """The last feature map (N, C, H, W) of every stride, finest first."""
        maps = self.network(images)
        maps = [maps[str(f.stride)] for f in self.features] if isinstance(maps, dict) else maps
        return [m.permute(0, 3, 1, 2) for m in maps] if self.channels_last else maps

    def forward(self, images: Tensor) -> list[Tensor]:
        stages = self.stages(images)
        return [stages[i] for i in self.levels]


def build_backbone(name: str) -> Backbone:
    """Build the named network with random weights.

    Raises WeightsError if the name is unknown, or the network has no feature maps of stride 8 and 16.
    """
    return _from_timm(name.removeprefix("timm/")) if name.startswith("timm/") else _from_torchvision(name)


def feature_info(network: nn.Module) -> FeatureInfo:
    """timm's description of the feature maps of a network that was created with features_only."""
    info = network.feature_info
    if not isinstance(info, FeatureInfo):
        raise TypeError(
            f"timm's feature_info is a {type(info).__name__}, not a FeatureInfo; is timm's version supported?"
        )
    return info


def freeze_stages(backbone: Backbone, count: int) -> None:
    """Freeze all that the first `count` strides (2, 4, 8, ...) depend on: parameters and batch statistics.

    Parameters that none of C3 to C5 depends on are frozen too: distributed training waits for the gradient of every
    trainable parameter.
    """
    parameters, training = list(backbone.requires_grad_().parameters()), backbone.training
    outputs: dict[nn.Module, Tensor] = {}
    norms = [module for module in backbone.modules() if isinstance(module, _BatchNorm)]
    hooks = [norm.register_forward_hook(lambda norm, _, output: outputs.update({norm: output})) for norm in norms]
    backbone.eval()
    with torch.enable_grad():
        maps = backbone.stages(torch.zeros(1, 3, 128, 128))
    for hook in hooks:
        hook.remove()
    early = [m for m, feature in zip(maps, backbone.features, strict=True) if feature.stride <= 2**count][-1:]
    nodes = [*parameters, *outputs.values()]
    frozen = _are_used(nodes, early)
    used = _are_used(nodes, [maps[i] for i in backbone.levels])
    learns = [is_used and not is_frozen for is_used, is_frozen in zip(used, frozen, strict=True)]
    for parameter, requires_grad in zip(parameters, learns, strict=False):
        parameter.requires_grad_(requires_grad)
    backbone.frozen_norms = [
        norm for norm, learns_norm in zip(outputs, learns[len(parameters) :], strict=True) if not learns_norm
    ]
    backbone.train(training)


def _are_used(nodes: list[Tensor], maps: list[Tensor]) -> list[bool]:
    """For each tensor, whether the maps depend on it, by autograd: the names of modules do not matter."""
    if not maps:
        return [False] * len(nodes)
    total = torch.stack([m.sum() for m in maps]).sum()
    gradients = torch.autograd.grad(total, nodes, retain_graph=True, allow_unused=True)
    return [gradient is not None for gradient in gradients]


def _from_torchvision(name: str) -> Backbone:
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise WeightsError(f"model.backbone: torchvision has no network {name!r}; {_suggestion(name, names)}")
    options = {"aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The default weight initialization")
        network = torchvision.models.get_model(name, weights=None, **options)
    try:
        taps = find_taps(network)
    except (AssertionError, RuntimeError) as error:
        raise _fixed_size(name, error) from error
    _check_strides(name, taps)
    network = extract(network, taps)
    geometries = grid_geometries(meta_twin(network), PROBE_SIDES[0])
    features = [
        Feature(stride, tap.channels, _origin(stride, geometry))
        for (stride, tap), geometry in zip(taps.items(), geometries, strict=True)
    ]
    return Backbone(network, features, IMAGENET_MEAN, IMAGENET_STD)


def _from_timm(name: str) -> Backbone:
    if not timm.is_model(name):
        raise WeightsError(f"model.backbone: timm has no network {name!r}; {_suggestion(name, timm.list_models())}")
    try:
        network = timm.create_model(name, pretrained=False, features_only=True)
    except (RuntimeError, AssertionError, ValueError, AttributeError, IndexError) as error:
        raise WeightsError(
            f"model.backbone: timm/{name} has no feature maps for a pyramid: {_first_line(error)}; "
            "choose a convolutional network"
        ) from error
    info = feature_info(network)
    reductions = info.reduction()
    # The last map of each stride up to 32.
    last_of_stride = {stride: i for i, stride in enumerate(reductions) if stride <= BACKBONE_STRIDES[-1]}
    _check_strides(f"timm/{name}", last_of_stride)
    if len(last_of_stride) < len(reductions):
        indices = [info.out_indices[i] for i in last_of_stride.values()]
        network = timm.create_model(name, pretrained=False, features_only=True, out_indices=indices)
    twin = meta_twin(network)
    try:
        maps, _ = (_shapes(twin, side) for side in PROBE_SIDES)
    except Exception as error:
        # Networks of one image size fail in many ways; the message quotes the error.
        raise _fixed_size(f"timm/{name}", error) from error
    if pads_evenly(twin, PROBE_SIDES[0]):
        network = with_constant_padding(network)
    channels = feature_info(network).channels()
    channels_last = [shape[3] for shape in maps] == channels != [shape[1] for shape in maps]
    strides = [nearest_stride(PROBE_SIDES[0], shape[1 if channels_last else 2]) for shape in maps]
    _check_strides(f"timm/{name}", strides)
    # Padding that depends on the image's size cannot be traced: trace the network as it will run.
    geometries = grid_geometries(meta_twin(network), PROBE_SIDES[0])
    origins = [_origin(stride, geometry) for stride, geometry in zip(strides, geometries, strict=True)]
    features = [Feature(*feature) for feature in zip(strides, channels, origins, strict=True)]
    config = timm.get_pretrained_cfg(name)
    mean, std = (config.mean, config.std) if config else (IMAGENET_MEAN, IMAGENET_STD)
    return Backbone(network, features, mean, std, channels_last)


@torch.no_grad()
def _shapes(twin: nn.Module, side: int) -> list[torch.Size]:
    return [feature.shape for feature in twin(torch.empty(1, 3, side, side, device="meta"))]


def _origin(stride: int, geometry: GridGeometry | None) -> float:
    # Attention and cells folded into channels cannot be traced: assume an evenly padded network.
    return geometry.origin if geometry and geometry.stride == stride else 0.0


def _check_strides(name: str, strides: Sequence[int] | dict) -> None:
    if missing := [stride for stride in REQUIRED_STRIDES if stride not in strides]:
        raise WeightsError(
            f"model.backbone: {name} has feature maps (N, C, H, W) at strides {sorted(strides)}; "
            f"a pyramid also needs {' and '.join(map(str, missing))}; choose a convolutional network"
        )


def _fixed_size(name: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"model.backbone: {name} accepts images of one size only ({_first_line(error)}); choose a convolutional network"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _suggestion(name: str, names: list[str]) -> str:
    return suggestion(re.sub(r"[^a-z0-9_]", "", name.lower()), names, 3) or "see docs/backbones.md for names"

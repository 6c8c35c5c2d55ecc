"""Any classification CNN as a source of features at strides 8, 16 and 32.

`resnet50` and the like come from torchvision, `timm/<name>` from timm. The features to take are
found by running the network once and measuring, not listed by name.
"""

import copy
import difflib
import re
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import timm
import torch
import torchvision
from timm.layers import Conv2dSame
from timm.models import FeatureInfo
from torch import Tensor, nn

from retinanet.errors import WeightsError
from retinanet.model.receptive_fields import Place, find_places, meta_twin
from retinanet.model.tracing import PROBE_SIDES, extract, find_taps, nearest_stride

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BACKBONE_STRIDES = (8, 16, 32)
# The coarsest is what the pyramid can make itself.
NEEDED = (8, 16)


class Feature(NamedTuple):
    """A map of a network: its cells lie `stride` pixels apart, what the first one sees is centerd on pixel `origin`."""

    stride: int
    channels: int
    origin: float


class Backbone(nn.Module):
    """A network without its classifier: images (N, 3, H, W) -> [C3, C4, C5], without C5 where it has no stride 32.

    features are all maps that the network itself returns, finest first; channels and origins are those of C3 to C5.
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

    def stages(self, images: Tensor) -> list[Tensor]:
        """The last feature of every stride, finest first."""
        maps = self.network(images)
        maps = [maps[str(f.stride)] for f in self.features] if isinstance(maps, dict) else maps
        return [m.permute(0, 3, 1, 2) for m in maps] if self.channels_last else maps

    def forward(self, images: Tensor) -> list[Tensor]:
        stages = self.stages(images)
        return [stages[i] for i in self.levels]


def build_backbone(name: str) -> Backbone:
    """Make the named network with random weights. Raises WeightsError when there is none or it has no pyramid."""
    return _from_timm(name.removeprefix("timm/")) if name.startswith("timm/") else _from_torchvision(name)


def feature_info(network: nn.Module) -> FeatureInfo:
    """What timm tells of the maps of a network that it made with features_only."""
    info = network.feature_info
    if not isinstance(info, FeatureInfo):
        raise TypeError(f"timm tells of a network's maps in a {type(info).__name__}, no longer in a FeatureInfo")
    return info


def freeze_stages(backbone: Backbone, count: int) -> None:
    """Stop the gradients of all parameters that the first `count` strides (2, 4, 8, ...) depend on.

    And of those that none of the pyramid's maps depends on: several processes wait for each gradient there may be.
    """
    parameters, training = list(backbone.requires_grad_().parameters()), backbone.training
    backbone.eval()
    with torch.enable_grad():
        maps = backbone.stages(torch.zeros(1, 3, 128, 128))
    early = [m for m, feature in zip(maps, backbone.features, strict=True) if feature.stride <= 2**count]
    frozen, learns = (_needed(parameters, some) for some in (early[-1:], [maps[i] for i in backbone.levels]))
    for parameter, is_frozen, may_learn in zip(parameters, frozen, learns, strict=True):
        parameter.requires_grad_(may_learn and not is_frozen)
    backbone.train(training)


def _needed(parameters: list[nn.Parameter], maps: list[Tensor]) -> list[bool]:
    """Of each parameter, whether the maps depend on it: autograd knows, whatever the network's modules are called."""
    if not maps:
        return [False] * len(parameters)
    total = torch.stack([m.sum() for m in maps]).sum()
    found = torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True)
    return [gradient is not None for gradient in found]


def _from_torchvision(name: str) -> Backbone:
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise WeightsError(f"model.backbone: torchvision has no network {name!r}; {_near(name, names)}")
    options = {"aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The default weight initialization")
        network = torchvision.models.get_model(name, weights=None, **options)
    try:
        taps = find_taps(network)
    except (AssertionError, RuntimeError) as error:
        raise _one_size(name, error) from error
    _check_strides(name, taps)
    network = extract(network, taps)
    places = find_places(meta_twin(network), PROBE_SIDES[0])
    features = [
        Feature(stride, tap.channels, _origin(stride, place))
        for (stride, tap), place in zip(taps.items(), places, strict=True)
    ]
    return Backbone(network, features, IMAGENET_MEAN, IMAGENET_STD)


def _from_timm(name: str) -> Backbone:
    if not timm.is_model(name):
        raise WeightsError(f"model.backbone: timm has no network {name!r}; {_near(name, timm.list_models())}")
    try:
        network = timm.create_model(name, pretrained=False, features_only=True)
    except (RuntimeError, AssertionError, ValueError, AttributeError, IndexError) as error:
        raise WeightsError(f"model.backbone: timm/{name} gives no feature pyramid: {_first_line(error)}") from error
    info = feature_info(network)
    reductions = info.reduction()
    # The last of each stride; what timm gives beyond stride 32 is left out.
    wanted = {stride: i for i, stride in enumerate(reductions) if stride <= BACKBONE_STRIDES[-1]}
    _check_strides(f"timm/{name}", wanted)
    if len(wanted) < len(reductions):
        indices = [info.out_indices[i] for i in wanted.values()]
        network = timm.create_model(name, pretrained=False, features_only=True, out_indices=indices)
    twin = meta_twin(network)
    try:
        maps, _ = (_shapes(twin, side) for side in PROBE_SIDES)
    except Exception as error:
        # Networks say in many ways that they take one size only; where none fits, the line tells why.
        raise _one_size(f"timm/{name}", error) from error
    even = _even_sides_suffice(twin, maps)
    if even:
        network = _with_constant_padding(network)
    channels = feature_info(network).channels()
    channels_last = [shape[3] for shape in maps] == channels != [shape[1] for shape in maps]
    strides = [nearest_stride(PROBE_SIDES[0], shape[1 if channels_last else 2]) for shape in maps]
    _check_strides(f"timm/{name}", strides)
    # What timm computes from an image's size cannot be followed, so the network is looked at as it will run.
    places = find_places(meta_twin(network), PROBE_SIDES[0])
    origins = [_origin(stride, place) for stride, place in zip(strides, places, strict=True)]
    features = [Feature(*feature) for feature in zip(strides, channels, origins, strict=True)]
    config = timm.get_pretrained_cfg(name)
    mean, std = (config.mean, config.std) if config else (IMAGENET_MEAN, IMAGENET_STD)
    return Backbone(network, features, mean, std, channels_last)


class _EvenConv2dSame(nn.Conv2d):
    """TensorFlow's "same" padding, a constant where each side divides by the stride.

    timm computes it from the input's size, which an exporter of free sizes cannot follow.
    """

    def forward(self, input: Tensor) -> Tensor:
        spare = [
            max(0, d * (k - 1) + 1 - s) for k, s, d in zip(self.kernel_size, self.stride, self.dilation, strict=True)
        ]
        top, left = (total // 2 for total in spare)
        padded = nn.functional.pad(input, (left, spare[1] - left, top, spare[0] - top))
        return nn.functional.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _even_sides_suffice(twin: nn.Module, maps: list[torch.Size]) -> bool:
    """Whether a network has "same" padding, and on sides that divide by 32 it is constant everywhere."""
    if not any(isinstance(module, Conv2dSame) for module in twin.modules()):
        return False
    try:
        return _shapes(_with_constant_padding(copy.deepcopy(twin)), PROBE_SIDES[0]) == maps
    except RuntimeError:
        # An unpadded convolution before it made the grids odd.
        return False


def _with_constant_padding(network: nn.Module) -> nn.Module:
    for parent in list(network.modules()):
        for name, conv in parent.named_children():
            if isinstance(conv, Conv2dSame):
                even = _EvenConv2dSame(
                    conv.in_channels,
                    conv.out_channels,
                    _pair(conv.kernel_size),
                    stride=_pair(conv.stride),
                    dilation=_pair(conv.dilation),
                    groups=conv.groups,
                    bias=conv.bias is not None,
                    device=conv.weight.device,
                )
                even.load_state_dict(conv.state_dict())
                setattr(parent, name, even)
    return network


def _pair(sides: tuple[int, ...]) -> tuple[int, int]:
    rows, columns = sides
    return rows, columns


@torch.no_grad()
def _shapes(twin: nn.Module, side: int) -> list[torch.Size]:
    return [feature.shape for feature in twin(torch.empty(1, 3, side, side, device="meta"))]


def _origin(stride: int, place: Place | None) -> float:
    # Where the arithmetic lost track, in attention or in cells folded into channels, the grid tells enough.
    return place.origin if place and place.stride == stride else 0.0


def _check_strides(name: str, strides: Sequence[int] | dict) -> None:
    if missing := [stride for stride in NEEDED if stride not in strides]:
        raise WeightsError(
            f"model.backbone: {name} has feature maps (N, C, H, W) at strides {sorted(strides)}; "
            f"a pyramid needs also {' and '.join(map(str, missing))}: take a convolutional network"
        )


def _one_size(name: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"model.backbone: {name} takes images of one size only, so it gives no pyramid: {_first_line(error)}; "
        "take a convolutional network"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _near(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(re.sub(r"[^a-z0-9_]", "", name.lower()), names, n=3)
    return f"did you mean {', '.join(close)}?" if close else "see the names in their documentation"

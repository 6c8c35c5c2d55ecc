"""Any classification CNN as a source of features at strides 8, 16 and 32.

`resnet50` and the like come from torchvision, `timm/<name>` from timm. The places to tap are
found by running the network once and measuring, not listed by name.
"""

import copy
import difflib
import math
import re
import warnings

import timm
import torch
import torchvision
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torchvision.models.feature_extraction import NodePathTracer, create_feature_extractor

from retinanet.errors import WeightsError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STRIDES = (8, 16, 32)
# Two sides whose ratio survives every stride, so that a pooling to a fixed size is told from a stride.
PROBE_SIDES = (256, 384)
# Blocks whose inside is not traced: a feature lies between them.
LEAVES = [
    member for member in vars(torchvision.ops).values() if isinstance(member, type) and issubclass(member, nn.Module)
]


class Backbone(nn.Module):
    """A network without its classifier: images (N, 3, H, W) -> [C3, C4, C5].

    channels are those of C3, C4, C5. mean and std normalise RGB in 0..1 as the network's ImageNet
    weights expect. The network itself also returns the finer features, which mark its stages.
    """

    def __init__(self, network: nn.Module, channels: list[int], mean: tuple, std: tuple):
        super().__init__()
        self.network = network
        self.channels = channels
        self.mean, self.std = tuple(mean), tuple(std)

    def stages(self, images: Tensor) -> list[Tensor]:
        """The last feature of every stride, finest first."""
        features = self.network(images)
        return [features[key] for key in sorted(features, key=int)] if isinstance(features, dict) else features

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.stages(images)[-3:]


def build_backbone(name: str) -> Backbone:
    """Make the named network with random weights. Raises WeightsError when there is none or it has no pyramid."""
    return _from_timm(name.removeprefix("timm/")) if name.startswith("timm/") else _from_torchvision(name)


def freeze_stages(backbone: Backbone, count: int) -> None:
    """Stop the gradients of all parameters that the first `count` strides (2, 4, 8, ...) depend on."""
    if not count:
        return
    training = backbone.training
    backbone.eval()
    with torch.enable_grad():
        # Autograd knows what a feature depends on, whatever the network's modules are called.
        backbone.stages(torch.zeros(1, 3, 64, 64))[count - 1].sum().backward()
    for parameter in backbone.parameters():
        parameter.requires_grad_(parameter.grad is None)
        parameter.grad = None
    backbone.train(training)


def _from_timm(name: str) -> Backbone:
    if not timm.is_model(name):
        raise WeightsError(f"model.backbone: timm has no network {name!r}; {_near(name, timm.list_models())}")
    try:
        network = timm.create_model(name, pretrained=False, features_only=True)
    except (RuntimeError, AssertionError, ValueError, AttributeError) as error:
        raise WeightsError(f"model.backbone: timm/{name} gives no feature pyramid: {error}") from error
    reductions = network.feature_info.reduction()
    if missing := set(STRIDES) - set(reductions):
        raise WeightsError(
            f"model.backbone: timm/{name} has strides {reductions}, a pyramid needs also {sorted(missing)}"
        )
    wanted = [i for i, stride in enumerate(reductions) if stride <= STRIDES[-1]]
    if len(wanted) < len(reductions):
        network = timm.create_model(name, pretrained=False, features_only=True, out_indices=wanted)
    config = timm.get_pretrained_cfg(name)
    mean, std = (config.mean, config.std) if config else (IMAGENET_MEAN, IMAGENET_STD)
    return Backbone(_with_constant_padding(network), network.feature_info.channels()[-3:], mean, std)


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


def _with_constant_padding(network: nn.Module) -> nn.Module:
    for parent in list(network.modules()):
        for name, conv in parent.named_children():
            if isinstance(conv, Conv2dSame):
                options = {"stride": conv.stride, "dilation": conv.dilation, "groups": conv.groups}
                channels = conv.in_channels, conv.out_channels
                even = _EvenConv2dSame(*channels, conv.kernel_size, bias=conv.bias is not None, **options)
                even.load_state_dict(conv.state_dict())
                setattr(parent, name, even)
    return network


def _from_torchvision(name: str) -> Backbone:
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise WeightsError(f"model.backbone: torchvision has no network {name!r}; {_near(name, names)}")
    options = {"aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The default weight initialization")
        network = torchvision.models.get_model(name, weights=None, **options)
    try:
        taps = _find_taps(network)
    except (AssertionError, RuntimeError) as error:
        raise WeightsError(
            f"model.backbone: {name} takes pictures of one size only, so it gives no pyramid: {error}"
        ) from error
    if missing := set(STRIDES) - set(taps):
        raise WeightsError(
            f"model.backbone: {name} has features at strides {sorted(taps)}, a pyramid needs {sorted(missing)}"
        )
    return_nodes = {node: str(stride) for stride, (node, _) in taps.items()}
    with warnings.catch_warnings():
        # Train and eval graphs differ by dropout alone in the networks that warn here.
        warnings.filterwarnings("ignore", category=UserWarning)
        extractor = create_feature_extractor(network, return_nodes, tracer_kwargs={"leaf_modules": LEAVES})
    return Backbone(extractor, [taps[stride][1] for stride in STRIDES], IMAGENET_MEAN, IMAGENET_STD)


def _find_taps(network: nn.Module) -> dict[int, tuple[str, int]]:
    """{stride: (name of its last node, channels)} for the strides 2 to 32 that the network has.

    Only nodes through which all that follows passes count: the first half of a residual block still has the
    finer stride, but is no feature of the network.
    """
    twin = copy.deepcopy(network).to("meta").eval()
    tracer = NodePathTracer(leaf_modules=LEAVES)
    module = torch.fx.GraphModule(twin, tracer.trace(twin))
    shapes = [_Shapes(module, side).shapes for side in PROBE_SIDES]
    taps: dict[int, tuple[str, int]] = {}
    for node in _bottlenecks(module.graph):
        small, large = (run.get(node) for run in shapes)
        if not small or len(small) != 4 or small[-1] == large[-1] or node not in tracer.node_to_qualname:
            continue
        strides = {2 ** round(math.log2(side / s[-1])) for side, s in zip(PROBE_SIDES, (small, large), strict=True)}
        if len(strides) == 1 and 2 <= (stride := strides.pop()) <= 32:
            taps[stride] = (tracer.node_to_qualname[node], small[1])
    return taps


class _Shapes(torch.fx.Interpreter):
    """Runs a graph and keeps the shape of each tensor in it."""

    def __init__(self, module: torch.fx.GraphModule, side: int):
        super().__init__(module)
        self.shapes: dict[torch.fx.Node, torch.Size] = {}
        with torch.no_grad():
            self.run(torch.empty(1, 3, side, side, device="meta"))

    def run_node(self, n: torch.fx.Node):
        output = super().run_node(n)
        if isinstance(output, Tensor):
            self.shapes[n] = output.shape
        return output


def _bottlenecks(graph: torch.fx.Graph) -> list[torch.fx.Node]:
    """The nodes that every path from the images to the output passes, in order."""
    nodes = [node for node in graph.nodes if node.op not in ("get_attr", "output")]
    position = {node: i for i, node in enumerate(nodes)}
    found, reach = [], 0
    for i, node in enumerate(nodes):
        if i and reach <= i:
            found.append(node)
        reach = max([reach, *(position[user] for user in node.users if user in position)])
    return found


def _near(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(re.sub(r"[^a-z0-9_]", "", name.lower()), names, n=3)
    return f"did you mean {', '.join(close)}?" if close else "see the names in their documentation"

"""Find the last feature map of each stride in a torchvision network, by tracing it once."""

import math
import warnings
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import NodePathTracer, create_feature_extractor

from retinanet.model.receptive_fields import meta_twin

# Two sides that keep their ratio at every stride: a pooling to a fixed size does not.
PROBE_SIDES = (256, 384)
# Blocks that are not traced inside: features lie between them.
LEAVES = [
    member for member in vars(torchvision.ops).values() if isinstance(member, type) and issubclass(member, nn.Module)
]
CLASSIFIER = "classifier"


class Tap(NamedTuple):
    node: str
    channels: int


def find_taps(network: nn.Module) -> dict[int, Tap]:
    """{stride: last node with this stride} for the strides 2 to 32 of the network, finest first.

    Only nodes on every path to the output count: the first half of a residual block still has the finer stride, but
    is not a feature of the network. The network's own error is raised if it accepts only one size.
    """
    twin = meta_twin(network)
    tracer = NodePathTracer(leaf_modules=LEAVES)
    module = torch.fx.GraphModule(twin, tracer.trace(twin))
    shapes = [_Shapes(module, side).shapes for side in PROBE_SIDES]
    taps: dict[int, Tap] = {}
    for node in _bottlenecks(module.graph):
        small, large = (run.get(node) for run in shapes)
        name = tracer.node_to_qualname.get(node, CLASSIFIER)
        # SqueezeNet's classifier is a convolution.
        if name.startswith(CLASSIFIER) or not small or not large or len(small) != 4 or small[-1] == large[-1]:
            continue
        strides = {nearest_stride(side, s[-1]) for side, s in zip(PROBE_SIDES, (small, large), strict=True)}
        if len(strides) == 1 and 2 <= (stride := strides.pop()) <= 32:
            taps[stride] = Tap(name, small[1])
    return taps


def extract(network: nn.Module, taps: dict[int, Tap]) -> nn.Module:
    """The network up to its taps: images -> {stride: feature}, strides as strings."""
    return_nodes = {tap.node: str(stride) for stride, tap in taps.items()}
    with warnings.catch_warnings():
        # Train and eval graphs differ by dropout alone in the networks that warn here.
        warnings.filterwarnings("ignore", category=UserWarning)
        return create_feature_extractor(network, return_nodes, tracer_kwargs={"leaf_modules": LEAVES})


def nearest_stride(side: int, cells: int) -> int:
    """The power of two nearest to side / cells: maps of unpadded convolutions lack a few cells."""
    return 2 ** round(math.log2(side / cells))


class _Shapes(torch.fx.Interpreter):
    """Runs a graph on shapes and records the shape of each tensor."""

    def __init__(self, module: torch.fx.GraphModule, side: int):
        super().__init__(module)
        self.shapes: dict[torch.fx.Node, torch.Size] = {}
        with torch.no_grad():
            self.run(torch.empty(1, 3, side, side, device="meta"))

    def run_node(self, n: torch.fx.Node) -> object:
        output = super().run_node(n)
        if isinstance(output, Tensor):
            self.shapes[n] = output.shape
        return output


def _bottlenecks(graph: torch.fx.Graph) -> list[torch.fx.Node]:
    """The nodes on every path from the images to the output, in order."""
    nodes = [node for node in graph.nodes if node.op not in ("get_attr", "output")]
    position = {node: i for i, node in enumerate(nodes)}
    found, reach = [], 0
    for i, node in enumerate(nodes):
        if i and reach <= i:
            found.append(node)
        reach = max([reach, *(position[user] for user in node.users if user in position)])
    return found

"""The features of a torchvision network, found by running it once: the last of each stride."""

import math
import warnings
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import NodePathTracer, create_feature_extractor

from retinanet.model.receptive_fields import meta_twin

# Two sides whose ratio survives every stride, so that a pooling to a fixed size is told from a stride.
PROBE_SIDES = (256, 384)
# Blocks whose inside is not traced: a feature lies between them.
LEAVES = [
    member for member in vars(torchvision.ops).values() if isinstance(member, type) and issubclass(member, nn.Module)
]
CLASSIFIER = "classifier"


class Tap(NamedTuple):
    node: str
    channels: int


def find_taps(network: nn.Module) -> dict[int, Tap]:
    """{stride: where the last feature with it is} for the strides 2 to 32 that the network has, finest first.

    Only nodes through which all that follows passes count: the first half of a residual block still has the
    finer stride, but is no feature of the network. Raises what a network raises that takes one size only.
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
    """The network as far as its taps: images -> {stride: feature}, strides as text."""
    return_nodes = {tap.node: str(stride) for stride, tap in taps.items()}
    with warnings.catch_warnings():
        # Train and eval graphs differ by dropout alone in the networks that warn here.
        warnings.filterwarnings("ignore", category=UserWarning)
        return create_feature_extractor(network, return_nodes, tracer_kwargs={"leaf_modules": LEAVES})


def nearest_stride(side: int, cells: int) -> int:
    """The power of two nearest to a map's pixels per cell: unpadded convolutions leave a few cells out."""
    return 2 ** round(math.log2(side / cells))


class _Shapes(torch.fx.Interpreter):
    """Runs a graph and keeps the shape of each tensor in it."""

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
    """The nodes that every path from the images to the output passes, in order."""
    nodes = [node for node in graph.nodes if node.op not in ("get_attr", "output")]
    position = {node: i for i, node in enumerate(nodes)}
    found, reach = [], 0
    for i, node in enumerate(nodes):
        if i and reach <= i:
            found.append(node)
        reach = max([reach, *(position[user] for user in node.users if user in position)])
    return found

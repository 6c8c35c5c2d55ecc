import pytest
import torch
from torch import nn

from retinanet.model.receptive_fields import GridGeometry, grid_geometries, meta_twin


def geometries(*layers: nn.Module) -> list[GridGeometry | None]:
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(layers)

        def forward(self, x):
            maps = []
            for layer in self.layers:
                x = layer(x)
                maps.append(x)
            return maps

    return grid_geometries(meta_twin(Network()), 128)


@pytest.mark.parametrize(
    ("layer", "geometry"),
    [
        (nn.Conv2d(3, 4, 3, stride=2, padding=1), (2, 0)),  # cells see pixels -1..1, 1..3, ...
        (nn.Conv2d(3, 4, 3, stride=2), (2, 1)),  # 0..2, 2..4, ...
        (nn.Conv2d(3, 4, 3, dilation=2), (1, 2)),  # 0, 2 and 4
        (nn.Conv2d(3, 4, 4, stride=4), (4, 1.5)),  # 0..3: between pixels 1 and 2
        (nn.MaxPool2d(2), (2, 0.5)),
        (nn.MaxPool2d(3, 2, ceil_mode=True), (2, 1)),
        (nn.AvgPool2d(3, 2, 1), (2, 0)),
        (nn.ZeroPad2d((0, 1, 0, 1)), (1, 0)),  # right and below
        (nn.ZeroPad2d((2, 2, 2, 2)), (1, -2)),
        (nn.BatchNorm2d(3), (1, 0)),
        (nn.Upsample(scale_factor=2), None),
        (nn.ConvTranspose2d(3, 4, 2, stride=2), None),
    ],
    ids=str,
)
def test_geometry_of_one_layer(layer, geometry):
    assert geometries(layer) == [geometry]


def test_strides_multiply_and_origins_add_up():
    # AlexNet's: 11x11 padded by 2 sees -2..8, centered on 3; then two poolings, each of the cells 0..2 below it.
    stem = nn.Conv2d(3, 4, 11, stride=4, padding=2)
    assert geometries(stem, nn.MaxPool2d(3, 2), nn.MaxPool2d(3, 2)) == [(4, 3), (8, 7), (16, 15)]


def test_merged_branches_keep_the_geometry_of_the_largest_tensor():
    class Gated(nn.Module):
        def forward(self, x):
            return torch.sigmoid(x.mean((2, 3), keepdim=True)) * nn.functional.pad(x, (1, 1, 1, 1))

    assert geometries(Gated()) == [(1, -1)]

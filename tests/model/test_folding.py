import copy

import pytest
import torch
from support.squares import build_network
from torch import nn

from retinanet.model import folding
from retinanet.model.folding import for_inference
from retinanet.model.frozen_norm import FrozenBatchNorm


def network_with_statistics(settings, backbone: str, frozen_norm: bool = True):
    torch.manual_seed(0)
    model = build_network(settings.model_copy(update={"backbone": backbone, "frozen_norm": frozen_norm}), 2).eval()
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            for values, low, high in ((module.bias, -1, 1), (module.running_mean, -1, 1), (module.running_var, 0.5, 2)):
                values.data.uniform_(low, high)
    return model


def norms(model) -> int:
    return sum(isinstance(module, FrozenBatchNorm | nn.BatchNorm2d) for module in model.backbone.modules())


@pytest.mark.parametrize("frozen_norm", [True, False])
@pytest.mark.parametrize("backbone", ["resnet18", "timm/resnet10t", "timm/tf_efficientnet_lite0", "mobilenet_v3_small"])
def test_folded_network_has_no_norms_and_the_same_outputs(small_settings, backbone, frozen_norm):
    model = network_with_statistics(small_settings, backbone, frozen_norm)
    before = copy.deepcopy(model.state_dict())
    folded = for_inference(model)
    assert norms(model) > 0 and norms(folded) == 0
    inputs = torch.randn(1, 3, 96, 128)
    with torch.inference_mode():
        for expected, found in zip(model(inputs), folded(inputs), strict=True):
            assert expected.abs().max() > 0.01
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("backbone", ["densenet121", "vgg11"])
def test_network_whose_norms_cannot_all_be_folded_has_the_same_outputs(small_settings, backbone):
    model = network_with_statistics(small_settings, backbone)
    inputs = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        for expected, found in zip(model(inputs), for_inference(model)(inputs), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


def test_convolution_whose_output_has_another_use_is_not_folded():
    class Preactivation(nn.Module):
        def __init__(self, norm):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), norm

        def forward(self, images):
            features = self.conv(images)
            return [features + self.norm(features)]

    norm = nn.BatchNorm2d(4)
    norm.running_var.fill_(9.0)
    network = Preactivation(FrozenBatchNorm(norm)).eval()
    folded = copy.deepcopy(network)
    assert folding._fold(folded) == 1
    assert not folding._agree(network, folded)


def test_convolution_that_runs_twice_is_not_folded():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), FrozenBatchNorm(nn.BatchNorm2d(3))

        def forward(self, images):
            return [self.norm(self.conv(self.conv(images)))]

    assert folding._fold(Shared().eval()) == 0

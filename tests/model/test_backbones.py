import copy

import pytest
import timm
import torch
import torchvision
from torch import nn

from retinanet.errors import WeightsError
from retinanet.model.backbones import build_backbone, freeze_stages

# One of each way in which networks are built; the slow tests go through all.
NAMES = {
    "resnet18": [128, 256, 512],
    "alexnet": [192, 256, 256],
    "squeezenet1_1": [256, 512],
    "mobilenet_v3_small": [96, 288, 576],
    "densenet121": [256, 512, 1024],
    "timm/tf_efficientnet_lite0": [40, 112, 320],
    "timm/resnet10t": [128, 256, 512],
    "timm/mambaout_femto": [96, 192, 288],  # gives its maps channels last
    "timm/csatv2": [32, 72, 168],  # has a stride of 64 too, and none of 4
}
# Networks with unpadded convolutions have smaller grids than 16, 8 and 4.
UNPADDED = {"alexnet": [15, 7, 3], "squeezenet1_1": [15, 7]}


@pytest.mark.parametrize("name", NAMES)
def test_features_at_strides_8_16_32(name):
    backbone = build_backbone(name).eval()
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, 128, 128))
    assert backbone.channels == [f.shape[1] for f in features] == NAMES[name]
    assert [f.shape[2] for f in features] == UNPADDED.get(name, [16, 8, 4])


def test_resnet_is_tapped_behind_its_stages():
    backbone = build_backbone("resnet18").eval()
    whole = torchvision.models.resnet18().eval()
    whole.load_state_dict(backbone.network.state_dict(), strict=False)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        stem = whole.maxpool(whole.relu(whole.bn1(whole.conv1(images))))
        torch.testing.assert_close(backbone(images)[0], whole.layer2(whole.layer1(stem)))


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "timm/resnet10t"])
def test_padded_networks_lie_at_the_corner(name):
    assert build_backbone(name).origins == [0, 0, 0]


def test_padding_to_the_right_and_below_alone_moves_cells_there():
    # Each of five halvings moves the center by one cell of the grid before it: 1 + 2 + 4, + 8, + 16.
    assert build_backbone("timm/tf_efficientnet_lite0").origins == [7, 15, 31]


@pytest.mark.parametrize(
    "name",
    [
        "alexnet",
        "squeezenet1_1",
        "googlenet",
        "inception_v3",
        "densenet121",
        "resnet18",
        "timm/tf_efficientnet_lite0",
    ],
)
def test_cells_lie_where_they_look(name):
    """With equal weights everywhere, the gradient of a cell spreads evenly around the middle of what it sees."""
    backbone = build_backbone(name).eval()
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    torch.manual_seed(0)
    # So dark that no activation reaches its ceiling.
    images = (torch.rand(4, 3, 256, 256) / 1000).requires_grad_()
    for stride, origin, feature in zip((8, 16), backbone.origins, backbone(images), strict=False):
        middle = feature.shape[2] // 2
        (gradient,) = torch.autograd.grad(feature[:, :, middle, middle].sum(), images, retain_graph=True)
        by_row = gradient.abs().sum(dim=(0, 1, 3))
        seen = (by_row * torch.arange(256)).sum() / by_row.sum()
        assert abs(seen - (origin + stride * middle)) < stride / 2


def test_constant_padding_is_the_same_network_as_timms():
    ours = build_backbone("timm/tf_efficientnet_lite0").eval()
    theirs = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    theirs.load_state_dict(ours.network.state_dict())
    images = torch.rand(1, 3, 96, 128)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images)[-3:])


def test_freezing_two_stages_leaves_the_rest_alive():
    backbone = build_backbone("resnet18")
    freeze_stages(backbone, 2)  # strides 2 and 4: the stem and layer1
    frozen = {name.split(".")[1] for name, p in backbone.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1"}
    assert all(p.grad is None for p in backbone.parameters())


@pytest.mark.parametrize("name", ["resnet18", "timm/resnet10t"])
def test_freeze_stages_stops_batch_statistics_of_frozen_stages_only(name):
    backbone = build_backbone(name)
    freeze_stages(backbone, 2)
    copied = copy.deepcopy(backbone)
    for network in (backbone, copied):
        before = {key: tensor.clone() for key, tensor in network.named_buffers()}
        network.eval().train()(torch.rand(2, 3, 64, 64))
        moved = {key.split(".")[1] for key, tensor in network.named_buffers() if not torch.equal(tensor, before[key])}
        assert moved == {"layer2", "layer3", "layer4"}
        assert network.training
    freeze_stages(backbone, 0)
    assert all(module.training for module in backbone.train().modules())


def test_stages_are_counted_by_stride_not_by_index():
    backbone = build_backbone("timm/convnext_atto")  # strides 4, 8, 16, 32
    freeze_stages(backbone, 1)
    assert all(p.requires_grad for p in backbone.parameters())
    freeze_stages(backbone, 2)
    assert {name.split(".")[1] for name, p in backbone.named_parameters() if not p.requires_grad} == {
        "stem_0",
        "stem_1",
        "stages_0",
    }


def test_what_no_map_depends_on_does_not_learn():
    """This one fuses its branches once more for a classifier that is not there."""
    backbone = build_backbone("timm/hrnet_w18_small")
    freeze_stages(backbone, 0)
    torch.stack([m.sum() for m in backbone(torch.rand(1, 3, 128, 128))]).sum().backward()
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in backbone.parameters())
    assert not all(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet19", "did you mean resnet1"),
        ("timm/resnot50", "did you mean resne"),
        ("vit_b_16", "accepts images of one size only"),
        ("swin_t", r"strides \[4, 32\]; a pyramid also needs 8 and 16"),
        ("timm/vit_tiny_patch16_224", r"strides \[16\]; a pyramid also needs 8"),
        ("timm/efficientvit_m0", "a pyramid also needs 8"),
        ("timm/swin_tiny_patch4_window7_224", "one size only"),
    ],
)
def test_networks_without_a_pyramid_are_refused_by_name(name, says):
    with pytest.raises(WeightsError, match=says) as refused:
        build_backbone(name)
    assert "\n" not in str(refused.value)

import pytest
import timm
import torch
import torchvision

from retinanet.errors import WeightsError
from retinanet.model.backbones import build_backbone, freeze_stages

# One of each way in which networks are built; the slow tests go through all.
NAMES = {
    "resnet18": [128, 256, 512],
    "alexnet": [192, 256, 256],
    "vgg11": [512, 512, 512],
    "mobilenet_v3_small": [96, 288, 576],
    "densenet121": [256, 512, 1024],
    "timm/tf_efficientnet_lite0": [40, 112, 320],
    "timm/resnet10t": [128, 256, 512],
}


@pytest.mark.parametrize("name", NAMES)
def test_features_at_strides_8_16_32(name):
    backbone = build_backbone(name).eval()
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, 128, 128))
    assert backbone.channels == [f.shape[1] for f in features] == NAMES[name]
    # AlexNet's first convolution has no padding to make its grid whole: 15, 7 and 3 cells.
    assert [f.shape[2] for f in features] == ([15, 7, 3] if name == "alexnet" else [16, 8, 4])


def test_resnet_is_tapped_behind_its_stages():
    backbone = build_backbone("resnet18").eval()
    whole = torchvision.models.resnet18().eval()
    whole.load_state_dict(backbone.network.state_dict(), strict=False)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        stem = whole.maxpool(whole.relu(whole.bn1(whole.conv1(images))))
        torch.testing.assert_close(backbone(images)[0], whole.layer2(whole.layer1(stem)))


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


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet19", "did you mean resnet1"),
        ("timm/resnot50", "did you mean resne"),
        ("vit_b_16", "gives no pyramid"),
        ("timm/vit_tiny_patch16_224", "a pyramid needs"),
    ],
)
def test_networks_without_a_pyramid_are_refused_by_name(name, says):
    with pytest.raises(WeightsError, match=says):
        build_backbone(name)

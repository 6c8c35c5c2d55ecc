"""load_weights by name, with the hosts of torchvision and timm replaced by one on this machine."""

import hashlib
import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import timm
import torch
import torchvision
from support.squares import build_network, torchvision_v1_network
from torch import Tensor

from retinanet.errors import WeightsError
from retinanet.model.retinanet import RetinaNet
from retinanet.training import published_weights
from retinanet.training.pretrained import load_weights

DETECTOR = torchvision.models.detection.retinanet_resnet50_fpn


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args) -> None:
        """Do not log requests."""


@pytest.fixture
def server(tmp_path, monkeypatch):
    """(url, folder) of a host that serves the folder; downloads go to another folder of tmp_path."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    serving = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_address[1]}", folder
    serving.shutdown()
    serving.server_close()


@pytest.fixture
def model(small_settings):
    return build_network(small_settings, 2)


def resnet18(small_settings) -> RetinaNet:
    return build_network(small_settings.model_copy(update={"backbone": "resnet18"}), 2)


def publish(state: dict[str, Tensor], folder, name: str) -> str:
    """Save weights with the start of their hash in the name, as torch's hub expects."""
    torch.save(state, folder / name)
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()[:8]
    hashed = name.replace(".pth", f"-{digest}.pth")
    (folder / name).rename(folder / hashed)
    return hashed


def test_imagenet_weights_are_fetched_from_torchvisions_host_by_name(small_settings, server, monkeypatch):
    url, folder = server
    whole = torchvision.models.resnet18()
    published = torchvision.models.ResNet18_Weights.DEFAULT
    monkeypatch.setattr(published.value, "url", f"{url}/{publish(whole.state_dict(), folder, 'resnet18.pth')}")
    model = resnet18(small_settings)
    assert load_weights(model, "imagenet", {}).messages == [
        "loaded 100 tensors of the backbone from resnet18's published ImageNet weights",
        "left out: fc.weight, fc.bias",
    ]
    assert torch.equal(model.backbone.network.get_parameter("layer4.1.conv2.weight"), whole.layer4[1].conv2.weight)


def test_imagenet_weights_are_fetched_from_timms_host_by_name(model, server, monkeypatch):
    url, folder = server
    whole = timm.create_model("resnet10t")
    name = publish(whole.state_dict(), folder, "resnet10t.pth")
    create = timm.create_model
    overlay = {"url": f"{url}/{name}", "hf_hub_id": None}
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: create(*a, **k, pretrained_cfg_overlay=overlay))
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: None)
    (line,) = load_weights(model, "imagenet", {}).messages
    assert line == "loaded 70 tensors of the backbone from timm/resnet10t's published ImageNet weights"
    assert torch.equal(model.backbone.network.layer4[0].conv2.weight, whole.layer4[0].conv2.weight)


def test_weights_with_another_hash_than_their_name_fail(small_settings, server, monkeypatch):
    url, folder = server
    torch.save(torchvision.models.resnet18().state_dict(), folder / "resnet18-00000000.pth")
    monkeypatch.setattr(torchvision.models.ResNet18_Weights.DEFAULT.value, "url", f"{url}/resnet18-00000000.pth")
    with pytest.raises(WeightsError, match=r"invalid hash value.*auto to train from scratch"):
        load_weights(resnet18(small_settings), "imagenet", {})


def test_unreachable_host_fails_under_imagenet_and_warns_under_auto(small_settings, server, monkeypatch):
    gone = f"{server[0]}/resnet18-f37072fd.pth"
    monkeypatch.setattr(torchvision.models.ResNet18_Weights.DEFAULT.value, "url", gone)
    model = resnet18(small_settings)
    before = model.backbone.network.conv1.weight.clone()
    with pytest.raises(
        WeightsError, match=r"^resnet18's ImageNet weights could not be fetched .*404.*set model\.weights"
    ):
        load_weights(model, "imagenet", {})
    (line,) = load_weights(model, "auto", {}).messages
    assert line.startswith("WARNING: resnet18's ImageNet weights could not be fetched")
    assert torch.equal(model.backbone.network.conv1.weight, before)


def test_host_that_does_not_answer_times_out(small_settings, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/resnet18-f37072fd.pth"
        monkeypatch.setattr(torchvision.models.ResNet18_Weights.DEFAULT.value, "url", url)
        monkeypatch.setattr(published_weights, "TIMEOUT_S", 0.2)
        with pytest.raises(WeightsError, match=r"could not be fetched \(TimeoutError"):
            load_weights(resnet18(small_settings), "imagenet", {})
    assert socket.getdefaulttimeout() is None


def test_timm_weights_with_another_hash_than_their_name_fail(model, server, monkeypatch):
    (url, folder), hashed = server, "resnet10t-00000000.pth"
    torch.save(timm.create_model("resnet10t").state_dict(), folder / hashed)
    create = timm.create_model
    overlay = {"url": f"{url}/{hashed}", "hf_hub_id": None}
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: create(*a, **k, pretrained_cfg_overlay=overlay))
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: None)
    with pytest.raises(WeightsError, match="invalid hash value"):
        load_weights(model, "imagenet", {})


def test_unreachable_hub_is_asked_once(model, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    asked = []
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: asked.append(a))
    with pytest.raises(WeightsError, match=r"timm/resnet10t's ImageNet weights could not be fetched \(ConnectError"):
        load_weights(model, "imagenet", {})
    (line,) = load_weights(model, "auto", {}).messages
    assert line.startswith("WARNING")
    assert asked == []


@pytest.mark.parametrize("by", ["name", "file"])
def test_coco_weights_are_loaded_except_the_last_layer(small_settings, server, monkeypatch, by):
    """By name, or as a file that was fetched elsewhere."""
    url, folder = server
    theirs = DETECTOR(weights=None, weights_backbone=None, num_classes=4).eval()
    for module in theirs.backbone.body.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.0  # as torchvision does with these weights
    published = torchvision.models.detection.RetinaNet_ResNet50_FPN_Weights.COCO_V1
    monkeypatch.setattr(published.value, "url", f"{url}/{publish(theirs.state_dict(), folder, 'coco.pth')}")
    model = build_network(torchvision_v1_network(small_settings), 2).eval()
    source = "torchvision/retinanet_resnet50_fpn"
    if by == "file":
        (source,) = map(str, folder.iterdir())
    lines = load_weights(model, source, {}).messages
    assert lines[0] == f"loaded 299 tensors of a detector from {source}"
    assert lines[1:] == [
        "left out classification.last.weight, classification.last.bias: "
        "of 4 classes, the data has 2; trained from scratch"
    ]
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = list(theirs.backbone(images).values())
        torch.testing.assert_close(model.features(images), expected, rtol=1e-4, atol=1e-4)
        deltas = theirs.head.regression_head(expected)
        torch.testing.assert_close(model(images)[1], deltas, rtol=1e-4, atol=1e-4)


def test_coco_weights_of_another_architecture_name_the_preset(model, server, monkeypatch):
    url, folder = server
    state = {"backbone.body.conv1.weight": torch.zeros(64, 3, 7, 7)}
    published = torchvision.models.detection.RetinaNet_ResNet50_FPN_V2_Weights.COCO_V1
    monkeypatch.setattr(published.value, "url", f"{url}/{publish(state, folder, 'coco.pth')}")
    with pytest.raises(
        WeightsError, match=r"another detector: it has no tensor for .*`retinanet preset torchvision_v2 --write`"
    ):
        load_weights(model, "torchvision/retinanet_resnet50_fpn_v2", {})


def test_unknown_or_unreachable_coco_weights_fail_with_one_line(model, server, monkeypatch):
    with pytest.raises(WeightsError, match=r"did you mean torchvision/retinanet_resnet50_fpn\?"):
        load_weights(model, "torchvision/retinanet50", {})
    published = torchvision.models.detection.RetinaNet_ResNet50_FPN_Weights.COCO_V1
    monkeypatch.setattr(published.value, "url", f"{server[0]}/coco-00000000.pth")
    with pytest.raises(WeightsError, match=r"could not be fetched .*404.* set model\.weights to the file"):
        load_weights(model, "torchvision/retinanet_resnet50_fpn", {})

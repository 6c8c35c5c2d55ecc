import hashlib
import pickle
import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from support.squares import build_network
from torch import Tensor

from retinanet.config.model import Model
from retinanet.errors import WeightsError
from retinanet.images.preprocess import InputSize
from retinanet.model.retinanet import RetinaNet
from retinanet.model.weights import TrainedModel, save_model
from retinanet.training import pretrained
from retinanet.training.pretrained import load_weights

DETECTOR = torchvision.models.detection.retinanet_resnet50_fpn


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path, monkeypatch):
    """(url, folder) of a host whose files lie in the folder; what is fetched goes to another folder of tmp_path."""
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
    """Save weights under a name that has the start of their hash in it, as torch's hub wants it."""
    torch.save(state, folder / name)
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()[:8]
    hashed = name.replace(".pth", f"-{digest}.pth")
    (folder / name).rename(folder / hashed)
    return hashed


def of_version_one(small_settings) -> Model:
    return Model.model_validate(
        small_settings.model_dump()
        | {"backbone": "resnet50", "p6_from": "p5", "frozen_norm": True, "head_norm": "none"}
        | {"pyramid_width": 256, "head_width": 256, "head_depth": 4}
        | {"anchors": small_settings.anchors.model_dump() | {"scales_per_octave": 3, "convention": "torchvision"}}
    )


def test_imagenet_weights_come_from_torchvisions_host_by_name_alone(small_settings, server, monkeypatch):
    url, folder = server
    whole = torchvision.models.resnet18()
    published = torchvision.models.ResNet18_Weights.DEFAULT
    monkeypatch.setattr(published.value, "url", f"{url}/{publish(whole.state_dict(), folder, 'resnet18.pth')}")
    model = resnet18(small_settings)
    assert load_weights(model, "imagenet", {}) == [
        "loaded 100 tensors of the backbone from resnet18's published ImageNet weights",
        "left out: fc.weight, fc.bias",
    ]
    assert torch.equal(model.backbone.network.get_parameter("layer4.1.conv2.weight"), whole.layer4[1].conv2.weight)


def test_imagenet_weights_come_from_timms_host_by_name_alone(model, server, monkeypatch):
    url, folder = server
    whole = timm.create_model("resnet10t")
    name = publish(whole.state_dict(), folder, "resnet10t.pth")
    create = timm.create_model
    overlay = {"url": f"{url}/{name}", "hf_hub_id": None}
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: create(*a, **k, pretrained_cfg_overlay=overlay))
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: None)
    (line,) = load_weights(model, "imagenet", {})
    assert line == "loaded 70 tensors of the backbone from timm/resnet10t's published ImageNet weights"
    assert torch.equal(model.backbone.network.layer4[0].conv2.weight, whole.layer4[0].conv2.weight)


def test_a_file_that_is_not_what_its_name_says_is_refused(small_settings, server, monkeypatch):
    url, folder = server
    torch.save(torchvision.models.resnet18().state_dict(), folder / "resnet18-00000000.pth")
    monkeypatch.setattr(torchvision.models.ResNet18_Weights.DEFAULT.value, "url", f"{url}/resnet18-00000000.pth")
    with pytest.raises(WeightsError, match=r"invalid hash value.*auto to train from scratch"):
        load_weights(resnet18(small_settings), "imagenet", {})


def test_an_unreachable_host_stops_imagenet_and_warns_under_auto(small_settings, server, monkeypatch):
    gone = f"{server[0]}/resnet18-f37072fd.pth"
    monkeypatch.setattr(torchvision.models.ResNet18_Weights.DEFAULT.value, "url", gone)
    model = resnet18(small_settings)
    before = model.backbone.network.conv1.weight.clone()
    with pytest.raises(
        WeightsError, match=r"^resnet18's ImageNet weights could not be fetched .*404.*set model\.weights"
    ):
        load_weights(model, "imagenet", {})
    (line,) = load_weights(model, "auto", {})
    assert line.startswith("WARNING: resnet18's ImageNet weights could not be fetched")
    assert torch.equal(model.backbone.network.conv1.weight, before)


def test_a_host_that_accepts_and_says_nothing_is_not_waited_for(small_settings, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/resnet18-f37072fd.pth"
        monkeypatch.setattr(torchvision.models.ResNet18_Weights.DEFAULT.value, "url", url)
        monkeypatch.setattr(pretrained, "HUB_PATIENCE_S", 0.2)
        with pytest.raises(WeightsError, match=r"could not be fetched \(TimeoutError"):
            load_weights(resnet18(small_settings), "imagenet", {})
    assert socket.getdefaulttimeout() is None


def test_a_file_of_timms_host_that_is_not_what_its_name_says_is_refused(model, server, monkeypatch):
    (url, folder), hashed = server, "resnet10t-00000000.pth"
    torch.save(timm.create_model("resnet10t").state_dict(), folder / hashed)
    create = timm.create_model
    overlay = {"url": f"{url}/{hashed}", "hf_hub_id": None}
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: create(*a, **k, pretrained_cfg_overlay=overlay))
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: None)
    with pytest.raises(WeightsError, match="invalid hash value"):
        load_weights(model, "imagenet", {})


def test_an_unreachable_hub_is_not_asked_again_and_again(model, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    asked = []
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: asked.append(a))
    with pytest.raises(WeightsError, match=r"timm/resnet10t's ImageNet weights could not be fetched \(ConnectError"):
        load_weights(model, "imagenet", {})
    (line,) = load_weights(model, "auto", {})
    assert line.startswith("WARNING")
    assert asked == []


@pytest.mark.parametrize("by", ["name", "file"])
def test_coco_weights_keep_all_but_the_last_layer(small_settings, server, monkeypatch, by):
    """By name, or as the file that was fetched where the host could be reached."""
    url, folder = server
    theirs = DETECTOR(weights=None, weights_backbone=None, num_classes=4).eval()
    for module in theirs.backbone.body.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.0  # as torchvision does with these weights
    published = torchvision.models.detection.RetinaNet_ResNet50_FPN_Weights.COCO_V1
    monkeypatch.setattr(published.value, "url", f"{url}/{publish(theirs.state_dict(), folder, 'coco.pth')}")
    model = build_network(of_version_one(small_settings), 2).eval()
    source = "torchvision/retinanet_resnet50_fpn"
    if by == "file":
        (source,) = map(str, folder.iterdir())
    lines = load_weights(model, source, {})
    assert lines[0] == f"loaded 299 tensors of a detector from {source}"
    assert lines[1:] == [
        "left out classification.last.weight, classification.last.bias: of 4 classes, the data has 2; learned anew"
    ]
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = list(theirs.backbone(images).values())
        torch.testing.assert_close(model.features(images), expected, rtol=1e-4, atol=1e-4)
        deltas = theirs.head.regression_head(expected)
        torch.testing.assert_close(model(images)[1], deltas, rtol=1e-4, atol=1e-4)


def test_settings_that_do_not_fit_name_the_preset(model, server, monkeypatch):
    url, folder = server
    state = {"backbone.body.conv1.weight": torch.zeros(64, 3, 7, 7)}
    published = torchvision.models.detection.RetinaNet_ResNet50_FPN_V2_Weights.COCO_V1
    monkeypatch.setattr(published.value, "url", f"{url}/{publish(state, folder, 'coco.pth')}")
    with pytest.raises(
        WeightsError, match=r"another detector: nothing fits .*`retinanet preset torchvision_v2 --write`"
    ):
        load_weights(model, "torchvision/retinanet_resnet50_fpn_v2", {})


def test_an_unknown_or_unreachable_detector_is_said_in_one_line(model, server, monkeypatch):
    with pytest.raises(WeightsError, match=r"did you mean torchvision/retinanet_resnet50_fpn\?"):
        load_weights(model, "torchvision/retinanet50", {})
    published = torchvision.models.detection.RetinaNet_ResNet50_FPN_Weights.COCO_V1
    monkeypatch.setattr(published.value, "url", f"{server[0]}/coco-00000000.pth")
    with pytest.raises(WeightsError, match=r"could not be fetched .*404.* set model\.weights to the file"):
        load_weights(model, "torchvision/retinanet_resnet50_fpn", {})


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_our_own_detector_goes_on_with_its_classes(model, tmp_path, suffix):
    path = tmp_path / f"model.{suffix}"
    other = RetinaNet(2, **model.architecture)
    if suffix == "pt":
        torch.save(other.state_dict(), path)
    else:
        save_model(path, TrainedModel(other, ("cat", "dog"), (1, 2), InputSize(96, 128)))
    (line,) = load_weights(model, str(path), {}, ("cat", "dog"))
    assert line.startswith("loaded ")
    for name, tensor in other.named_parameters():
        assert torch.equal(model.get_parameter(name), tensor), name


@pytest.mark.parametrize(
    ("classes", "why"),
    [
        (["cat", "dog", "cow"], "of 3 classes, the data has 2; learned anew"),
        (["cat", "dog"], "its class cat is dog in the data; learned anew"),
    ],
)
def test_other_classes_keep_all_but_the_last_layer_and_train(model, tmp_path, classes, why):
    path, other = tmp_path / "model.safetensors", RetinaNet(len(classes), **model.architecture)
    torch.nn.init.normal_(other.classification.last.bias)
    save_model(path, TrainedModel(other, tuple(classes), tuple(range(len(classes))), InputSize(96, 128)))
    last = model.classification.last.bias.clone()
    lines = load_weights(model, str(path), {}, ("dog", "cat"))
    assert lines[1] == f"left out classification.last.bias, classification.last.weight: {why}"
    assert torch.equal(model.classification.last.bias, last)
    assert torch.equal(model.classification.tower[0].weight, other.classification.tower[0].weight)
    logits, deltas = model(torch.rand(2, 3, 64, 64))
    (logits.sum() + deltas.sum()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_another_detector_of_ours_is_told_by_its_settings(model, tmp_path):
    path = tmp_path / "model.safetensors"
    other = RetinaNet(2, **model.architecture | {"pyramid_width": 64})
    save_model(path, TrainedModel(other, ("cat", "dog"), (1, 2), InputSize(96, 128)))
    with pytest.raises(WeightsError, match=r"it was trained with model\.pyramid_width: 64$"):
        load_weights(model, str(path), {})


def test_torchvisions_file_is_recognized(model, tmp_path, small_settings):
    theirs = DETECTOR(weights=None, weights_backbone=None, num_classes=2)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    ours = build_network(of_version_one(small_settings), 2)
    load_weights(ours, str(tmp_path / "theirs.pth"), {})
    assert torch.equal(ours.classification.last.weight, theirs.head.classification_head.cls_logits.weight)
    with pytest.raises(WeightsError, match="preset torchvision_v1"):
        load_weights(model, str(tmp_path / "theirs.pth"), {})


def test_what_a_file_has_besides_is_told(model, tmp_path):
    state = {**model.state_dict(), "centerness.weight": torch.zeros(1)}
    safetensors.torch.save_file({k: v.clone() for k, v in state.items()}, tmp_path / "w.safetensors")
    assert load_weights(model, str(tmp_path / "w.safetensors"), {})[1] == "unexpected: centerness.weight"


def test_backbone_weights_under_other_names_fit_by_order(model, tmp_path):
    source = RetinaNet(2, **model.architecture).backbone.network.state_dict()
    renamed = {f"{i}.{name.rsplit('.')[-1]}": tensor for i, (name, tensor) in enumerate(source.items())}
    torch.save({**renamed, "fc": torch.zeros(3)}, tmp_path / "w.pth")
    lines = load_weights(model, "imagenet", {model.architecture["backbone"]: tmp_path / "w.pth"})
    assert "w.pth" in lines[0]
    assert lines[1] == "left out: fc"
    for name, tensor in model.backbone.network.named_parameters():
        assert torch.equal(source[name], tensor), name


def test_timms_names_fit_its_feature_network(small_settings, tmp_path):
    whole = timm.create_model("convnext_atto")
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    model = build_network(small_settings.model_copy(update={"backbone": "timm/convnext_atto"}), 2)
    lines = load_weights(model, str(tmp_path / "w.pth"), {})
    assert lines[1].startswith("left out: head.")
    assert torch.equal(
        model.backbone.network.stages_3.blocks[0].conv_dw.weight, whole.stages[3].blocks[0].conv_dw.weight
    )


def test_weights_of_another_network_are_refused(model, tmp_path):
    safetensors.torch.save_file({"a": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="another network: nothing fits"):
        load_weights(model, str(tmp_path / "w.safetensors"), {})


def test_a_hash_that_is_given_is_compared(model, tmp_path):
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({k: v.clone() for k, v in model.state_dict().items()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_weights(model, f"{path}#sha256={digest}", {})
    with pytest.raises(WeightsError, match=f"w.safetensors has sha256 {digest}, model.weights says abc"):
        load_weights(model, f"{path}#sha256=abc", {})


def test_a_pickle_with_code_is_not_run(model, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(WeightsError, match="not a file of plain weights"):
        load_weights(model, str(tmp_path / "evil.pth"), {})
    assert not (tmp_path / "ran").exists()


def test_none_is_random(model):
    assert load_weights(model, "none", {}) == ["timm/resnet10t starts from random weights"]

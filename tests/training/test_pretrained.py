import hashlib
import pickle

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from support.squares import build_network, torchvision_v1_network

from retinanet.errors import WeightsError
from retinanet.images.preprocess import InputSize
from retinanet.model.backbones import build_backbone
from retinanet.model.retinanet import RetinaNet
from retinanet.model.weights import TrainedModel, save_model
from retinanet.training.pretrained import load_weights
from retinanet.training.start import starting_model

DETECTOR = torchvision.models.detection.retinanet_resnet50_fpn


@pytest.fixture
def model(small_settings):
    return build_network(small_settings, 2)


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_own_detector_of_the_same_classes_is_loaded_entirely(model, tmp_path, suffix):
    path = tmp_path / f"model.{suffix}"
    other = RetinaNet(2, **model.architecture)
    if suffix == "pt":
        torch.save(other.state_dict(), path)
    else:
        save_model(path, TrainedModel(other, ("cat", "dog"), (1, 2), InputSize(96, 128)))
    (line,) = load_weights(model, str(path), {}, ("cat", "dog")).messages
    assert line.startswith("loaded ")
    for name, tensor in other.named_parameters():
        assert torch.equal(model.get_parameter(name), tensor), name


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        (["cat", "dog", "cow"], "of 3 classes, the data has 2; trained from scratch"),
        (["cat", "dog"], "its class cat is dog in the data; trained from scratch"),
    ],
)
def test_own_detector_of_other_classes_is_loaded_except_the_last_layer_and_trains(model, tmp_path, classes, reason):
    path, other = tmp_path / "model.safetensors", RetinaNet(len(classes), **model.architecture)
    torch.nn.init.normal_(other.classification.last.bias)
    save_model(path, TrainedModel(other, tuple(classes), tuple(range(len(classes))), InputSize(96, 128)))
    last = model.classification.last.bias.clone()
    lines = load_weights(model, str(path), {}, ("dog", "cat")).messages
    assert lines[1] == f"left out classification.last.bias, classification.last.weight: {reason}"
    assert torch.equal(model.classification.last.bias, last)
    assert torch.equal(model.classification.tower[0].weight, other.classification.tower[0].weight)
    logits, deltas = model(torch.rand(2, 3, 64, 64))
    (logits.sum() + deltas.sum()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_own_detector_of_another_architecture_names_the_settings(model, tmp_path):
    path = tmp_path / "model.safetensors"
    other = RetinaNet(2, **model.architecture | {"pyramid_width": 64})
    save_model(path, TrainedModel(other, ("cat", "dog"), (1, 2), InputSize(96, 128)))
    with pytest.raises(WeightsError, match=r"it was trained with model\.pyramid_width: 64$"):
        load_weights(model, str(path), {})


def test_file_of_torchvisions_detector_is_recognized(model, tmp_path, small_settings):
    theirs = DETECTOR(weights=None, weights_backbone=None, num_classes=2)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    ours = build_network(torchvision_v1_network(small_settings), 2)
    load_weights(ours, str(tmp_path / "theirs.pth"), {})
    assert torch.equal(ours.classification.last.weight, theirs.head.classification_head.cls_logits.weight)
    with pytest.raises(WeightsError, match="preset torchvision_v1"):
        load_weights(model, str(tmp_path / "theirs.pth"), {})


def test_unexpected_tensors_of_a_file_are_listed(model, tmp_path):
    state = {**model.state_dict(), "centerness.weight": torch.zeros(1)}
    safetensors.torch.save_file({k: v.clone() for k, v in state.items()}, tmp_path / "w.safetensors")
    assert load_weights(model, str(tmp_path / "w.safetensors"), {}).messages[1] == "unexpected: centerness.weight"


def test_backbone_weights_under_other_names_are_matched_by_position(model, tmp_path):
    source = RetinaNet(2, **model.architecture).backbone.network.state_dict()
    renamed = {f"{i}.{name.rsplit('.')[-1]}": tensor for i, (name, tensor) in enumerate(source.items())}
    torch.save({**renamed, "fc": torch.zeros(3)}, tmp_path / "w.pth")
    lines = load_weights(model, "imagenet", {model.architecture["backbone"]: tmp_path / "w.pth"}).messages
    assert "w.pth" in lines[0]
    assert lines[1] == "left out: fc"
    for name, tensor in model.backbone.network.named_parameters():
        assert torch.equal(source[name], tensor), name


def test_timms_names_match_its_feature_network(small_settings, tmp_path):
    whole = timm.create_model("convnext_atto")
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    model = build_network(small_settings.model_copy(update={"backbone": "timm/convnext_atto"}), 2)
    lines = load_weights(model, str(tmp_path / "w.pth"), {}).messages
    assert lines[1].startswith("left out: head.")
    assert torch.equal(
        model.backbone.network.stages_3.blocks[0].conv_dw.weight, whole.stages[3].blocks[0].conv_dw.weight
    )


def test_weights_of_another_network_fail(model, tmp_path):
    safetensors.torch.save_file({"a": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="another network: it has no tensor for"):
        load_weights(model, str(tmp_path / "w.safetensors"), {})


def test_pinned_hash_is_compared(model, tmp_path):
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({k: v.clone() for k, v in model.state_dict().items()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_weights(model, f"{path}#sha256={digest}", {})
    with pytest.raises(WeightsError, match=f"w.safetensors has sha256 {digest}, model.weights has abc"):
        load_weights(model, f"{path}#sha256=abc", {})


def test_code_in_a_pickle_is_not_run(model, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(WeightsError, match="not a file of plain weights"):
        load_weights(model, str(tmp_path / "evil.pth"), {})
    assert not (tmp_path / "ran").exists()


def test_weights_none_are_random(model):
    assert load_weights(model, "none", {}) == (["timm/resnet10t starts from random weights"], True)


@pytest.mark.parametrize("order", [("running_mean", "weight"), ("bias", "weight")])
def test_weights_matched_by_position_must_agree_in_kind(model, tmp_path, order):
    """All tensors of a batch norm have one shape: two that are exchanged fit by shape alone."""
    state = model.backbone.network.state_dict()
    exchanged = dict(zip(order, reversed(order), strict=True))
    names = [f"{i}.{name.rpartition('.')[2]}" for i, name in enumerate(state)]
    norms = {name.rpartition(".")[0] for name in state if name.endswith("running_mean")}
    in_norm = [name.rpartition(".")[0] in norms for name in state]
    kinds = [name.rpartition(".") for name in names]
    renamed = [
        f"{index}.{exchanged.get(kind, kind)}" if is_norm else f"{index}.{kind}"
        for (index, _, kind), is_norm in zip(kinds, in_norm, strict=True)
    ]
    torch.save(dict(zip(renamed, state.values(), strict=True)), tmp_path / "w.pth")
    before = {name: tensor.clone() for name, tensor in state.items()}
    with pytest.raises(
        WeightsError, match=r"another network: it has no tensor for .*; at this position it has \d+\.\w+ \(\d+,\)"
    ):
        load_weights(model, str(tmp_path / "w.pth"), {})
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.backbone.network.state_dict().items())


def test_packaged_efficientnet_names_are_matched_by_position(small_settings, tmp_path):
    """The packaged efficientnet-lite0 has its own names (_conv_stem, _bn0, _blocks.0._bn1 ...) in timm's order."""
    name = "timm/tf_efficientnet_lite0"
    network = build_backbone(name).network
    renamed = {f"_layers.{i}._{key}": tensor for i, (key, tensor) in enumerate(network.state_dict().items())}
    torch.save({**renamed, "_fc.weight": torch.zeros(3)}, tmp_path / "w.pth")
    model = build_network(small_settings.model_copy(update={"backbone": name}), 2)
    messages, is_random = load_weights(model, "auto", {name: tmp_path / "w.pth"})
    assert not is_random and messages[1] == "left out: _fc.weight"


@pytest.mark.parametrize("frozen_norm", [False, True])
def test_starting_model_freezes_no_random_weights(small_settings, frozen_norm):
    settings = small_settings.model_copy(update={"frozen_stages": 2, "frozen_norm": frozen_norm})
    model, messages = starting_model(settings, 0, ["cat"], "none", {})
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert "model.frozen_stages: 2 is ignored: random weights are not frozen" in messages
    assert any("set model.frozen_norm: false" in message for message in messages) == frozen_norm


def test_starting_model_freezes_stages_of_loaded_weights(small_settings, tmp_path):
    torch.save(build_backbone("timm/resnet10t").network.state_dict(), tmp_path / "w.pth")
    settings = small_settings.model_copy(update={"frozen_stages": 2})
    model, messages = starting_model(settings, 0, ["cat"], str(tmp_path / "w.pth"), {})
    frozen = {name.split(".")[2] for name, p in model.backbone.named_parameters() if not p.requires_grad}
    assert len(messages) == 1 and frozen

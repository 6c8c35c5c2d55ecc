import pickle

import pytest
import safetensors.torch
import torch

from retinanet.errors import WeightsError
from retinanet.model.retinanet import RetinaNet
from retinanet.model.weights import from_torchvision, load_backbone, load_model, read_state_dict, save_model


@pytest.fixture
def model(small_settings):
    return RetinaNet(small_settings, 2).eval()


@pytest.fixture
def saved(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, model, model.state_dict(), {1: "cat", 7: "dog"})
    return path


@torch.no_grad()
def test_a_saved_model_comes_back_with_its_classes(model, saved):
    loaded = load_model(saved)
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(loaded.model(images)[0], model(images)[0])
    assert (loaded.class_names, loaded.category_ids) == (("cat", "dog"), (1, 7))


def test_a_damaged_file_is_named(saved):
    saved.write_bytes(saved.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"model\.safetensors is damaged"):
        load_model(saved)


def test_weights_that_are_no_numbers_are_refused(model, tmp_path):
    model.box.last.bias.data[0] = torch.nan
    save_model(tmp_path / "nan.safetensors", model, model.state_dict(), {1: "cat", 2: "dog"})
    with pytest.raises(WeightsError, match=r"box\.last\.bias has NaN"):
        load_model(tmp_path / "nan.safetensors")


def test_backbone_weights_under_other_names_fit_by_order(model, tmp_path):
    source = RetinaNet(model.settings, 2).backbone.network.state_dict()
    renamed = {f"{i}.{name.rsplit('.')[-1]}": tensor for i, (name, tensor) in enumerate(source.items())}
    renamed["fc"] = torch.zeros(3)
    torch.save(renamed, tmp_path / "w.pth")
    said = load_backbone(model, "imagenet", {model.settings.backbone: tmp_path / "w.pth"})
    assert "w.pth" in said
    for name, tensor in model.backbone.network.named_parameters():
        assert torch.equal(source[name], tensor), name


def test_weights_of_another_network_are_refused(model, tmp_path):
    safetensors.torch.save_file({"a": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="another network: nothing fits"):
        load_backbone(model, str(tmp_path / "w.safetensors"), {})


def test_unreachable_weights_warn_under_auto_and_stop_under_imagenet(model, monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("timm.create_model", unreachable)
    assert load_backbone(model, "auto", {}).startswith("WARNING")
    with pytest.raises(WeightsError, match=r"no route to host.*auto to train from scratch"):
        load_backbone(model, "imagenet", {})


def test_a_pickle_with_code_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(WeightsError, match="no file of plain weights"):
        read_state_dict(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_a_foreign_name_is_refused():
    with pytest.raises(WeightsError, match=r"roi_heads\.x is no tensor of torchvision's RetinaNet"):
        from_torchvision({"roi_heads.x": torch.zeros(1)})

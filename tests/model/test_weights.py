import pickle

import pytest
import torch
from support.squares import build_network

from retinanet.errors import WeightsError
from retinanet.images.preprocess import InputSize
from retinanet.images.tiles import Tiling
from retinanet.model.weights import TrainedModel, from_torchvision, load_model, read_state_dict, save_model


@pytest.fixture
def model(small_settings):
    return build_network(small_settings, 2).eval()


def trained(model) -> TrainedModel:
    return TrainedModel(model, ("cat", "dog"), (1, 7), InputSize(96, 128), Tiling(400, 0.25))


@pytest.fixture
def saved(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, trained(model))
    return path


@torch.no_grad()
def test_a_saved_model_comes_back_with_its_classes(model, saved):
    loaded = load_model(saved)
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(loaded.model(images)[0], model(images)[0])
    assert (loaded.class_names, loaded.category_ids) == (("cat", "dog"), (1, 7))
    assert (loaded.input_size, loaded.tiling) == (InputSize(96, 128), Tiling(400, 0.25))


def test_the_same_model_gives_the_same_bytes(model, saved):
    """So that its hash tells whether it is the same."""
    for _ in range(8):
        again = saved.with_name("again.safetensors")
        save_model(again, trained(model))
        assert again.read_bytes() == saved.read_bytes()


def test_a_damaged_file_is_named(saved):
    saved.write_bytes(saved.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"model\.safetensors is damaged"):
        load_model(saved)


def test_weights_that_are_no_numbers_are_refused(model, tmp_path):
    model.box.last.bias.data[0] = torch.nan
    save_model(tmp_path / "nan.safetensors", trained(model))
    with pytest.raises(WeightsError, match=r"box\.last\.bias has NaN"):
        load_model(tmp_path / "nan.safetensors")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"conv.weight": torch.tensor([1.0, torch.inf])}, r"w\.pth: conv\.weight has NaN or infinite weights"),
        ([1, 2], r"w\.pth holds a list, not named weights"),
        ({"model": "resnet50", "epoch": 3}, r"w\.pth holds a str, not named weights"),
    ],
    ids=["infinite", "list", "model"],
)
def test_what_are_no_weights_is_named(content, says, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=says):
        read_state_dict(tmp_path / "w.pth")


def test_weights_are_found_inside_a_checkpoint_of_a_parallel_network(tmp_path):
    torch.save({"epoch": 3, "model": {"module.fc.bias": torch.ones(2)}}, tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth").keys() == {"fc.bias"}


def test_older_names_of_torchvisions_towers():
    # Convolutions and ReLUs in one row: the second convolution is number 2.
    old = {"head.regression_head.conv.2.weight": torch.zeros(1)}
    new = {"head.regression_head.conv.1.0.weight": torch.zeros(1)}
    assert from_torchvision(old).keys() == from_torchvision(new).keys() == {"box.tower.2.weight"}


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

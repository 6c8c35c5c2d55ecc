import json
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from support.squares import build_network

from retinanet.errors import WeightsError
from retinanet.images.preprocess import InputSize
from retinanet.images.reading import Reading
from retinanet.images.tiles import Tiling
from retinanet.model.weights import TrainedModel, from_torchvision, load_model, read_about, read_state_dict, save_model

HERE = Path(__file__).parent


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
def test_load_model_returns_what_save_model_wrote(model, saved):
    loaded = load_model(saved)
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(loaded.model(images)[0], model(images)[0])
    assert (loaded.class_names, loaded.category_ids) == (("cat", "dog"), (1, 7))
    assert (loaded.input_size, loaded.tiling) == (InputSize(96, 128), Tiling(400, 0.25))


@torch.no_grad()
def test_load_model_reads_a_file_of_format_version_1():
    """The file was written when format version 1 was current, its outputs beside it: both stay as they are."""
    loaded = load_model(HERE / "format_1.safetensors")
    images = (torch.arange(64 * 64 * 3) % 251).to(torch.uint8).view(1, 64, 64, 3)
    logits, deltas = loaded.model(loaded.model.normalize(images))
    expected = json.loads((HERE / "format_1.json").read_text())
    torch.testing.assert_close(logits[0], torch.tensor(expected["logits"]), atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(deltas[0], torch.tensor(expected["deltas"]), atol=1e-2, rtol=1e-3)
    assert loaded[1:] == (("cat", "dog"), (1, 7), InputSize(96, 128), Tiling(400, 0.25), (), Reading())
    # Thresholds and how images are read were added to the format later.
    assert loaded.score_thresholds == (0.3, 0.3)


def test_thresholds_and_reading_are_kept(saved):
    reading = Reading(max_pixels=200_000_000, white_level=4095)
    save_model(saved, load_model(saved)._replace(thresholds=(0.25, 0.7), reading=reading))
    assert load_model(saved).score_thresholds == (0.25, 0.7)
    assert load_model(saved).reading == reading


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (2, "has format version 2, this retinanet reads 1; update retinanet"),
        (0, "has format version 0, this retinanet reads 1; train again, or use the retinanet that wrote it"),
        (None, "has format version 0, this retinanet reads 1; train again, or use the retinanet that wrote it"),
        ("1", "has format version 1, this retinanet reads 1; train again, or use the retinanet that wrote it"),
    ],
)
def test_another_format_version_fails_with_one_line_that_says_what_to_do(saved, version, message):
    about = read_about(saved)
    del about["format_version"], about["architecture"]
    about |= {} if version is None else {"format_version": version}
    safetensors.torch.save_file({"a": torch.zeros(1)}, saved, {"retinanet": json.dumps(about)})
    for read in (load_model, read_about):
        with pytest.raises(WeightsError) as caught:
            read(saved)
        assert str(caught.value) == f"{saved} {message}"


def test_metadata_that_is_not_an_object_is_damage(saved):
    safetensors.torch.save_file({"a": torch.zeros(1)}, saved, {"retinanet": "[1]"})
    with pytest.raises(WeightsError, match=r"model\.safetensors is damaged: its metadata 'retinanet'"):
        load_model(saved)


def test_save_model_twice_gives_the_same_bytes(model, saved):
    """The hash identifies the model."""
    for _ in range(8):
        again = saved.with_name("again.safetensors")
        save_model(again, trained(model))
        assert again.read_bytes() == saved.read_bytes()


def test_load_model_names_a_truncated_file(saved):
    saved.write_bytes(saved.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"model\.safetensors is damaged"):
        load_model(saved)


def test_load_model_rejects_nan_weights(model, tmp_path):
    model.box.last.bias.data[0] = torch.nan
    save_model(tmp_path / "nan.safetensors", trained(model))
    with pytest.raises(WeightsError, match=r"box\.last\.bias has NaN"):
        load_model(tmp_path / "nan.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"conv.weight": torch.tensor([1.0, torch.inf])}, r"w\.pth: conv\.weight has NaN or infinite weights"),
        ([1, 2], r"w\.pth holds a list, not named weights"),
        ({"model": "resnet50", "epoch": 3}, r"w\.pth holds a str, not named weights"),
    ],
    ids=["infinite", "list", "model"],
)
def test_read_state_dict_names_a_file_without_finite_weights(content, message, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=message):
        read_state_dict(tmp_path / "w.pth")


def test_read_state_dict_finds_weights_inside_a_checkpoint_of_a_parallel_network(tmp_path):
    torch.save({"epoch": 3, "model": {"module.fc.bias": torch.ones(2)}}, tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth").keys() == {"fc.bias"}


def test_from_torchvision_accepts_older_names_of_towers():
    # Convolutions and ReLUs are numbered in turn: the second convolution is number 2.
    old = {"head.regression_head.conv.2.weight": torch.zeros(1)}
    new = {"head.regression_head.conv.1.0.weight": torch.zeros(1)}
    assert from_torchvision(old).keys() == from_torchvision(new).keys() == {"box.tower.2.weight"}


def test_read_state_dict_does_not_run_code_in_a_pickle(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(WeightsError, match="not a file of plain weights"):
        read_state_dict(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_from_torchvision_rejects_an_unknown_name():
    with pytest.raises(WeightsError, match=r"roi_heads\.x is not a tensor of torchvision's RetinaNet"):
        from_torchvision({"roi_heads.x": torch.zeros(1)})

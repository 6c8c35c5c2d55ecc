import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.squares import build_network, small_network
from support.toy_onnx import write_toy_onnx

from retinanet.cli.main import main
from retinanet.images.preprocess import InputSize
from retinanet.images.tiles import Tiling
from retinanet.model.weights import TrainedModel, save_model


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working directory, with an untrained model for tiles of 96 px, small.png, large.png and broken.jpg."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = build_network(small_network(backbone="timm/test_resnet"), 2)
    torch.nn.init.zeros_(network.classification.last.bias)  # scores of about 0.5
    save_model(
        Path("model.safetensors"), TrainedModel(network, ("cat", "dog"), (1, 2), InputSize(96, 96), Tiling(96, 0.25))
    )
    noise = np.random.default_rng(0).integers(0, 256, (96, 200, 3), np.uint8)
    Image.fromarray(noise[:, :96]).save("small.png")
    Image.fromarray(noise).save("large.png")
    Path("broken.jpg").write_bytes(b"")
    return tmp_path


def run(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["retinanet", "explain", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0


def test_explain_writes_a_page_with_the_best_detections(folder, monkeypatch, capsys):
    arguments = ("small.png", "large.png", "--model", "model.safetensors", "--score", "0", "--count", "2")
    assert run(monkeypatch, *arguments, "--method", "gradcam++") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "model: model.safetensors"
    assert lines[1].startswith("small.png: ") and lines[1].endswith(" detections, 2 explained")
    assert lines[2].endswith(" 2 explained, cut into 3 tiles and explained tile by tile")
    assert lines[3] == "2 of 2 images explained: explained/index.html"
    page = Path("explained/index.html").read_text()
    assert page.count("with its heat map") == 4
    assert "Grad-CAM++" in page and "large.png, x " in page


def test_images_that_cannot_be_read_are_named_and_the_others_explained(folder, monkeypatch, capsys):
    assert run(monkeypatch, "broken.jpg", "small.png", "--model", "model.safetensors") == 1
    printed = capsys.readouterr()
    assert "1 of 2 images explained" in printed.out
    assert "error: 1 can't be read: broken.jpg" in printed.err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("broken.jpg", "--model", "model.safetensors"), "error: no image can be read: broken.jpg"),
        (("small.png", "--model", "missing.safetensors"), "error: missing.safetensors does not exist"),
        (("small.png", "--model", "toy.onnx"), "error: toy.onnx: only .safetensors files can be explained"),
        (("small.png",), "error: /"),
    ],
)
def test_errors_are_one_line_and_write_nothing(folder, monkeypatch, capsys, arguments, error):
    write_toy_onnx(folder / "toy.onnx")
    assert run(monkeypatch, *arguments) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(error) and printed.count("\n") == 1
    assert not Path("explained").exists()


def test_explain_replaces_no_file(folder, monkeypatch, capsys):
    Path("explained").mkdir()
    shutil.copy("small.png", "explained")
    assert run(monkeypatch, "small.png", "--model", "model.safetensors") == 1
    assert "has files already" in capsys.readouterr().err

"""Every benchmark runs, on its smallest setting."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from support.squares import build_network, small_network
from support.squares_workspace import ROOT, make_squares_workspace
from support.toy_onnx import write_toy_onnx

from benchmarks import learning_curve, search
from retinanet.explain.cam import METHODS
from retinanet.explain.faithfulness import GAUSSIAN, RANDOM
from retinanet.export.runtimes import RUNTIMES
from retinanet.images.preprocess import InputSize
from retinanet.model.weights import TrainedModel, save_model


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    """The working directory: prepared images of squares and the params of a small network."""
    monkeypatch.chdir(tmp_path)
    make_squares_workspace(tmp_path)
    return tmp_path


def run_main(monkeypatch, module, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", [module.__name__, *arguments])
    module.main()


def run_module(name: str, *arguments: str) -> str:
    """Run `python -m benchmarks.NAME` in the working directory; returns its output."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_search_adds_a_row_for_each_trial_once(workspace, monkeypatch, capsys):
    (workspace / "benchmarks").mkdir()
    trials = {"base": {"train.epochs": 1}, "trials": [{}, {"train.batch_size": 2}]}
    (workspace / "benchmarks" / "search.yaml").write_text(yaml.safe_dump({"tiny": trials}))
    run_main(monkeypatch, search, "tiny")
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[0] for row in rows] == ["| none", "| `train.batch_size=2`"]
    table = (workspace / "benchmarks" / "search_tiny.md").read_text()
    assert table.splitlines()[2:] == rows
    run_main(monkeypatch, search, "tiny")
    assert capsys.readouterr().out == ""


def test_learning_curve_prints_a_row_for_each_share(workspace, monkeypatch, capsys):
    run_main(monkeypatch, learning_curve, "--shares", "0.5", "1", "--seeds", "0")
    rows = capsys.readouterr().out.splitlines()[2:]
    # A half of the images is trained on for twice the epochs.
    assert [row.split(" | ")[0] for row in rows] == ["| 4", "| 8"]
    assert [row.split(" | ")[2] for row in rows] == ["2", "1"]


@pytest.mark.slow
def test_training_prints_a_row(workspace):
    rows = run_module("training", "--steps", "2", "--case", "resnet18", "64", "1").splitlines()
    assert rows[-1].startswith("| resnet18, 64 px, batch 1 |")


@pytest.mark.slow
def test_inference_prints_a_row_for_each_runtime(workspace):
    rows = run_module("inference", "--images", "2", "--case", "resnet18", "64").splitlines()[-3 - len(RUNTIMES) :]
    assert [row.split(" | ")[1] for row in rows] == ["torchvision", "ssdlite320", "PyTorch", *RUNTIMES]


@pytest.mark.slow
def test_serving_prints_a_row_for_each_service_and_no_5xx_of_ours(workspace):
    write_toy_onnx(workspace / "model.onnx")
    lines = run_module("serving", "--model", "model.onnx", "--rounds", "2", "--seconds", "2").splitlines()
    assert lines[4].startswith("| retinanet serve |") and " | 0 of " in lines[4]
    assert lines[5].startswith("| mlflow models serve |")
    assert lines[-1].startswith("images/s, ours to MLflow's: ")


@pytest.mark.slow
def test_serving_changes_prints_no_5xx_and_a_line_for_each_change(workspace):
    write_toy_onnx(workspace / "model.onnx")
    lines = run_module("serving_changes", "--model", "model.onnx", "--seconds", "9", "--follow", "1").splitlines()
    assert lines[0].endswith("5xx: 0") and lines[1].endswith("200: 0")
    names = ["promotion", "rollback", "memory", "SIGTERM", "answers after SIGTERM by status"]
    assert [line.partition(":")[0] for line in lines[3:]] == names


@pytest.mark.slow
def test_data_prints_a_row_for_each_loader(workspace):
    rows = run_module("data", "--images", "1", "--rounds", "1").splitlines()
    assert rows[2].startswith("| 640 x 480 | ours |")


@pytest.mark.slow
def test_backbones_writes_a_row(workspace):
    (workspace / "docs").mkdir()
    run_module("backbones", "timm/test_resnet")
    row = (workspace / "docs" / "backbones.md").read_text().splitlines()[-1]
    assert row.startswith("| timm/test_resnet |") and row.endswith("| yes | yes | yes |")


@pytest.mark.slow
def test_prepare_scale_prints_a_row(workspace):
    assert run_module("prepare_scale", "40", "80").split()[:2] == ["40", "80"]


@pytest.mark.slow
def test_evaluation_prints_its_speed_and_difference_from_pycocotools(workspace):
    rows = run_module(
        "evaluation", "speed", "--images", "60", "--detections", "20", "--classes", "2", "--resamples", "20"
    ).splitlines()
    assert rows[1].startswith("this project: ") and rows[2].startswith("pycocotools: ")
    assert float(rows[3].rpartition(" ")[2]) < 1e-12


@pytest.mark.slow
def test_rasters_compares_origins_of_the_grid_and_maps_a_raster(workspace):
    write_toy_onnx(workspace / "toy.onnx")
    (workspace / "data" / "raw").mkdir()
    Image.effect_noise((1000, 1000), 90).convert("RGB").save(workspace / "data" / "raw" / "a.png")
    tiny = ["--model", "toy.onnx", "--tile", "100", "--side", "250"]
    rows = run_module("rasters", "origins", "--origins", "1", *tiny).splitlines()[-3:]
    assert [row.split(" | ")[0] for row in rows] == [
        "| at the corner of a raster cut off at any pixel",
        "| at any cell of the network",
        "| at any pixel",
    ]
    assert run_module("rasters", "large", "--kills", "0", *tiny).endswith("EPSG:32612: the same\n")


@pytest.mark.slow
def test_explanation_prints_a_row_for_each_map(workspace):
    network = build_network(small_network(backbone="timm/test_resnet"), 1)
    torch.nn.init.zeros_(network.classification.last.bias)  # detections everywhere, some of them on the squares
    save_model(workspace / "model.safetensors", TrainedModel(network, ("square",), (1,), InputSize(96, 128)))
    rows = run_module("explanation", "--hits", "2", "--model", "model.safetensors", "--test", "squares.json")
    names = [row.split(" | ")[0] for row in rows.splitlines()[-6:]]
    assert names == [f"| {name}" for name in (*METHODS, RANDOM, GAUSSIAN)]

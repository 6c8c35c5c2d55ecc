"""The presets have the values of the implementations that they are named after."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from support.squares import build_network

from retinanet.cli.main import main as cli
from retinanet.config.params import load_params
from retinanet.config.presets.apply import preset_changes, preset_names, write_preset
from retinanet.config.settings import Params
from retinanet.errors import ParamsError

PARAMS = Path("params.yaml")
ALL = ("torchvision_v1", "torchvision_v2", "detectron2")
GOLDEN = {
    # key: values of torchvision_v1, torchvision_v2 and detectron2
    "model.anchors.convention": ("torchvision", "torchvision", "exact"),
    "model.anchors.sizes": ([32, 64, 128, 256, 512],) * 3,
    "model.anchors.scales_per_octave": (3, 3, 3),
    "model.anchors.ratios": ([0.5, 1, 2],) * 3,
    "model.p6_from": ("p5", "c5", "c5"),
    "model.pyramid_width": (256, 256, 256),
    "model.head_width": (256, 256, 256),
    "model.head_depth": (4, 4, 4),
    "model.head_norm": ("none", "group", "none"),
    "model.frozen_norm": (True, False, True),
    "model.frozen_stages": (2, 2, 2),
    "model.short_side": (800, 800, 800),
    "model.long_side": (1333, 1333, 1333),
    "train.box_loss.kind": ("l1", "giou", "l1"),
    "train.normalizer": ("image", "image", "moving"),
    "train.box_weight": (1, 1, 1),
    "evaluate.score_threshold": (0.05, 0.05, 0.05),
    "evaluate.nms_iou": (0.5, 0.5, 0.5),
    "evaluate.candidates_per_level": (1000, 1000, 1000),
    "evaluate.detections_per_image": (300, 300, 100),
}
RECIPES = {
    "train.optimizer": ("sgd", "adamw"),
    "train.learning_rate": (0.01, 0.0001),
    "train.reference_batch_size": (16, 16),
    "train.weight_decay": (0.0001, 0.05),
    "train.batch_size": (16, 16),
    "train.epochs": (26, 26),
    "train.schedule": ("multistep", "multistep"),
}


@pytest.fixture
def path(tmp_path) -> Path:
    return Path(shutil.copy(PARAMS, tmp_path / "params.yaml"))


def with_preset(name: str, path: Path) -> Params:
    write_preset(name, path)
    return load_params(path)


def value(params: Params, key: str) -> object:
    for part in key.split("."):
        params = getattr(params, part)
    return params


@pytest.mark.parametrize("name", ALL)
def test_each_preset_has_the_values_of_its_implementation(name, path):
    params = with_preset(name, path)
    for key, values in GOLDEN.items():
        assert value(params, key) == values[ALL.index(name)], key
    for key, values in RECIPES.items():
        if name != "detectron2":
            assert value(params, key) == values[ALL.index(name)], key


@pytest.mark.parametrize(
    ("name", "millions", "first"),
    [
        ("torchvision_v1", 34.014999, [-23, -11, 23, 11]),
        ("torchvision_v2", 38.198935, [-23, -11, 23, 11]),
        ("detectron2", None, [-22.627, -11.314, 22.627, 11.314]),
    ],
)
def test_network_of_a_preset_has_the_published_parameters_and_anchors(name, millions, first, path):
    """Parameter counts as torchvision documents them for its COCO weights (91 classes); the first anchor of P3."""
    settings = with_preset(name, path).model
    model = build_network(settings, 91)
    torch.testing.assert_close(model.anchors(64, 64)[0], torch.tensor(first).float(), atol=1e-3, rtol=0)
    if millions:
        assert sum(p.numel() for p in model.parameters()) == round(millions * 1e6)


def test_multi_scale_of_torchvision_v2_is_480_to_800_px(path):
    params = with_preset("torchvision_v2", path)
    sides = [round(params.model.short_side * factor) for factor in params.train.augment.multi_scale]
    assert sides == list(range(480, 801, 32))


def test_write_preset_keeps_comments_and_other_values(path):
    before = path.read_text(encoding="utf-8").splitlines()
    changed = {key.split(".")[-1] for key, _, _ in preset_changes("detectron2", path)}
    write_preset("detectron2", path)
    after = path.read_text(encoding="utf-8").splitlines()
    assert len(after) == len(before)
    for old, new in zip(before, after, strict=True):
        assert old == new or new.split(":")[0].strip() in changed
        assert old.partition("#")[2] == new.partition("#")[2]
    assert preset_changes("detectron2", path) == []


def test_write_preset_leaves_the_file_unchanged_if_the_result_is_invalid(path):
    text = (
        path.read_text(encoding="utf-8")
        .replace("  processes: 1", "  processes: 3")
        .replace("batch_size: 2", "batch_size: 3")
    )
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError, match="batch_size is 16; it must be a multiple of"):
        write_preset("torchvision_v1", path)
    assert path.read_text(encoding="utf-8") == text
    assert [p.name for p in path.parent.iterdir()] == ["params.yaml"]


def test_preset_changes_of_an_unknown_name_suggests_one():
    assert preset_names() == sorted(ALL)
    with pytest.raises(ParamsError, match="did you mean torchvision_v1"):
        preset_changes("torchvision_1", PARAMS)
    with pytest.raises(ParamsError, match="presets are detectron2, torchvision_v1, torchvision_v2"):
        preset_changes("x", PARAMS)


def run(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["retinanet", "preset", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli()
    return ended.value.code


def test_preset_command_shows_changes_and_writes_them_with_write(path, monkeypatch, capsys):
    before = path.read_text(encoding="utf-8")
    assert run(monkeypatch, "detectron2", "--params", path) == 0
    shown = capsys.readouterr().out
    assert "model.head_norm: group -> none\n" in shown
    assert "nothing is written; `retinanet preset detectron2 --write`" in shown
    assert path.read_text(encoding="utf-8") == before
    assert run(monkeypatch, "detectron2", "--write", "--params", path) == 0
    assert "settings written into" in capsys.readouterr().out
    assert run(monkeypatch, "detectron2", "--params", path) == 0
    assert capsys.readouterr().out == f"{path} has the settings of detectron2 already\n"

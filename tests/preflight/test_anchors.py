import shutil
from pathlib import Path

import numpy as np
import pytest
from support.workspace import in_pipeline_repository

from retinanet.cli.main import main as cli
from retinanet.config.params import load_params
from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects, write_coco

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A function that prepares an image of 640 x 640 px with 50 boxes of a side, beside the repository's params."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PARAMS, "params.yaml")
    in_pipeline_repository()

    def prepared(side: float) -> None:
        corner = np.random.default_rng(0).uniform(0, 500, (50, 2))
        boxes = np.concatenate([corner, corner + side], axis=1).astype(np.float32)
        objects = Objects(boxes, np.zeros(50, np.int64), np.zeros(50, bool))
        write_coco(
            CocoDataset((ImageInfo(1, "a.png", 640, 640),), ("cell",), (1,), {1: objects}), "data/prepared/train.json"
        )

    return prepared


def fit_anchors(monkeypatch, *arguments) -> int:
    monkeypatch.setattr("sys.argv", ["retinanet", "fit-anchors", *arguments])
    with pytest.raises(SystemExit) as end:
        cli()
    return end.value.code or 0


def test_fit_anchors_proposes_sizes_for_small_objects_and_writes_them_with_write(workspace, monkeypatch, capsys):
    workspace(12)
    before = Path("params.yaml").read_text()
    assert fit_anchors(monkeypatch) == 0
    out = capsys.readouterr().out
    assert "cell     0.0%" in out and "of 50" in out and "model.anchors.sizes: [" in out
    assert "nothing is written" in out and Path("params.yaml").read_text() == before
    assert fit_anchors(monkeypatch, "--write") == 0
    assert load_params().model.anchors.sizes[0] < 16
    assert "# Every setting of the pipeline" in Path("params.yaml").read_text()
    capsys.readouterr()
    assert fit_anchors(monkeypatch, "--write") == 0
    assert "nothing to change" in capsys.readouterr().out


def test_fit_anchors_keeps_anchors_that_fit(workspace, monkeypatch, capsys):
    workspace(90)
    before = Path("params.yaml").read_text()
    assert fit_anchors(monkeypatch, "--write") == 0
    assert "nothing to change" in capsys.readouterr().out
    assert Path("params.yaml").read_text() == before


def test_fit_anchors_without_prepared_data_fails(workspace, monkeypatch, capsys):
    assert fit_anchors(monkeypatch) == 1
    assert "error: data/prepared/train.json: No such file" in capsys.readouterr().err

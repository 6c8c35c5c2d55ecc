import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.workspace import in_pipeline_repository

from retinanet.cli.main import main as cli
from retinanet.tracking.registry import at_alias
from retinanet.tracking.store import open_client

PARAMS = Path(__file__).parents[2] / "params.yaml"


def run(monkeypatch, *arguments) -> int:
    monkeypatch.setattr("sys.argv", ["retinanet", *arguments])
    with pytest.raises(SystemExit) as end:
        cli()
    return end.value.code


@pytest.fixture
def workspace(make_version, commit_all, toy_onnx):
    shutil.copy(PARAMS, "params.yaml")
    in_pipeline_repository()
    commit_all()
    Path("models").mkdir()
    shutil.copytree(toy_onnx(), "models/export")
    version = make_version(0.9)
    Path("models/registered.json").write_text(json.dumps({"name": "retinanet", "version": version}))
    Image.new("RGB", (64, 48)).save("a.png")
    return make_version


@pytest.mark.parametrize("command", ["predict", "promote", "rollback", "status"])
def test_help_has_an_example(monkeypatch, capsys, command):
    assert run(monkeypatch, command, "--help") == 0
    assert f"e.g. retinanet {command}" in capsys.readouterr().out


def test_help_imports_neither_torch_nor_mlflow():
    code = "import sys, retinanet.cli.main; sys.exit(bool({'torch', 'mlflow', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_promote_status_and_rollback(workspace, monkeypatch, capsys):
    assert run(monkeypatch, "promote", "--dry-run") == 0
    assert run(monkeypatch, "promote") == 0
    workspace(0.8)
    assert run(monkeypatch, "promote", "--version", "2") == 3
    assert "refused: version 2 has AP50 0.8000, version 1 in production 0.9000; it is not better" in (
        capsys.readouterr().out
    )
    assert at_alias(open_client(), "retinanet", "production").version in ("1", 1)
    assert run(monkeypatch, "status") == 0
    assert "production: version 1" in capsys.readouterr().out
    assert run(monkeypatch, "rollback") == 1
    assert "nothing was in production before version 1" in capsys.readouterr().err


def test_promote_without_a_version_of_this_workspace(workspace, monkeypatch, capsys):
    Path("models/registered.json").unlink()
    assert run(monkeypatch, "promote") == 1
    assert "dvc repro" in capsys.readouterr().err


def test_predict_with_the_exported_and_with_the_registered_model(workspace, monkeypatch, capsys):
    run(monkeypatch, "promote")
    for model in ([], ["--model", "models:/retinanet@production"], ["--model", "models:/retinanet/1"]):
        assert run(monkeypatch, "predict", "a.png", *model, "--out", "found") == 0
    results = json.loads(Path("found/detections.json").read_text())
    assert [(r["category_id"], r["bbox"]) for r in results] == [(3, [16.0, 12.0, 32.0, 24.0])]
    assert "models:/retinanet@production is version 1" in capsys.readouterr().out


def test_predict_ends_with_1_when_a_image_can_not_be_read(workspace, monkeypatch, capsys):
    Path("b.png").write_text("no image")
    assert run(monkeypatch, "predict", "a.png", "b.png", "missing.png") == 1
    said = capsys.readouterr()
    assert "1 of 3 images answered, 2 can't be read" in said.out
    assert [line.split(":")[1] for line in said.err.splitlines()] == [" b.png", " missing.png"]


def test_predict_with_an_alias_that_is_not_there(workspace, monkeypatch, capsys):
    assert run(monkeypatch, "predict", "a.png", "--model", "models:/retinanet@production") == 1
    assert "no version with the alias production" in capsys.readouterr().err

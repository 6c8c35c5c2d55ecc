import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from support.workspace import in_pipeline_repository

from retinanet.cli.main import main as cli
from retinanet.tracking.registry import at_alias
from retinanet.tracking.store import open_client

PARAMS = Path(__file__).parents[2] / "params.yaml"


def run(monkeypatch, *arguments: str) -> int:
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


def test_promote_status_and_rollback_work_on_the_registry(workspace, monkeypatch, capsys):
    assert run(monkeypatch, "promote", "--dry-run") == 0
    assert run(monkeypatch, "promote") == 0
    workspace(0.8)
    assert run(monkeypatch, "promote", "--version", "2") == 3
    assert "refused: not better: version 2 has AP50 0.8000, version 1 in production 0.9000; it gains -0.1000\n" in (
        capsys.readouterr().out
    )
    workspace(0.95)
    assert run(monkeypatch, "promote", "--version", "3") == 4
    assert "refused: undecided: version 3 has AP50 0.9500" in capsys.readouterr().out
    assert at_alias(open_client(), "retinanet", "production").version in ("1", 1)
    assert run(monkeypatch, "status") == 0
    assert "production: version 1" in capsys.readouterr().out
    assert run(monkeypatch, "rollback") == 1
    assert "no version was in production before version 1" in capsys.readouterr().err


def test_promote_again_and_force_need_a_reason_which_the_history_shows(workspace, monkeypatch, capsys):
    assert run(monkeypatch, "promote") == 0
    workspace(0.8)
    for option in ("--force", "--again"):
        assert run(monkeypatch, "promote", "--version", "2", option) == 2
        assert "need --reason TEXT" in capsys.readouterr().err
    assert run(monkeypatch, "promote", "--version", "2", "--force", "--reason", "new camera") == 0
    assert run(monkeypatch, "rollback", "--reason", "misses trees in shadow") == 0
    assert run(monkeypatch, "promote", "--version", "2") == 3
    assert "`--again --reason TEXT` promotes it nevertheless" in capsys.readouterr().out
    assert run(monkeypatch, "status", "--history") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines if not line.startswith(" ")] == ["rollback", "promote", "promote"]
    assert "    reason: misses trees in shadow" in lines and "    reason: new camera" in lines
    assert any(line.startswith("    gate: forced; the gate refuses: not better: ") for line in lines)


def test_promote_without_a_registered_version_says_what_to_run(workspace, monkeypatch, capsys):
    Path("models/registered.json").unlink()
    assert run(monkeypatch, "promote") == 1
    assert "dvc repro" in capsys.readouterr().err


@pytest.mark.parametrize("version", ["0", "-1", "x"])
def test_promote_with_an_invalid_version_number_is_wrong_usage(workspace, monkeypatch, capsys, version):
    assert run(monkeypatch, "promote", f"--version={version}") == 2
    assert at_alias(open_client(), "retinanet", "production") is None


def test_predict_gives_equal_results_for_the_exported_and_the_registered_model(workspace, monkeypatch, capsys):
    run(monkeypatch, "promote")
    for model in ([], ["--model", "models:/retinanet@production"], ["--model", "models:/retinanet/1"]):
        out = f"found{len(''.join(model))}"
        assert run(monkeypatch, "predict", "a.png", *model, "--out", out) == 0
        results = json.loads(Path(out, "detections.json").read_text())
        assert [(r["category_id"], r["bbox"]) for r in results] == [(3, [16.0, 12.0, 32.0, 24.0])]
    assert "models:/retinanet@production is version 1" in capsys.readouterr().out


def test_predict_exits_with_1_if_an_image_cannot_be_read(workspace, monkeypatch, capsys):
    Path("b.png").write_text("no image")
    assert run(monkeypatch, "predict", "a.png", "b.png", "missing.png") == 1
    output = capsys.readouterr()
    assert "1 of 3 images processed" in output.out
    *errors, last = output.err.splitlines()
    assert [line.split(":")[1] for line in errors] == [" b.png", " missing.png"]
    assert last == "error: 2 can't be read (`failed` in predictions/images.json): b.png, missing.png"


def test_predict_with_an_unknown_alias_is_an_error(workspace, monkeypatch, capsys):
    assert run(monkeypatch, "predict", "a.png", "--model", "models:/retinanet@production") == 1
    assert "no version with the alias production" in capsys.readouterr().err

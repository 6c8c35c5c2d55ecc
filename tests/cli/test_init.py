"""`retinanet init`: the settings that it prints and writes."""

import re
import shutil
from pathlib import Path

import pytest
from support.prepare_workspace import sample_objects, write_voc

from retinanet.cli import main as program
from retinanet.config.params import load_params, write_params
from retinanet.recipe import propose
from retinanet.recipe.speed import Speed

ROOT = Path(__file__).parents[2]


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A folder with params.yaml, stages/paths.py and labeled images; each training step takes 0.1 s."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    write_params(tmp_path / "params.yaml", {"model.weights": "none"})
    (tmp_path / "stages").mkdir()
    shutil.copy(ROOT / "stages/paths.py", tmp_path / "stages")
    (tmp_path / "mine").mkdir()
    write_voc(tmp_path / "mine", sample_objects(30))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(propose, "_measure", lambda *_: Speed(0.1, 0.05))
    monkeypatch.setattr(propose, "busy_machine", lambda: "")
    return tmp_path


def run(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["retinanet", "init", *arguments])
    with pytest.raises(SystemExit) as end:
        program.main()
    return end.value.code or 0


def test_init_writes_settings_that_it_explains_and_keeps_comments(repository, monkeypatch, capsys):
    before = (repository / "params.yaml").read_text()
    assert run(monkeypatch, "mine", "--minutes", "10", "--orientation", "any") == 0
    out = capsys.readouterr().out
    params = load_params(repository / "params.yaml")
    assert (params.download.source, params.download.folder.path) == ("folder", "mine")
    assert params.train.augment.orientation == "any"
    assert "download.source: folder (was package): it is a folder\n" in out
    assert f"train.epochs: {params.train.epochs} (was auto): epochs of " in out
    assert re.search(r"\n\d of these \d settings written into params.yaml; `dvc repro` runs the pipeline\n$", out)
    after = (repository / "params.yaml").read_text()
    assert [line.find("#") for line in after.splitlines()] == [line.find("#") for line in before.splitlines()]


def test_init_with_its_own_settings_changes_nothing(repository, monkeypatch, capsys):
    run(monkeypatch, "mine", "--minutes", "10")
    once = (repository / "params.yaml").read_text()
    assert run(monkeypatch, "mine", "--minutes", "10") == 0
    assert (repository / "params.yaml").read_text() == once
    second = capsys.readouterr().out.split("`dvc repro` runs the pipeline")[1]
    assert "(was " not in second and "\n0 of these " in second


def test_a_dry_run_writes_nothing(repository, monkeypatch, capsys):
    before = (repository / "params.yaml").read_text()
    assert run(monkeypatch, "mine", "--dry-run") == 0
    assert (repository / "params.yaml").read_text() == before
    assert "nothing is written; without --dry-run, " in capsys.readouterr().out


def test_a_missing_folder_is_an_error_of_one_line(repository, monkeypatch, capsys):
    assert run(monkeypatch, "nowhere") == 1
    assert capsys.readouterr().err == "error: nowhere: neither a folder nor a tar or zip archive; check the path\n"

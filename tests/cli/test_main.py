import shlex
import subprocess
import sys
from importlib import import_module

import pytest

import retinanet
from retinanet.cli.commands import deciding
from retinanet.cli.main import _parser, main


def run(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["retinanet", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0


def test_version_prints_the_version_of_the_package(monkeypatch, capsys):
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"retinanet {retinanet.__version__}\n"


def test_help_groups_the_commands_by_job(monkeypatch, capsys):
    assert run(monkeypatch, "--help") == 0
    groups, text = {}, capsys.readouterr().out
    assert "a 95% interval" in text
    for block in text.split("\n\n"):
        title, *rows = block.strip().splitlines()
        groups[title.rstrip(":")] = [row.split()[0] for row in rows]
    assert groups["data"] == ["init", "datasets", "fit-anchors"]
    assert groups["training"] == ["preset", "check-training", "sweep", "replay-step"]
    assert groups["deciding"] == ["status", "compare", "promote", "rollback"]
    assert groups["record"] == ["sync", "reproduce", "sign", "verify"]
    assert groups["using"] == ["predict", "count", "map", "explain", "serve"]


@pytest.mark.parametrize(
    "command",
    [
        "init",
        "datasets",
        "fit-anchors",
        "preset",
        "check-training",
        "sweep",
        "replay-step",
        "status",
        "promote",
        "rollback",
        "sync",
        "reproduce",
        "sign",
        "verify",
        "predict",
        "count",
        "explain",
        "serve",
        "map",
    ],
)
def test_help_of_a_command_has_an_example_that_parses(monkeypatch, capsys, command):
    assert run(monkeypatch, command, "--help") == 0
    text = capsys.readouterr().out
    assert "%%" not in text
    example = text.split("e.g. retinanet ")[1]
    assert example.split()[0] == command
    _parser().parse_args(shlex.split(example))


def test_help_imports_no_library():
    code = "import sys, retinanet.cli.main; sys.exit(bool({'torch', 'mlflow', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_missing_library_is_one_line_that_names_the_extra(monkeypatch, capsys):
    def status(arguments) -> int:
        import_module("retinanet_lacks_this.module")
        return 0

    monkeypatch.setattr(deciding, "status", status)
    assert run(monkeypatch, "status") == 1
    assert capsys.readouterr().err == (
        "error: this command needs retinanet_lacks_this, which is not installed; "
        "run pip install 'retinanet[pipeline]'\n"
    )


def test_missing_module_of_the_package_is_a_traceback(monkeypatch):
    def status(arguments) -> int:
        import_module("retinanet.lacks_this")
        return 0

    monkeypatch.setattr(deciding, "status", status)
    monkeypatch.setattr("sys.argv", ["retinanet", "status"])
    with pytest.raises(ModuleNotFoundError):
        main()


def test_a_missing_package_names_the_extra_that_has_it(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    monkeypatch.delitem(sys.modules, "retinanet.rasters.reading", raising=False)
    assert run(monkeypatch, "map", "a.tif", "--out", "a.gpkg") == 1
    assert capsys.readouterr().err == (
        "error: this command needs rasterio, which is not installed; run pip install 'retinanet[raster]'\n"
    )

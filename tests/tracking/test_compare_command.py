"""`retinanet compare` in a finished pipeline."""

import shutil
from pathlib import Path

import pytest
from PIL import Image
from support.finished_pipeline import MODEL

from retinanet.cli.main import main as cli
from retinanet.tracking.comparison import Gate
from retinanet.tracking.promotion import promote
from retinanet.tracking.runs import evaluation_run
from stages import paths


@pytest.fixture
def compare(finished, monkeypatch, capsys):
    """Run the command with arguments; returns its exit code, output and errors."""
    paths.OPERATING_POINTS.write_text("class,threshold\ncat,0.25\ndog,0.25\n")
    with evaluation_run(paths.RUN, "e" * 64) as run:
        run.log_artifact(paths.OPERATING_POINTS, "evaluate")
    for name in ("1.png", "2.png"):
        Image.new("RGB", (64, 48)).save(name)
    promote(MODEL, 1, Gate("AP50", 0.0), allow_dirty=True)

    def run_command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["retinanet", "compare", *arguments])
        with pytest.raises(SystemExit) as end:
            cli()
        return end.value.code, *capsys.readouterr()

    return run_command


def test_the_defaults_are_the_version_of_the_workspace_and_production(compare):
    code, out, _ = compare()
    assert code == 0 and out.startswith("retinanet: version 1 -> version 1\n\nsettings, data and code are equal\n")


def test_two_files_and_a_version_are_compared_on_the_test_split(compare):
    shutil.copy("models/export/model.onnx", "copy.onnx")
    code, out, _ = compare("copy.onnx", "models/export/model.onnx")
    lines = out.splitlines()
    assert code == 0 and lines[0] == "retinanet: models/export/model.onnx -> copy.onnx"
    assert "AP50/cat: 0.5050 -> 0.5050, +0.0000" in lines and lines[-1].startswith("no 95% intervals: it rests on 2")
    code, out, _ = compare("copy.onnx", "production", "--page", "page.html")
    assert code == 0 and out.splitlines()[0] == "retinanet: version 1 -> copy.onnx"
    assert out.endswith("copy.onnx is worse on 0 test images and better on 0: page.html\n")
    assert "copy.onnx" in Path("page.html").read_text(encoding="utf-8")


def test_errors_are_one_line(compare):
    code, out, err = compare("nothing", "production")
    assert (code, out) == (1, "") and err.startswith("error: nothing: not a version") and err.count("\n") == 1
    code, _, err = compare("HEAD", "1")
    assert code == 1 and "HEAD (" in err and "has no dvc.lock" in err and err.count("\n") == 1
    Path("page.html").touch()
    assert "page.html exists, and no file is replaced" in compare("1", "1", "--page", "page.html")[2]
    paths.TEST_JSON.unlink()
    assert (
        "a model file is evaluated on this workspace's test split, which is missing"
        in (compare("models/export/model.onnx", "1")[2])
    )

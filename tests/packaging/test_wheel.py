"""The wheel, installed alone: what it brings, and that inference from an exported model needs no more."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from support.toy_onnx import write_toy_onnx

import retinanet

ROOT = Path(__file__).parents[2]
MAX_MEGABYTES = 500

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]


class Installed(NamedTuple):
    """An environment that has the wheel and its dependencies, and an empty folder to run its command in."""

    scripts: Path
    site_packages: Path
    folder: Path

    def run(self, *arguments: str, code: int = 0) -> str:
        """The command `retinanet` with these arguments; returns what it prints on stdout and stderr."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            [self.scripts / "retinanet", *arguments], cwd=self.folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> tuple[Path, Path]:
    """The scripts and site-packages of a new environment with the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--wheel", "--out-dir", folder / "dist")
    [wheel] = (folder / "dist").glob("retinanet-*.whl")
    uv("venv", "--python", sys.executable, folder / "venv")
    scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    uv("pip", "install", "--python", scripts / "python", wheel)
    [site_packages] = (folder / "venv").rglob("site-packages")
    return scripts, site_packages


@pytest.fixture
def installed(environment, tmp_path) -> Installed:
    (tmp_path / "elsewhere").mkdir()
    return Installed(*environment, tmp_path / "elsewhere")


def uv(*arguments: str | Path) -> None:
    # In the repository, whose [tool.uv] limits how new a package may be.
    done = subprocess.run(["uv", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_wheel_installs_no_training_libraries_and_stays_small(installed):
    names = {path.name.split("-")[0].lower() for path in installed.site_packages.glob("*.dist-info")}
    assert {"retinanet", "numpy", "onnxruntime", "pillow", "opencv_python_headless"} <= names
    assert not names & {"torch", "torchvision", "timm", "dvc", "mlflow", "pydantic", "pandas", "pyyaml"}
    size = sum(path.stat().st_size for path in installed.site_packages.rglob("*") if path.is_file())
    assert size < MAX_MEGABYTES * 1e6, f"{size / 1e6:.0f} MB"


def test_version_is_that_of_the_package(installed):
    assert installed.run("--version") == f"retinanet {retinanet.__version__}\n"


def test_predict_with_an_exported_model_writes_nothing_beside_its_folder(installed):
    write_toy_onnx(installed.folder / "toy.onnx")
    Image.new("RGB", (64, 48)).save(installed.folder / "a.png")
    output = installed.run("predict", "a.png", "--model", "toy.onnx", "--out", "found")
    assert "1 of 1 images processed" in output
    results = json.loads((installed.folder / "found/detections.json").read_text(encoding="utf-8"))
    assert [(row["category_id"], row["bbox"]) for row in results] == [(3, [16.0, 12.0, 32.0, 24.0])]
    written = {path.relative_to(installed.folder).as_posix() for path in installed.folder.rglob("*")}
    assert written == {"toy.onnx", "a.png", "found", "found/a.jpg", "found/images.json", "found/detections.json"}


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["predict", "a.png", "--model", "a.safetensors"], "pipeline"),
        (["status"], "pipeline"),
        (["datasets"], "pipeline"),
        (["map", "a.png", "--out", "a.gpkg"], "raster"),
    ],
)
def test_command_that_needs_an_extra_says_so_in_one_line(installed, arguments, extra):
    Image.new("RGB", (64, 48)).save(installed.folder / "a.png")
    [line] = [line for line in installed.run(*arguments, code=1).splitlines() if not line.startswith("model:")]
    assert line.startswith("error: this command needs ")
    assert line.endswith(f"which is not installed; run pip install 'retinanet[{extra}]'")

"""Names, params, files and commands of README, CONTRIBUTING and docs exist, and the commands run."""

import ast
import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import yaml
from PIL import Image
from support.blobs import write_raster
from support.mlflow_server import wait_for
from support.prepare_workspace import sample_objects, write_voc
from support.signing_keys import make_keys
from support.workspace import Workspace

from retinanet.cli.commands.deciding import EXIT_REFUSED, EXIT_UNDECIDED
from retinanet.cli.main import _parser
from retinanet.config.params import load_params
from retinanet.errors import ParamsError

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
DVC = {"add", "repro", "exp", "metrics", "plots", "remote", "push", "pull", "queue"}


# Makes an experiment small enough for a test: of two -S of one key, the last wins.
SMALL = {"train.epochs": 1, "train.batch_size": 8, "train.learning_rate": 0.002, "model.weights": "none"}
SMALL |= {"model.short_side": 128, "model.long_side": 128, "model.head_depth": 1, "model.head_width": 64}


def blocks(language: str, pages: Sequence[Path] = PAGES) -> list[str]:
    return [block for page in pages for block in re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)]


def commands(pages: Sequence[Path] = PAGES) -> list[str]:
    """Every line of the shell blocks, continued lines joined, without comments."""
    lines = "\n".join(blocks("bash", pages)).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#.*$", "", line).strip() for line in lines if line.strip()]


def words(command: str) -> list[str]:
    return shlex.split(command.removeprefix("pip install uv && ").removeprefix("uv run "))


@pytest.mark.parametrize("command", [c for c in commands() if " retinanet " in c])
def test_options_of_commands_exist(command):
    arguments = words(command)
    _parser().parse_args(arguments[arguments.index("retinanet") + 1 :])


@pytest.mark.parametrize("command", [c for c in commands() if " dvc " in c])
def test_params_set_by_commands_exist(command, tmp_path):
    arguments = words(command)
    assert arguments[1] in DVC
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    for option in [arguments[i + 1] for i, word in enumerate(arguments) if word == "-S"]:
        key, value = option.split("=", 1)
        *sections, last = key.split(".")
        section = content
        for name in sections:
            section = section[name]
        assert last in section, key
        section[last] = yaml.safe_load(value)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.splitlines()[0])
def test_settings_in_yaml_blocks_exist(block, tmp_path):
    content = yaml.safe_load((ROOT / "params.yaml").read_text())

    def merge(into: dict, new: dict) -> None:
        for key, value in new.items():
            if isinstance(value, dict) and isinstance(into.get(key), dict):
                merge(into[key], value)
            else:
                into[key] = value

    merge(content, yaml.safe_load(block))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    try:
        load_params(tmp_path / "params.yaml")
    except ParamsError as error:
        pytest.fail(str(error))


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.splitlines()[-1][:40])
def test_names_imported_by_python_blocks_exist(block):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name), f"{node.module}.{name.name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_params_and_files_named_in_the_text_exist(page):
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in set(re.findall(r"`([a-z]+\.[a-z_.0-9]+)`", page.read_text())):
        section, *keys = name.split(".")
        if section in content:
            value = content[section]
            for key in keys:
                assert key in value, f"{page.name}: {name}"
                value = value[key]
    paths = r"`((?:retinanet|stages|tests|benchmarks|docs)/[\w/.]*\w)`"
    for name in set(re.findall(paths, page.read_text())):
        assert name in tracked, f"{page.name}: {name}"


@pytest.fixture(scope="module")
def with_images(workspace) -> Workspace:
    """The workspace with the images that README's commands name."""
    tile = next((workspace.folder / "data/prepared/tiles").iterdir())
    (workspace.folder / "folder_of_images").mkdir()
    for name in ("photo.jpg", *(f"folder_of_images/{number}.png" for number in range(10))):
        (workspace.folder / name).write_bytes(tile.read_bytes())
    (workspace.folder / "path/to/my_images").mkdir(parents=True)
    write_voc(workspace.folder / "path/to/my_images", sample_objects(30))
    make_keys(workspace.folder / "release-key")
    (workspace.folder / "space.yaml").write_text("train.box_loss: [l1, giou]\n")
    pixels = np.asarray(Image.open(tile).convert("RGB"))
    write_raster(workspace.folder / "ortho.tif", pixels)
    _write_video(workspace.folder / "clip.mp4", pixels)
    workspace.run("retinanet", "promote", code=(0, EXIT_REFUSED, EXIT_UNDECIDED))
    return workspace


def _write_video(path: Path, frame: np.ndarray) -> None:
    """Four frames, a second long."""
    height, width = frame.shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 4, (width, height))
    for _ in range(4):
        writer.write(frame)
    writer.release()


@pytest.mark.slow
@pytest.mark.xdist_group("workspace")
def test_every_retinanet_command_runs(with_images):
    # A service does not end, and only a failed training writes the file of a step. test_reproduction.py reproduces.
    others = ("serve", "replay-step", "reproduce")
    selected = [c for c in commands() if " retinanet " in c and words(c)[1] not in others]
    assert len(selected) >= 8
    for command in selected:
        codes, options = 0, ""
        if words(command)[1] in ("promote", "rollback"):
            codes = (0, 1, EXIT_REFUSED, EXIT_UNDECIDED)
        if words(command)[1] == "count" and "--draw" not in command:
            table = with_images.folder / "counted.csv"
            table.write_text(re.sub(r",+$", lambda blank: blank[0].replace(",", ",1"), table.read_text(), flags=re.M))
        if words(command)[1] == "check-training":
            codes, options = (0, 1), " --steps 2"  # too few to overfit the batch
        if words(command)[1] == "init":
            options = " --dry-run"  # other tests need this workspace's params
        if words(command)[1] == "sweep":
            options = " --trials 2"
        output = with_images.run("bash", "-c", command.removeprefix("uv run ") + options, code=codes)
        assert "Traceback" not in output
    for block in blocks("python"):
        with_images.run(sys.executable, "-c", block)


@pytest.mark.slow
@pytest.mark.xdist_group("workspace")
@pytest.mark.parametrize("command", [c for c in commands([README]) if "dvc exp run" in c], ids=lambda c: c[15:35])
def test_every_dvc_experiment_runs(with_images, command):
    shared = with_images.folder.parent / "shared"
    if "../shared/" in command:
        if not (ROOT.parent / "shared/data/bccd.tar.gz").exists():
            pytest.skip("../shared/data/bccd.tar.gz does not exist")
        shared.symlink_to(ROOT.parent / "shared")
    small = " ".join(f"-S {key}={value}" for key, value in SMALL.items())
    runs, versions = with_images.counts()
    try:
        output = with_images.run("bash", "-c", f"{command.removeprefix('uv run ')} {small}")
        assert with_images.counts() == (runs + 1, versions + 1)
        if " -n giou " in command:
            _check_comparisons(with_images, output)
    finally:
        with_images.run("git", "checkout", "-q", ".")
        with_images.run("dvc", "checkout")
        shared.unlink(missing_ok=True)


def _check_comparisons(workspace, output: str) -> None:
    """An experiment with another loss leaves the data as they are, and DVC compares it with the commit."""
    assert "Stage 'prepare' didn't change" in output and "Running stage 'train'" in output
    assert "giou" in workspace.run("dvc", "exp", "show", "--md")
    assert "train.box_loss" in workspace.run("retinanet", "compare", "exp:giou", "HEAD")
    assert "AP50" in workspace.run("dvc", "metrics", "diff", "--md")
    workspace.run("dvc", "plots", "diff", "HEAD", "workspace", "-o", "plots")
    page = (workspace.folder / "plots/index.html").read_text(encoding="utf-8")
    assert "Training losses" in page and ".png" in page


@pytest.mark.slow
@pytest.mark.xdist_group("workspace")
@pytest.mark.parametrize(
    "command", [c for c in commands([README]) if re.match("uv run dvc (exp show|metrics|plots)", c)]
)
def test_every_command_that_shows_experiments_runs(with_images, command):
    with_images.run("bash", "-c", command.removeprefix("uv run "))


@pytest.mark.slow
@pytest.mark.xdist_group("workspace")
def test_served_model_answers_the_request(with_images):
    serve, request = next(block for block in blocks("bash") if "models serve" in block).strip().split("\n", 1)
    server = with_images.start("bash", "-c", f"exec env {serve.replace('uv run ', '')}")
    try:
        wait_for("http://127.0.0.1:5001/ping", server)
        answer = with_images.run("bash", "-c", request)
        assert '"boxes"' in answer and '"scores"' in answer
    finally:
        _end(server)


@pytest.mark.slow
@pytest.mark.xdist_group("workspace")
def test_mlflow_ui_starts(with_images):
    (command,) = [c for c in commands([README]) if " mlflow ui " in c]
    server = with_images.start("bash", "-c", f"exec {command.removeprefix('uv run ')}")
    try:
        wait_for("http://127.0.0.1:5000/health", server)
    finally:
        _end(server)


def _end(process: psutil.Popen) -> None:
    for member in [*process.children(recursive=True), process]:
        member.terminate()
    process.wait(30)

"""The whole pipeline on a small setting, in a clone of its own, as a user runs it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

ROOT = Path(__file__).parents[1]
SMALL = {
    "model": {"short_side": 128, "long_side": 128, "head_depth": 1},
    "train": {"epochs": 2, "batch_size": 8, "validate_every": 1, "learning_rate": 0.002},
    "evaluate": {"pictures": 2},
    "gradcam": {"pictures": 2, "score_threshold": 0.05},
    "promote": {"floor": 0.0},
}

pytestmark = pytest.mark.slow


class Workspace:
    def __init__(self, folder: Path):
        self.folder = folder
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "DVC"))}
        # The clone's own package comes first, as it would in an environment of its own.
        self.env |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(folder)}
        self.env |= {"DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}

    def run(self, *command: str, code: int = 0) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def start(self, *command: str) -> psutil.Popen:
        return psutil.Popen(command, cwd=self.folder, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", message)

    def set(self, section: str, **values) -> None:
        path = self.folder / "params.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        content[section] |= values
        path.write_text(yaml.safe_dump(content), encoding="utf-8")

    def json(self, path: str) -> dict:
        return json.loads((self.folder / path).read_text(encoding="utf-8"))

    def counts(self) -> tuple[int, int]:
        """Runs and versions in the store."""
        code = (
            "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db'); c = mlflow.MlflowClient();"
            "ids = [e.experiment_id for e in c.search_experiments()];"
            "print('counts', len(c.search_runs(ids)), len(c.search_model_versions()))"
        )
        line = next(x for x in self.run(sys.executable, "-c", code).splitlines() if x.startswith("counts"))
        return tuple(int(x) for x in line.split()[1:])


def clone(folder: Path) -> Path:
    """This repository's last commit in another place, with what was downloaded here already."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    cache = ROOT / ".cache" / "downloads"
    if cache.exists():
        shutil.copytree(cache, folder / ".cache" / "downloads")
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    """A clone after one `dvc repro`, committed."""
    folder = clone(tmp_path_factory.mktemp("pipeline") / "clone")
    workspace = Workspace(folder)
    for section, values in SMALL.items():
        workspace.set(section, **values)
    workspace.commit("small")
    said = workspace.run("dvc", "repro")
    assert "retinanet promote" in said and "reports/gradcam/index.html" in said and "mlflow ui" in said
    workspace.commit("made")
    return workspace


def test_all_is_there_and_registered(workspace):
    for path in (
        "models/model.safetensors",
        "models/export/model.onnx",
        "reports/evaluate/metrics.json",
        "reports/gradcam/index.html",
        "reports/train/history.csv",
    ):
        assert (workspace.folder / path).stat().st_size > 0, path
    assert workspace.json("models/registered.json") == {"name": "retinanet", "version": 1}
    assert workspace.json("reports/export.json")["matched_share"] >= 0.99
    assert workspace.counts() == (1, 1)


def test_a_second_repro_does_nothing(workspace):
    assert "up to date" in workspace.run("dvc", "repro")
    assert workspace.counts() == (1, 1)


def test_promotion_of_the_first_then_a_worse_one_is_refused(workspace):
    workspace.run("retinanet", "promote", "--dry-run")
    assert "production" in workspace.run("retinanet", "promote")
    picture = next((workspace.folder / "data/prepared/tiles").iterdir())
    workspace.run("retinanet", "predict", str(picture), "--model", "models:/retinanet@production", "--score", "0.05")
    assert any((workspace.folder / "predictions").iterdir())


def test_one_train_param_makes_one_run_and_one_version(workspace):
    said = workspace.run("dvc", "exp", "run", "-n", "other", "-S", "train.seed=7")
    assert "Stage 'prepare' didn't change" in said and "Running stage 'train'" in said
    assert workspace.counts() == (2, 2)
    assert "other" in workspace.run("dvc", "exp", "show", "--md")
    assert "AP50" in workspace.run("dvc", "metrics", "diff", "--md")
    workspace.run("dvc", "plots", "diff", "HEAD", "workspace", "-o", "plots")
    page = (workspace.folder / "plots/index.html").read_text(encoding="utf-8")
    assert "Training losses" in page and ".png" in page


def test_an_evaluation_under_other_settings_leaves_the_figures_of_the_run(workspace):
    runs, _ = workspace.counts()
    workspace.run("dvc", "exp", "run", "-S", "evaluate.nms_iou=0.3")
    # The figures go to a child run, and the weights already have their version.
    assert workspace.counts()[0] == runs + 1


def test_an_experiment_in_a_temporary_folder_writes_to_this_store(workspace):
    runs, versions = workspace.counts()
    workspace.run("dvc", "exp", "run", "--temp", "-S", "train.seed=8")
    assert workspace.counts() == (runs + 1, versions + 1)


def test_mistakes_get_one_line(workspace):
    workspace.set("train", epoch=3)
    said = workspace.run("python", "-m", "stages.train", code=1)
    assert said.strip() == "error: params.yaml: train.epoch is no known key; did you mean epochs?"

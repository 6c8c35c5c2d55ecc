"""The real pages in a browser: MLflow's frontend has its own format for saved views, which may change."""

import shutil
import subprocess
from pathlib import Path

import pytest
from support.mlflow_server import mlflow_server

from retinanet.tracking.registry import register
from retinanet.tracking.runs import start_run
from retinanet.tracking.store import open_client
from retinanet.tracking.view import model_page, runs_page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def page(address: str, profile: Path) -> str:
    """The HTML of a page after its scripts have run."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--window-size=1400,900"]
    command = [str(CHROMIUM), *options, "--virtual-time-budget=60000", "--dump-dom", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_pages_show_the_saved_view_and_the_model_card(root, toy_onnx, tmp_path, monkeypatch):
    with mlflow_server(tmp_path) as port:
        server = f"http://127.0.0.1:{port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
        for name, ap50 in (("epochs=5", 0.25), ("epochs=10", 0.75)):
            with start_run("birds", name) as run:
                run.log_params({"train.epochs": 3, "train.seed": 0})
                run.log_metrics({"test/AP50": ap50, "train/loss": 1.0})
        register("retinanet", run.id, toy_onnx(), "0" * 64, {"AP50": 0.75}, "today", ["cat"], card="# Card of cats")
        experiment = open_client().get_experiment_by_name("birds")
        runs = page(f"{server}/{runs_page(experiment.experiment_id)}", tmp_path / "profile")
        version = page(f"{server}/{model_page('retinanet').replace('?', '/versions/1?')}", tmp_path / "profile")
    assert "Sort: test/AP50" in runs and "Test metrics first" in runs
    assert runs.index("epochs=10") < runs.index("epochs=5")
    assert "train.epochs" in runs and "train.seed" not in runs and "train/loss" not in runs
    assert "<h1>Card of cats</h1>" in version or ">Card of cats<" in version

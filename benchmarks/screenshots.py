"""Screenshots of MLflow's pages for README, from a repository with finished runs and a version in production.

uv run --with playwright python -m benchmarks.screenshots REPOSITORY writes docs/images/mlflow.png and
docs/images/mlflow_version.png. It needs Debian's chromium. MLflow may write to the store: name a copy of one that must
not change.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.servers import free_port, started
from retinanet.config.params import load_params
from retinanet.errors import RetinanetError, exit_on_error
from retinanet.tracking.registered_weights import named_version, version_uri
from retinanet.tracking.registry import PRODUCTION
from retinanet.tracking.store import open_client
from retinanet.tracking.view import model_page, runs_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WIDTH = 1400  # pixels
RUNS_HEIGHT, VERSION_HEIGHT = 440, 900
LOADING_MS, DRAWING_MS = 120_000, 3000
# MLflow's frontend remembers here (tried with MLflow 3.17) that its assistant was opened once, and is closed.
WITHOUT_ASSISTANT = """
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
"""


@exit_on_error
def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path, help="a repository with finished runs and a version in production")
    os.chdir(parser.parse_args().repository)
    browser = shutil.which("chromium")
    if browser is None:
        raise RetinanetError("chromium is not installed; run apt-get install chromium")
    tracking = load_params().tracking
    client = open_client()
    experiment = client.get_experiment_by_name(tracking.experiment)
    if experiment is None:
        raise RetinanetError(f"the store has no experiment {tracking.experiment}; `dvc repro` creates it")
    version = named_version(client, version_uri(tracking.model_name, PRODUCTION)).version
    version_page = model_page(tracking.model_name).replace("?", f"/versions/{version}?")
    pages = {
        "mlflow.png": (runs_page(experiment.experiment_id), "Sort: test/AP50", RUNS_HEIGHT),
        "mlflow_version.png": (version_page, "Metrics on the test split", VERSION_HEIGHT),
    }
    server = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", "sqlite:///mlflow.db"]
    with (
        tempfile.TemporaryDirectory() as folder,
        started(command, f"{server}/health", Path(folder) / "mlflow.log"),
        sync_playwright() as playwright,
    ):
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for name, (page, text, height) in pages.items():
            _photograph(chromium, f"{server}/{page}", text, height, IMAGES / name)
        chromium.close()


def _photograph(chromium: "Browser", address: str, text: str, height: int, path: Path) -> None:
    """Write a PNG of a page once it shows this text, without the assistant and the notice about saved views."""
    page = chromium.new_page(viewport={"width": WIDTH, "height": height})
    page.set_default_timeout(LOADING_MS)
    page.add_init_script(WITHOUT_ASSISTANT)
    page.goto(address)
    page.get_by_text(text).first.wait_for()
    for notice in page.get_by_label("Hide banner").all():
        notice.click()
    page.wait_for_timeout(DRAWING_MS)  # the page polls its server, so that its network is never idle
    page.screenshot(path=path)
    print(f"screenshots: {path}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

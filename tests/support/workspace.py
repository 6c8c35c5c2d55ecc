"""A clone of this repository in which tests run the pipeline as a user does, on a small setting."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import yaml

ROOT = Path(__file__).parents[2]
SMALL: dict[str, dict[str, object]] = {
    "model": {"short_side": 128, "long_side": 128, "head_depth": 1},
    "train": {"epochs": 2, "batch_size": 8, "validate_every": 1, "learning_rate": 0.002},
    "evaluate": {"drawn_images": 2},
    "gradcam": {"cases_per_kind": 2},
    "promote": {"floor": 0.0},
}


class Workspace:
    """A clone in `folder`. Commands run in it with this environment's programs and the clone's own package."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.repro_output = ""  # of the `dvc repro` that the fixture `workspace` starts with
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "DVC"))}
        self.env |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        self.env |= {"PYTHONPATH": str(folder), "DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}

    def run(self, *command: str, code: int | tuple[int, ...] = 0) -> str:
        """Run a command, which must end with this exit code; returns what it prints on stdout and stderr."""
        codes = code if isinstance(code, tuple) else (code,)
        done = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode in codes, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def start(self, *command: str) -> psutil.Popen:
        return psutil.Popen(command, cwd=self.folder, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", message)

    def set(self, section: str, **values: object) -> None:
        """Change a section of params.yaml."""
        path = self.folder / "params.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        content[section] |= values
        path.write_text(yaml.safe_dump(content), encoding="utf-8")

    def json(self, path: str) -> dict:
        return json.loads((self.folder / path).read_text(encoding="utf-8"))

    def counts(self) -> tuple[int, int]:
        """The numbers of runs and of versions in the store."""
        runs, versions = self._query_store(
            "len(c.search_runs(ids)), len(c.search_model_versions(\"name = 'retinanet'\"))"
        )
        return int(runs), int(versions)

    def run_statuses(self) -> list[str]:
        """The status of each run in the store."""
        return self._query_store("*(run.info.status for run in c.search_runs(ids))")

    def _query_store(self, expression: str) -> list[str]:
        code = (
            "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db'); c = mlflow.MlflowClient();"
            f"ids = [e.experiment_id for e in c.search_experiments()]; print('found', {expression})"
        )
        line = next(x for x in self.run(sys.executable, "-c", code).splitlines() if x.startswith("found"))
        return line.split()[1:]


def clone(folder: Path) -> Path:
    """Clone this repository's last commit into a folder, with the downloads that are cached here."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    cache = ROOT / ".cache" / "downloads"
    if cache.exists():
        shutil.copytree(cache, folder / ".cache" / "downloads")
    return folder


def in_pipeline_repository() -> None:
    """Put stages/paths.py into the working directory, so that commands take it for a pipeline repository."""
    Path("stages").mkdir()
    shutil.copy(ROOT / "stages" / "paths.py", "stages")

import shutil
import subprocess
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from support.finished_pipeline import run_stages, write_project
from support.toy_onnx import write_toy_onnx

from retinanet.evaluation.matches import Matches
from retinanet.files import sha256_of
from retinanet.tracking.registered_weights import ARTIFACT
from retinanet.tracking.registry import register
from retinanet.tracking.runs import start_run
from retinanet.tracking.store import open_client

MODEL = "retinanet"


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """A store with its tables. Creating it takes seconds, so every test gets a copy."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        _use_folder(folder, patch)
        # MLflow's own use of SQLAlchemy is deprecated.
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            open_client()
    return folder / "mlflow.db"


@pytest.fixture
def root(tmp_path, monkeypatch, empty_database) -> Path:
    """The working directory: a repository with an empty store and one commit."""
    _use_folder(tmp_path, monkeypatch)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    Path(".gitignore").write_text("mlflow.db\nmlartifacts/\n.cache/\n*.npz\n")
    Path("dvc.yaml").write_text("stages: {}\n")
    commit()
    return tmp_path


@pytest.fixture(scope="session")
def finished_repository(tmp_path_factory, empty_database) -> Path:
    """A repository after the whole pipeline, with version 1; every test gets a copy."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        _use_folder(folder, patch)
        shutil.copy(empty_database, folder / "mlflow.db")
        write_project()
        commit()
        run_stages()
        _use_folder(folder, patch)  # registering sets MLFLOW_TRACKING_URI
    return folder


@pytest.fixture
def finished(finished_repository, tmp_path, monkeypatch) -> Path:
    """The working directory: a repository after the whole pipeline, with version 1."""
    # MLflow remembers where the artifacts of a run are; another test has the same run in another folder.
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_artifact_repos_cache", OrderedDict())
    _use_folder(shutil.copytree(finished_repository, tmp_path / "finished"), monkeypatch)
    return tmp_path / "finished"


@pytest.fixture
def make_version(root, toy_onnx) -> Callable[..., int]:
    """Register a version with this AP50 and this evaluation digest."""

    def make(ap50: float = 0.5, digest: str = "today", matches: Matches | None = None, **changed) -> int:
        with start_run("experiment") as run:
            run.begin_evaluation(digest)
            run.log_metrics({"AP50": ap50})
            if matches:
                matches.save(root / "matches.npz")
                run.log_artifact(root / "matches.npz", "evaluate")
        settings = {"model_sha256": str(ap50) + digest, "metrics": {"AP50": ap50}, "exported": toy_onnx()} | changed
        return register(MODEL, run_id=run.id, evaluation_digest=digest, class_names=["cat", "dog"], **settings)

    return make


@pytest.fixture
def registered(root, toy_onnx) -> Path:
    """The weights file that the run of version 1 has logged, in the repository `root`."""
    weights = root / Path(ARTIFACT).name
    weights.write_bytes(b"weights")
    with start_run("birds") as run:
        run.log_metrics({"AP50": 0.5})
        run.log_artifact(weights, str(Path(ARTIFACT).parent))
    register(MODEL, run.id, toy_onnx(), sha256_of(weights), {"AP50": 0.5}, "today", ["cat", "dog"])
    return weights


@pytest.fixture
def toy_onnx(tmp_path) -> Callable[[str], Path]:
    """Write a toy model into a folder of exported models, and return the folder."""

    def make(folder: str = "exported") -> Path:
        (tmp_path / folder).mkdir(exist_ok=True)
        write_toy_onnx(tmp_path / folder / "model.onnx")
        return tmp_path / folder

    return make


def commit() -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "--allow-empty", "-m", "state"]):
        subprocess.run(["git", *command], check=True)


@pytest.fixture
def commit_all() -> Callable[[], None]:
    return commit


def _use_folder(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(folder)
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        patch.delenv(name, raising=False)

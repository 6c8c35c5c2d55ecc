import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.read_only import run_read_only
from support.workspace import Workspace, in_pipeline_repository

from retinanet.errors import TrackingError
from retinanet.tracking.locations import database_path, registry_uri, tracking_uri
from retinanet.tracking.promotion import Gate, promote
from retinanet.tracking.registered_weights import resolve_weights
from retinanet.tracking.registry import check_digest, find_version, model_files
from retinanet.tracking.runs import start_run
from retinanet.tracking.store import open_client, open_experiment

ROOT = Path(__file__).parents[2]
MODEL = "retinanet"


@pytest.fixture
def copied(root, registered, tmp_path_factory, monkeypatch) -> Path:
    """The working directory: a copy of the repository, at a path with a space and an umlaut."""
    copy = tmp_path_factory.mktemp("moved") / "a cöpy"
    shutil.copytree(root, copy)
    monkeypatch.chdir(copy)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # register sets it, for its process
    return copy


@pytest.fixture
def moved(root, copied) -> Path:
    """The working directory: the repository after a move."""
    shutil.rmtree(root)
    root.mkdir()  # empty: pytest would give the name of a removed folder to the next test
    return copied


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_tracking_uri_is_at_the_repository_root_or_that_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.org")
    assert tracking_uri() == registry_uri() == "http://example.org"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:///mlflow.db", "sqlite:///{root}/mlflow.db"),
        ("sqlite:///store/my.db?timeout=5", "sqlite:///{root}/store/my.db?timeout=5"),
        ("sqlite+pysqlite:///my.db", "sqlite+pysqlite:///{root}/my.db"),
        ("sqlite:////elsewhere/my.db", "sqlite:////elsewhere/my.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://host/mlflow", "postgresql://host/mlflow"),
    ],
)
def test_relative_sqlite_uri_is_relative_to_the_repository(tmp_path, monkeypatch, uri, expected):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))  # as DVC sets it for a stage that it runs in a temporary copy
    for name, resolve in (("MLFLOW_TRACKING_URI", tracking_uri), ("MLFLOW_REGISTRY_URI", registry_uri)):
        monkeypatch.setenv(name, uri)
        assert resolve() == expected.format(root=tmp_path)


def test_database_path_of_a_server_is_none():
    assert database_path("sqlite:////a/my.db?timeout=5") == Path("/a/my.db")
    assert database_path("http://127.0.0.1:5000") is None


def test_version_of_a_moved_repository_is_promoted_and_its_files_are_found(moved):
    assert promote(MODEL, 1, Gate("AP50", 0.3, 0.0)).accepted
    client = open_client()
    version = find_version(client, MODEL, 1)
    check_digest(client, version)
    with model_files(client, version) as folder:
        assert folder.is_relative_to(moved)
    with resolve_weights("models:/retinanet@production") as weights:
        assert Path(weights).read_bytes() == b"weights"


@pytest.mark.slow
def test_mlflow_loads_a_version_of_a_moved_repository(moved):
    open_client()
    code = "import mlflow, sys; print(mlflow.pyfunc.load_model('models:/retinanet/1').metadata.flavors.keys())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"MLFLOW_TRACKING_URI": tracking_uri()}, capture_output=True, text=True
    )
    assert "python_function" in done.stdout, done.stderr


def test_copied_repository_reads_and_writes_its_own_artifacts_only(root, copied):
    before = files_below(root)
    (root / "mlartifacts" / "marker").write_text("still here")
    for experiment in ("birds", "fish"):
        with start_run(experiment) as run:
            run.log_artifact(copied / "trained.safetensors", "model")
        stored = copied / "mlartifacts" / run.id / "artifacts" / "model" / "trained.safetensors"
        assert stored.read_bytes() == b"weights"
    client = open_client()
    with model_files(client, find_version(client, MODEL, 1)) as folder:
        assert folder.is_relative_to(copied)
    (root / "mlartifacts" / "marker").unlink()
    assert files_below(root) == before


def test_copy_of_the_database_alone_finds_artifacts_where_they_still_are(
    root, registered, tmp_path_factory, monkeypatch
):
    copy = tmp_path_factory.mktemp("database")
    shutil.copy("mlflow.db", copy)
    monkeypatch.chdir(copy)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    client = open_client()
    with model_files(client, find_version(client, MODEL, 1)) as folder:
        assert folder.is_relative_to(root)
    assert client.get_experiment(open_experiment("birds")).artifact_location == (copy / "mlartifacts").as_uri()


def test_artifacts_of_a_sqlite_store_lie_beside_it(root, tmp_path_factory, monkeypatch):
    shared = tmp_path_factory.mktemp("shared")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shared}/runs.db")
    location = open_client().get_experiment(open_experiment("birds")).artifact_location
    assert location == (shared / "mlartifacts").as_uri()


def test_open_client_of_a_moved_repository_whose_database_stays_locked_is_an_error(moved, monkeypatch):
    monkeypatch.setattr("retinanet.tracking.locations.LOCK_TIMEOUT_S", 0.01)
    other = sqlite3.connect("mlflow.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # others can still read
    with pytest.raises(TrackingError, match="database is locked"):
        open_client()
    other.close()
    open_client()


@pytest.fixture
def read_only_copy(moved) -> Path:
    """A moved pipeline repository with a version in production; no program has opened its store since the move."""
    connection = sqlite3.connect("mlflow.db")
    with connection:
        statement = "INSERT INTO registered_model_aliases (name, alias, version) VALUES (?, 'production', 1)"
        connection.execute(statement, [MODEL])
    connection.close()
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    in_pipeline_repository()
    Image.new("RGB", (64, 48)).save("a.png")
    return moved


@pytest.mark.slow
def test_read_only_repository_shows_its_status_and_predicts(read_only_copy, tmp_path_factory):
    assert "production: version 1" in run_read_only(read_only_copy, "retinanet", "status").stdout
    out = tmp_path_factory.mktemp("found")
    model = ("--model", "models:/retinanet@production", "--out", str(out))
    done = run_read_only(read_only_copy, "retinanet", "predict", "a.png", *model)
    assert (out / "detections.json").exists(), done.stderr


@pytest.mark.slow
def test_promoting_in_a_read_only_repository_is_an_error_of_one_line(read_only_copy):
    with sqlite3.connect("mlflow.db") as connection:
        connection.execute("DELETE FROM registered_model_aliases")
    connection.close()
    force = ("--allow-dirty", "--force", "--reason", "a trial")
    done = run_read_only(read_only_copy, "retinanet", "promote", "--version", "1", *force)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "mlflow.db" in line and "it is read-only here; change it where it can be written" in line


@pytest.mark.slow
def test_experiments_that_dvc_runs_in_temporary_copies_log_to_a_relative_store(tmp_path):
    program = "from retinanet.tracking.runs import start_run\nwith start_run('birds') as run:\n    pass\n"
    (tmp_path / "log_run.py").write_text(program)
    stage = {"cmd": "python log_run.py", "params": ["seed"]}
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": {"log": stage}}))
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    (tmp_path / ".gitignore").write_text("mlflow.db\n.cache/\n")
    workspace = Workspace(tmp_path)
    workspace.env |= {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "PYTHONPATH": str(ROOT)}
    workspace.run("git", "init", "-q")
    workspace.run("dvc", "init", "-q")
    workspace.commit("state")
    workspace.run("dvc", "exp", "run", "--temp", "-n", "in-temp", "-S", "seed=1")
    workspace.run("dvc", "exp", "run", "--queue", "-n", "in-queue", "-S", "seed=2")
    workspace.run("dvc", "exp", "run", "--run-all")
    connection = sqlite3.connect(tmp_path / "mlflow.db")
    assert sorted(connection.execute("SELECT name, status FROM runs")) == [
        ("in-queue", "FINISHED"),
        ("in-temp", "FINISHED"),
    ]
    connection.close()

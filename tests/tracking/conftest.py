import json
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx.helper
import onnx.parser
import pytest

from retinanet.tracking.registry import register
from retinanet.tracking.runs import start_run
from retinanet.tracking.store import open_client

MODEL = "retinanet"


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """A made and upgraded store, which takes seconds; every test gets a copy."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        _live_in(folder, patch)
        # MLflow's own use of SQLAlchemy is deprecated.
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            open_client()
    return folder / "mlflow.db"


@pytest.fixture
def root(tmp_path, monkeypatch, empty_database) -> Path:
    """A repository with an empty store and one commit, which is the working directory."""
    _live_in(tmp_path, monkeypatch)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    Path(".gitignore").write_text("mlflow.db\nmlartifacts/\n.cache/\n")
    Path("dvc.yaml").write_text("stages: {}\n")
    commit()
    return tmp_path


@pytest.fixture
def make_version(root, toy_onnx) -> Callable[..., int]:
    """Register a version that has this AP50 under this evaluation digest."""

    def make(ap50: float = 0.5, digest: str = "today", **changed) -> int:
        with start_run("experiment") as run:
            run.log_metrics({"AP50": ap50})
        settings = {"model_sha256": str(ap50) + digest, "metrics": {"AP50": ap50}, "exported": toy_onnx()} | changed
        return register(MODEL, run_id=run.id, evaluation_digest=digest, class_names=["cat", "dog"], **settings)

    return make


@pytest.fixture
def toy_onnx(tmp_path) -> Callable[[str], Path]:
    """Export an ONNX file into a folder; it sees a cat of score 0.9 in the middle half of any image."""

    def make(folder: str = "exported") -> Path:
        model = onnx.parser.parse_model(TOY)
        about = {"class_names": ["cat", "dog"], "category_ids": [3, 7], "input_size": [64, 96]}
        onnx.helper.set_model_props(model, {"retinanet": json.dumps(about | {"padding": [0, 0, 0], "tiling": [0, 0]})})
        (tmp_path / folder).mkdir(exist_ok=True)
        onnx.save(model, tmp_path / folder / "model.onnx")
        return tmp_path / folder

    return make


def commit() -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "--allow-empty", "-m", "state"]):
        subprocess.run(["git", *command], check=True)


@pytest.fixture
def commit_all() -> Callable[[], None]:
    return commit


def _live_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(folder)
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        patch.delenv(name, raising=False)


TOY = """
<ir_version: 10, opset_import: ["" : 20]>
toy (uint8[N,H,W,3] images, int64[N,2] sizes)
  => (float[N,4] boxes, float[N] scores, int64[N] labels, int64[N] image_index)
{
  corners = Constant<value = float[2,4] {0.25, 0.0, 0.75, 0.0, 0.0, 0.25, 0.0, 0.75}>()
  backwards = Constant<value_ints = [1, 0]>()
  width_height = Gather<axis = 1>(sizes, backwards)
  sides = Cast<to = 1>(width_height)
  boxes = MatMul(sides, corners)
  batch = Shape<start = 0, end = 1>(sizes)
  score = Constant<value_floats = [0.9]>()
  scores = Expand(score, batch)
  label = Constant<value_ints = [0]>()
  labels = Expand(label, batch)
  zero = Constant<value_int = 0>()
  one = Constant<value_int = 1>()
  count = Squeeze(batch)
  image_index = Range(zero, count, one)
}
"""

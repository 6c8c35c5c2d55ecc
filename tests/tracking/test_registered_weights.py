from pathlib import Path

import pytest

from retinanet.errors import TrackingError
from retinanet.files import sha256_of
from retinanet.tracking.registered_weights import ARTIFACT, resolve_weights
from retinanet.tracking.registry import register
from retinanet.tracking.runs import start_run
from retinanet.tracking.store import open_client

MODEL = "retinanet"


@pytest.fixture
def registered(root, toy_onnx) -> Path:
    """Version 1, at the alias `production`, with what was trained in its run; and that file."""
    path = root / Path(ARTIFACT).name
    path.write_bytes(b"weights")
    with start_run("experiment") as run:
        run.log_artifact(path, str(Path(ARTIFACT).parent))
    register(MODEL, run.id, toy_onnx(), sha256_of(path), {"AP50": 0.5}, "today", ["cat", "dog"])
    open_client().set_registered_model_alias(MODEL, "production", "1")
    return path


@pytest.mark.parametrize("uri", ["models:/retinanet@production", "models:/retinanet/1"])
def test_a_versions_weights_are_those_of_its_run(registered, uri):
    with resolve_weights(uri) as weights:
        assert Path(weights).suffix == ".safetensors"
        assert Path(weights).read_bytes() == b"weights"
    assert not Path(weights).exists()


def test_changed_weights_are_refused(root, registered):
    (kept,) = (p for p in root.rglob(registered.name) if p != registered)
    kept.write_bytes(b"other weights")
    with pytest.raises(TrackingError, match=r"retinanet version 1: .* it was changed or damaged since"):
        resolve_weights("models:/retinanet/1").__enter__()


def test_a_run_without_weights_is_named(make_version):
    make_version()
    with pytest.raises(TrackingError, match=r"retinanet version 1: its run \w+ gives no model/model\.safetensors"):
        resolve_weights("models:/retinanet/1").__enter__()


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("models:/retinanet@nobody", "no version with the alias nobody"),
        ("models:/retinanet/7", "has no version 7"),
        ("models:/retinanet", "names no version"),
    ],
)
def test_a_version_that_is_not_there_is_said(registered, uri, says):
    with pytest.raises(TrackingError, match=says):
        resolve_weights(uri).__enter__()


def test_other_weights_stay_as_they_are_named():
    with resolve_weights("imagenet") as weights:
        assert weights == "imagenet"

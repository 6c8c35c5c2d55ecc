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
    """Register version 1, alias `production`, whose run has the weights; returns the weights file."""
    path = root / Path(ARTIFACT).name
    path.write_bytes(b"weights")
    with start_run("experiment") as run:
        run.log_artifact(path, str(Path(ARTIFACT).parent))
    register(MODEL, run.id, toy_onnx(), sha256_of(path), {"AP50": 0.5}, "today", ["cat", "dog"])
    open_client().set_registered_model_alias(MODEL, "production", "1")
    return path


@pytest.mark.parametrize("uri", ["models:/retinanet@production", "models:/retinanet/1"])
def test_resolve_weights_copies_the_weights_of_a_version_for_the_context(registered, uri):
    with resolve_weights(uri) as weights:
        assert Path(weights).suffix == ".safetensors"
        assert Path(weights).read_bytes() == b"weights"
    assert not Path(weights).exists()


def test_resolve_weights_with_changed_weights_is_an_error(root, registered):
    (stored,) = (p for p in root.rglob(registered.name) if p != registered)
    stored.write_bytes(b"other weights")
    with pytest.raises(TrackingError, match=r"retinanet version 1: sha256 mismatch .* it was changed or damaged"):
        resolve_weights("models:/retinanet/1").__enter__()


def test_resolve_weights_of_a_run_without_weights_is_an_error(make_version):
    make_version()
    with pytest.raises(TrackingError, match=r"retinanet version 1: its run \w+ has no model/model\.safetensors"):
        resolve_weights("models:/retinanet/1").__enter__()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models:/retinanet@nobody", "no version with the alias nobody"),
        ("models:/retinanet/7", "has no version 7"),
        ("models:/retinanet", "not a model version"),
    ],
)
def test_resolve_weights_of_an_unknown_version_is_an_error(registered, uri, message):
    with pytest.raises(TrackingError, match=message):
        resolve_weights(uri).__enter__()


def test_resolve_weights_returns_other_values_unchanged():
    with resolve_weights("imagenet") as weights:
        assert weights == "imagenet"

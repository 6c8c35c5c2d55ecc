from pathlib import Path

import pytest

from retinanet.errors import TrackingError
from retinanet.tracking.registered_weights import resolve_weights
from retinanet.tracking.store import open_client

MODEL = "retinanet"


@pytest.fixture
def in_production(registered) -> Path:
    """The weights file of version 1, which has the alias `production`."""
    open_client().set_registered_model_alias(MODEL, "production", "1")
    return registered


@pytest.mark.parametrize("uri", ["models:/retinanet@production", "models:/retinanet/1"])
def test_resolve_weights_copies_the_weights_of_a_version_for_the_context(in_production, uri):
    with resolve_weights(uri) as weights:
        assert Path(weights).suffix == ".safetensors"
        assert Path(weights).read_bytes() == b"weights"
    assert not Path(weights).exists()


def test_resolve_weights_with_changed_weights_is_an_error(root, in_production):
    (stored,) = (p for p in root.rglob(in_production.name) if p != in_production)
    stored.write_bytes(b"other weights")
    with pytest.raises(TrackingError, match=r"retinanet version 1: sha256 mismatch .* it was changed or damaged"):
        resolve_weights("models:/retinanet/1").__enter__()


def test_resolve_weights_of_a_run_without_weights_is_an_error(make_version):
    make_version()
    with pytest.raises(TrackingError, match=r"retinanet version 1: its run \w+ has no model/trained\.safetensors"):
        resolve_weights("models:/retinanet/1").__enter__()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models:/retinanet@nobody", "no version with the alias nobody"),
        ("models:/retinanet/7", "has no version 7"),
        ("models:/retinanet", "not a model version"),
    ],
)
def test_resolve_weights_of_an_unknown_version_is_an_error(in_production, uri, message):
    with pytest.raises(TrackingError, match=message):
        resolve_weights(uri).__enter__()


def test_resolve_weights_returns_other_values_unchanged():
    with resolve_weights("imagenet") as weights:
        assert weights == "imagenet"

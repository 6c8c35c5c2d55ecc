import json
import urllib.request
from functools import partial

import pytest
from support.service import Clients, running_service, wait_until

from retinanet.errors import TrackingError
from retinanet.tracking.served_versions import RegisteredModel
from retinanet.tracking.store import open_client

MODEL = "retinanet"


def test_alias_names_the_version_that_it_has_now(make_version):
    client = open_client()
    for number in (make_version(0.5), make_version(0.6)):
        client.set_registered_model_alias(MODEL, "production", number)
        source = RegisteredModel(f"models:/{MODEL}@production")
        assert (source.name, source.find(), source.follows) == (MODEL, str(number), True)
    client.set_registered_model_alias(MODEL, "production", "1")
    assert source.find() == "1"


def test_numbered_version_is_not_followed(make_version):
    make_version()
    assert not RegisteredModel(f"models:/{MODEL}/1").follows


def test_open_returns_the_detector_of_a_version(make_version):
    make_version()
    assert RegisteredModel(f"models:/{MODEL}/1").open("1").class_names == ("cat", "dog")


def test_version_with_changed_files_is_not_opened(make_version, root):
    make_version()
    [model] = root.glob("mlartifacts/**/model.onnx")
    model.write_bytes(model.read_bytes() + b"\n")
    with pytest.raises(TrackingError, match="digest mismatch"):
        RegisteredModel(f"models:/{MODEL}/1").open("1")


@pytest.mark.parametrize("uri", ["models:/retinanet@production", "models:/retinanet/7", "models:/retinanet"])
def test_missing_version_is_an_error(make_version, uri):
    make_version()
    with pytest.raises(TrackingError):
        RegisteredModel(uri)


@pytest.mark.slow
def test_service_follows_promotions_and_rollbacks_without_losing_a_request(make_version, root):
    client = open_client()
    for number in (1, 2):
        make_version(number / 10)
    client.set_registered_model_alias(MODEL, "production", "1")
    with running_service(root, "--model", f"models:/{MODEL}@production", "--follow", "1") as service:
        clients = Clients(service)
        with clients.asking(4):
            for number in ("2", "1"):
                client.set_registered_model_alias(MODEL, "production", number)
                wait_until(partial(_is_last_answer, clients, number))
    assert not clients.lost
    assert {status for status, _ in clients.answers} == {200}
    versions = [answer["version"] for _, answer in clients.answers]
    assert set(versions) == {"1", "2"}
    assert service.log == ""


def _is_last_answer(clients: Clients, version: str) -> bool:
    return clients.answers[-1:] == [(200, _answer(version))]


def _answer(version: str) -> dict:
    result = {"boxes": [[16, 12, 48, 36]], "scores": [0.9], "labels": ["cat"], "error": None}
    return {"model": MODEL, "version": version, "results": [result]}


@pytest.mark.slow
def test_service_keeps_its_version_while_the_new_one_is_damaged_or_the_store_is_down(make_version, root, toy_onnx):
    client = open_client()
    for number in (1, 2):
        make_version(number / 10)
    client.set_registered_model_alias(MODEL, "production", "1")
    with running_service(root, "--model", f"models:/{MODEL}@production", "--follow", "1") as service:
        model = max(root.glob("mlartifacts/**/model.onnx"), key=lambda path: path.stat().st_mtime_ns)
        model.write_bytes(model.read_bytes() + b"\n")
        client.set_registered_model_alias(MODEL, "production", "2")
        wait_until(lambda: "digest mismatch" in _problem(service))
        client.set_registered_model_alias(MODEL, "production", "1")
        wait_until(lambda: _problem(service) == "")
        (root / "mlflow.db").write_bytes(b"no database")
        wait_until(lambda: _problem(service))
        assert service.ask() == (200, _answer("1"))


def _problem(service) -> str:
    with urllib.request.urlopen(f"{service.url}/health", timeout=10) as answer:
        return json.load(answer)["problem"] or ""

import time

import pytest
from support.toy_onnx import write_toy_onnx

from retinanet.errors import RetinanetError, TrackingError, WeightsError
from retinanet.files import sha256_of
from retinanet.serving import models
from retinanet.serving.metrics import Metrics
from retinanet.serving.models import ModelFile, Models


def open_models(source) -> Models:
    return Models(source, Metrics())


def test_version_that_the_source_names_replaces_the_current_one(source, capsys):
    opened = open_models(source)
    source.version = "2"
    opened.refresh()
    assert (opened.current.version, opened.problem) == ("2", None)
    assert capsys.readouterr().out.splitlines() == ["serving pets version 1", "serving pets version 2"]


def test_model_is_warmed_up_before_it_is_served(source):
    open_models(source)
    assert source.network.batches == [1]


@pytest.mark.parametrize("error", [TrackingError("the store is down"), OSError("disk"), ValueError("bug")])
def test_store_that_is_down_is_no_reason_to_stop(source, error, capsys):
    opened = open_models(source)
    source.error = error
    opened.refresh()
    opened.refresh()
    assert opened.current.version == "1" and opened.problem
    assert capsys.readouterr().err.count("still serving version 1: ") == 1
    source.error = None
    opened.refresh()
    assert opened.problem is None


@pytest.mark.parametrize(("retry_s", "attempts"), [(60, 1), (0, 3)])
def test_version_that_cannot_be_opened_is_left_alone_for_a_while(source, monkeypatch, retry_s, attempts):
    monkeypatch.setattr(models, "RETRY_S", retry_s)
    opened = open_models(source)
    source.version = "damaged"
    for _ in range(3):
        opened.refresh()
        assert opened.problem == "unexpected RuntimeError; the log has the traceback"
    assert source.opened == ["1", *["damaged"] * attempts]
    source.version = "2"
    opened.refresh()
    assert (opened.current.version, opened.problem) == ("2", None)


def test_rollback_after_a_version_that_cannot_be_opened_clears_the_problem(source):
    opened = open_models(source)
    source.version = "damaged"
    opened.refresh()
    source.version = "1"
    opened.refresh()
    assert (opened.current.version, opened.problem) == ("1", None)


def test_models_follow_until_they_end(source):
    opened = open_models(source)
    opened.follow(0.01)
    source.version = "2"
    deadline = time.monotonic() + 10
    while opened.current.version != "2" and time.monotonic() < deadline:
        time.sleep(0.01)
    opened.end()
    assert opened.current.version == "2"


def test_first_version_that_cannot_be_opened_is_an_error(source):
    source.error = RetinanetError("no such model")
    with pytest.raises(RetinanetError, match="no such model"):
        open_models(source)


def test_file_is_a_model_whose_version_is_its_hash(tmp_path):
    write_toy_onnx(tmp_path / "model.onnx")
    opened = open_models(ModelFile(tmp_path / "model.onnx"))
    assert opened.current.name == "model.onnx"
    assert opened.current.version == sha256_of(tmp_path / "model.onnx")[:12]
    assert opened.current.detector.class_names == ("cat", "dog")


@pytest.mark.parametrize(("name", "error"), [("a.safetensors", "not an exported model"), ("a.onnx", "does not exist")])
def test_file_that_is_not_an_exported_model_is_refused(tmp_path, name, error):
    with pytest.raises(WeightsError, match=error):
        ModelFile(tmp_path / name)

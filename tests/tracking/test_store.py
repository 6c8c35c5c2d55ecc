import sqlite3

import pytest

from retinanet.errors import TrackingError
from retinanet.tracking import store
from retinanet.tracking.store import is_writable, open_client, open_store, tracking_uri


def test_the_store_lies_at_the_root_also_for_a_stage_in_a_temporary_copy(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.org")
    assert tracking_uri() == "http://example.org"


def test_an_experiment_is_made_once(root):
    first, second = open_store("birds"), open_store("birds")
    assert first.experiment_id == second.experiment_id
    location = first.client.get_experiment(first.experiment_id).artifact_location
    assert location == (root / "mlartifacts").as_uri()


def test_a_deleted_experiment_is_said(root):
    client, experiment_id = open_store("birds")
    client.delete_experiment(experiment_id)
    with pytest.raises(TrackingError, match="birds is deleted"):
        open_store("birds")


def test_a_server_that_is_away_is_said_within_seconds(root, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9.*start the server"):
        open_store("birds")


def test_a_locked_database_does_not_answer(root, monkeypatch):
    monkeypatch.setattr(store, "LOCKED_AFTER_S", 0.01)
    open_client()
    assert is_writable()
    other = sqlite3.connect("mlflow.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert not is_writable()
    other.close()


def test_patience_ends(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", store.SHORT_TIMEOUTS["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    with store.long_timeouts():
        assert store.os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "120"
        assert store.os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "7"  # a person chose it
    assert store.os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "3"

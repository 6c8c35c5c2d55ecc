import sqlite3

import pytest

from retinanet.errors import TrackingError
from retinanet.tracking import store
from retinanet.tracking.store import is_writable, open_client, open_store, tracking_uri


def test_tracking_uri_is_at_the_repository_root_or_that_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.org")
    assert tracking_uri() == "http://example.org"


def test_open_store_creates_an_experiment_once(root):
    first, second = open_store("birds"), open_store("birds")
    assert first.experiment_id == second.experiment_id
    location = first.client.get_experiment(first.experiment_id).artifact_location
    assert location == (root / "mlartifacts").as_uri()


def test_open_store_with_a_deleted_experiment_is_an_error(root):
    client, experiment_id = open_store("birds")
    client.delete_experiment(experiment_id)
    with pytest.raises(TrackingError, match="birds is deleted"):
        open_store("birds")


def test_open_store_with_an_unreachable_server_is_an_error_within_seconds(root, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9.*start the server"):
        open_store("birds")


def test_is_writable_is_false_while_the_database_is_locked(root, monkeypatch):
    monkeypatch.setattr(store, "LOCK_TIMEOUT_S", 0.01)
    open_client()
    assert is_writable()
    other = sqlite3.connect("mlflow.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert not is_writable()
    other.close()


def test_long_timeouts_are_restored_and_keep_what_the_user_set(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", store.SHORT_TIMEOUTS["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    with store.long_timeouts():
        assert store.os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "120"
        assert store.os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "7"  # the user set it
    assert store.os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "3"

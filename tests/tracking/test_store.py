import sqlite3

import pytest

from retinanet.errors import TrackingError
from retinanet.tracking import store
from retinanet.tracking.store import open_client, open_experiment, write_obstacle


def test_open_experiment_creates_an_experiment_once(root):
    first, second = open_experiment("birds"), open_experiment("birds")
    assert first == second
    location = open_client().get_experiment(first).artifact_location
    assert location == (root / "mlartifacts").as_uri()


def test_open_experiment_with_a_deleted_experiment_is_an_error(root):
    experiment_id = open_experiment("birds")
    open_client().delete_experiment(experiment_id)
    with pytest.raises(TrackingError, match="birds is deleted"):
        open_experiment("birds")


def test_open_experiment_with_an_unreachable_server_is_an_error_within_seconds(root, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9.*start the server"):
        open_experiment("birds")


def test_write_obstacle_is_the_lock_of_the_database(root, monkeypatch):
    monkeypatch.setattr(store, "LOCK_TIMEOUT_S", 0.01)
    open_client()
    assert write_obstacle() is None
    other = sqlite3.connect("mlflow.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert write_obstacle() == "database is locked"
    other.close()


def test_long_timeouts_are_restored_and_keep_what_the_user_set(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", store.SHORT_TIMEOUTS["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    with store.long_timeouts():
        assert store.os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "120"
        assert store.os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "7"  # the user set it
    assert store.os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "3"

import os
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


def test_open_experiment_that_another_machine_creates_at_the_same_time_opens_it(root, monkeypatch):
    client, other = open_client(), open_client()
    find = client.get_experiment_by_name

    def find_before_the_other_creates_it(name):
        monkeypatch.setattr(client, "get_experiment_by_name", find)
        other.create_experiment(name)

    monkeypatch.setattr(client, "get_experiment_by_name", find_before_the_other_creates_it)
    monkeypatch.setattr(store, "open_client", lambda: client)
    assert open_experiment("birds") == other.get_experiment_by_name("birds").experiment_id


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


@pytest.mark.parametrize(("size", "seconds"), [(0, "2"), (1, "3"), (100_000_000, "102")])
def test_long_timeouts_depend_on_the_size_and_are_restored(monkeypatch, size, seconds):
    monkeypatch.setenv(store.TIMEOUT, store.SHORT_TIMEOUTS[store.TIMEOUT])
    with store.long_timeouts(size):
        assert os.environ[store.TIMEOUT] == seconds
    assert os.environ[store.TIMEOUT] == "2"


def test_long_timeouts_keep_what_the_user_set(monkeypatch):
    monkeypatch.setenv(store.TIMEOUT, "7")
    with store.long_timeouts(100_000_000):
        assert os.environ[store.TIMEOUT] == "7"


@pytest.mark.parametrize(
    ("location", "package"), [("s3://bucket/a", "boto3"), ("gs://bucket/a", "google.cloud.storage")]
)
def test_artifact_store_without_its_package_is_an_error_that_says_what_to_install(monkeypatch, location, package):
    monkeypatch.setattr(store, "find_spec", lambda name: None)
    with pytest.raises(TrackingError, match=f"{location}: .* needs {package}, which is not installed; run pip install"):
        store.require_package(location)


def test_local_and_proxied_artifacts_need_no_package():
    for location in ("file:///a", "/a", "mlflow-artifacts:/1", "http://127.0.0.1:5000/a"):
        store.require_package(location)


def test_store_in_a_missing_folder_is_created(root, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///new/runs.db")
    assert write_obstacle() is None
    open_client()
    assert (root / "new" / "runs.db").exists()

"""Runs on a real `mlflow server`, behind a proxy that refuses or stalls."""

import json
import time
from pathlib import Path

import pytest
from support.mlflow_server import Proxy, mlflow_server

from retinanet.errors import TrackingError
from retinanet.tracking import delivery
from retinanet.tracking.registry import versions
from retinanet.tracking.runs import resume_run, start_run, write_run_file
from retinanet.tracking.status import status_text
from retinanet.tracking.store import open_client, open_experiment
from retinanet.tracking.sync import sync
from retinanet.tracking.verify import verify
from stages import paths

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mlflow-server")]

RUN_FILE = Path("run.json")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("server")) as port:
        yield port


@pytest.fixture
def proxy(root, server, monkeypatch):
    """A proxy that passes everything on; the tracking URI has a user's name and password."""
    proxy = Proxy(server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{proxy.port}")
    monkeypatch.setattr(delivery, "RETRY_AFTER_S", 0.0)
    Path("report").mkdir()
    for name, size in (("a.html", 100), ("large.html", 100_000), ("z.html", 100)):
        Path("report", name).write_text("x" * size)
    yield proxy
    proxy.close()


def stored_files(run_id: str) -> list[str]:
    return [file.path for file in open_client().list_artifacts(run_id)]


def test_what_a_proxy_refuses_for_good_is_named_once_and_everything_behind_it_arrives(proxy, capsys):
    proxy.answer = lambda path, size, token: 413 if size > 50_000 else None
    with start_run("birds") as run:
        run.log_artifacts(Path("report"))
        run.log_metrics({"loss": 1.0}, step=1)
    stored = open_client().get_run(run.id)
    assert (stored.data.metrics, stored.info.status) == ({"loss": 1.0}, "FINISHED")
    assert stored_files(run.id) == ["a.html", "z.html"]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "large.html" in line]
    assert "left out" in line and "413" in line and "client_max_body_size" in line


def test_entries_after_a_token_expired_arrive_once_there_is_a_new_one(proxy, capsys, monkeypatch):
    accepted = ["Bearer old"]
    proxy.answer = lambda path, size, token: None if token in accepted else 401
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "old")
    with start_run("birds") as run:
        run.log_metrics({"loss": 2.0}, step=1)
        accepted[:] = ["Bearer new"]
        run.log_metrics({"loss": 1.0}, step=2)
        run.log_artifact(Path("report/a.html"))
    write_run_file(RUN_FILE, run, "0" * 64)
    assert capsys.readouterr().out.count("set MLFLOW_TRACKING_TOKEN") == 1
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "new")
    with resume_run(RUN_FILE):
        pass
    stored = open_client().get_run(run.id)
    assert (stored.data.metrics, stored.info.status) == ({"loss": 1.0}, "FINISHED")
    assert stored_files(run.id) == ["a.html"]


@pytest.mark.parametrize("failure", ["hangs", "hangs on uploads", 503])
def test_server_that_fails_delays_training_by_less_than_10_s_and_loses_nothing(proxy, monkeypatch, failure):
    monkeypatch.setattr(delivery, "RETRY_AFTER_S", 30.0)

    def fail(path, size, token):
        if failure == "hangs" or (failure == "hangs on uploads" and "mlflow-artifacts" in path):
            time.sleep(30)
        return failure if failure == 503 else None

    with start_run("birds") as run:
        run.log_metrics({"loss": 3.0}, step=1)
        run.log_system_metrics(interval_s=0.2)
        proxy.answer = fail
        started = time.monotonic()
        run.log_artifacts(Path("report"))
        for step in range(2, 12):
            run.log_metrics({"loss": 2.0}, step=step)
        assert time.monotonic() - started < 10
        started = time.monotonic()
    assert time.monotonic() - started < 10
    proxy.answer = lambda path, size, token: None
    write_run_file(RUN_FILE, run, "0" * 64)
    with resume_run(RUN_FILE):
        pass
    assert len(open_client().get_metric_history(run.id, "loss")) == 11
    assert open_client().get_run(run.id).info.status == "FINISHED"
    assert stored_files(run.id) == ["a.html", "large.html", "z.html"]


def test_system_metrics_go_on_after_the_server_was_away(proxy):
    with start_run("birds") as run:
        run.log_system_metrics(interval_s=0.1)
        proxy.answer = lambda path, size, token: 503
        run.log_metrics({"loss": 2.0}, step=1)
        time.sleep(1)  # MLflow's thread ends at its first failure
        proxy.answer = lambda path, size, token: None
        run.log_metrics({"loss": 1.0}, step=2)
        before = open_client().get_metric_history(run.id, "system/cpu_utilization_percentage")
        deadline = time.monotonic() + 30
        while len(open_client().get_metric_history(run.id, "system/cpu_utilization_percentage")) <= len(before):
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_run_deleted_on_the_server_is_replaced(proxy):
    with start_run("birds") as run:
        run.log_metrics({"loss": 2.0}, step=1)
        deleted = run.id
        open_client().delete_run(deleted)
        run.log_metrics({"loss": 1.0}, step=2)
    stored = open_client().get_run(run.id)
    assert (stored.data.tags["restored_from"], stored.info.status) == (deleted, "FINISHED")
    assert [m.value for m in open_client().get_metric_history(run.id, "loss")] == [2.0, 1.0]


def test_experiment_deleted_on_the_server_does_not_end_the_training(proxy, capsys):
    with start_run("fish") as run:
        experiment_id = open_client().get_run(run.id).info.experiment_id
        open_client().delete_experiment(experiment_id)
        run.log_metrics({"loss": 1.0}, step=1)
    assert "experiment fish is deleted" in capsys.readouterr().out
    write_run_file(RUN_FILE, run, "0" * 64)
    open_client().restore_experiment(experiment_id)
    with resume_run(RUN_FILE):
        pass
    assert open_client().get_run(run.id).data.metrics == {"loss": 1.0}


def test_password_of_the_tracking_uri_is_neither_printed_nor_written(proxy, capsys):
    proxy.answer = lambda path, size, token: 503
    with start_run("birds") as run:
        run.log_metrics({"loss": 1.0})
    write_run_file(RUN_FILE, run, "0" * 64)
    with pytest.raises(TrackingError) as error:
        status_text("retinanet", "AP50", None)
    proxy.answer = lambda path, size, token: None
    with resume_run(RUN_FILE) as run:
        run.log_dataset("birds", "d", "https://me:secret@127.0.0.1/birds.zip", "training")
    text = status_text("retinanet", "AP50", None)
    output = capsys.readouterr()
    files = [path.read_text() for path in [RUN_FILE, *Path(".cache").rglob("*.jsonl")]]
    shown = [
        output.out,
        output.err,
        str(error.value),
        text,
        *files,
        json.dumps(open_client().get_run(run.id).to_dictionary()),
    ]
    assert not any("secret" in part for part in shown)
    assert f"me:***@127.0.0.1:{proxy.port}" in text


def test_s3_store_without_boto3_is_an_error_of_one_line_that_says_what_to_install(root, tmp_path, monkeypatch):
    with mlflow_server(tmp_path, "--default-artifact-root", "s3://bucket/runs", "--no-serve-artifacts") as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        monkeypatch.setitem(__import__("sys").modules, "boto3", None)  # as if it were not installed
        with pytest.raises(
            TrackingError, match=r"s3://bucket/runs.*needs boto3.*pip install 'retinanet\[s3\]'"
        ) as error:
            for _ in range(10):  # a busy server may not answer in time, which does not stop a run
                start_run("birds")
    assert len(str(error.value).splitlines()) == 1


def test_sync_restores_run_and_version_on_a_server_once(finished, server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server}")
    assert "export: registered as retinanet version 1" in sync("retinanet", paths)
    assert sync("retinanet", paths) == []
    client = open_client()
    assert len(client.search_runs([open_experiment("retinanet")])) == len(versions(client, "retinanet")) == 1
    _, checks = verify("retinanet", "1", None)
    assert [check for check in checks if check.problems] == []


def test_sync_with_a_stopped_server_is_an_error(finished, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError, match="start the server"):
        sync("retinanet", paths)

"""Runs on a store that changes under them: real SQLite stores here, real servers in test_servers.py."""

import json
from pathlib import Path

import pytest

from retinanet.errors import TrackingError
from retinanet.tracking import delivery
from retinanet.tracking.runs import evaluation_run, resume_run, start_run, write_run_file
from retinanet.tracking.store import open_client, open_experiment

RUN_FILE = Path("run.json")


def active_runs():
    client = open_client()
    return client.search_runs([client.get_experiment_by_name("birds").experiment_id])


def history(run_id, name):
    return [(m.step, m.value) for m in open_client().get_metric_history(run_id, name)]


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch):
    monkeypatch.setattr(delivery, "RETRY_AFTER_S", 0.0)


@pytest.fixture
def report(root) -> Path:
    Path("report.html").write_text("as logged")
    return Path("report.html")


def test_run_deleted_while_it_trains_is_replaced_by_one_with_everything(root, report, capsys):
    with start_run("birds", "first") as run:
        run.log_params({"epochs": 3})
        run.log_metrics({"loss": 3.0}, step=1)
        run.log_artifact(report)
        deleted = run.id
        open_client().delete_run(deleted)
        run.log_metrics({"loss": 2.0}, step=2)
    (only,) = active_runs()
    assert only.info.run_id == run.id != deleted
    assert (only.info.run_name, only.info.status) == ("first", "FINISHED")
    assert (only.data.params, only.data.tags["restored_from"]) == ({"epochs": "3"}, deleted)
    assert history(run.id, "loss") == [(1, 3.0), (2, 2.0)]
    assert [file.path for file in open_client().list_artifacts(run.id)] == ["report.html"]
    assert capsys.readouterr().out.count("is deleted") == 1


def test_artifact_of_a_deleted_run_goes_to_the_run_that_replaces_it(root, report):
    with start_run("birds") as run:
        open_client().delete_run(run.id)
        run.log_artifact(report)
    assert [file.path for file in open_client().list_artifacts(run.id)] == ["report.html"]
    assert [r.info.run_id for r in active_runs()] == [run.id]


def test_deleted_evaluation_run_is_replaced_below_its_parent(root):
    with start_run("birds") as parent:
        pass
    write_run_file(RUN_FILE, parent, "0" * 64)
    with evaluation_run(RUN_FILE, "one"):
        pass
    with evaluation_run(RUN_FILE, "two") as child:
        child.log_metrics({"AP50": 0.5})
        open_client().delete_run(child.id)
        child.log_metrics({"AP": 0.25})
    stored = open_client().get_run(child.id)
    assert (stored.data.tags["mlflow.parentRunId"], stored.data.metrics) == (parent.id, {"AP50": 0.5, "AP": 0.25})


def test_experiment_deleted_while_it_trains_keeps_the_entries_until_it_is_restored(root, capsys):
    with start_run("birds") as run:
        run.log_metrics({"loss": 2.0}, step=1)
        experiment_id = open_experiment("birds")
        open_client().delete_experiment(experiment_id)
        run.log_metrics({"loss": 1.0}, step=2)
    write_run_file(RUN_FILE, run, "0" * 64)
    output = capsys.readouterr().out
    assert output.count("experiment birds is deleted; `mlflow experiments restore") == 1
    assert "the next stage sends them" in output
    open_client().restore_experiment(experiment_id)
    with resume_run(RUN_FILE) as later:
        later.log_metrics({"AP50": 0.5})
    (only,) = active_runs()
    assert (only.info.run_id, only.info.status) == (run.id, "FINISHED")
    assert history(run.id, "loss") == [(1, 2.0), (2, 1.0)]


def test_start_run_in_a_deleted_experiment_is_an_error(root):
    open_client().delete_experiment(open_experiment("birds"))
    with pytest.raises(TrackingError, match="experiment birds is deleted"):
        start_run("birds")


def test_entry_that_the_store_refuses_is_named_once_and_left_out(root, capsys):
    with start_run("birds") as run:
        run.log_dataset("x" * 501, "d" * 36, "data/raw", "training")  # MLflow allows 500 characters
        run.log_metrics({"loss": 1.0})
    (only,) = active_runs()
    assert (only.info.status, only.data.metrics) == ("FINISHED", {"loss": 1.0})
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("tracking:")]
    assert line.startswith("tracking: left out: dataset: ")


def test_waiting_artifact_is_stored_as_it_was_when_it_was_logged(root, report, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "write_obstacle", lambda: "the disk is away")
        with start_run("birds") as run:
            run.log_artifact(report)
    report.write_text("of the next experiment")
    write_run_file(RUN_FILE, run, "0" * 64)
    with resume_run(RUN_FILE) as later:
        pass
    stored = open_client().download_artifacts(later.id, "report.html")
    assert Path(stored).read_text() == "as logged"
    assert list(Path(".cache/tracking").glob("*.artifacts")) == []


def test_artifact_store_that_fails_holds_up_artifacts_only(root, report, monkeypatch, capsys):
    def no_credentials(*arguments):
        raise RuntimeError("Unable to locate credentials")  # as botocore, which has errors of its own

    with monkeypatch.context() as patch, start_run("birds") as run:
        patch.setattr("mlflow.MlflowClient.log_artifact", no_credentials)
        run.log_artifact(report)
        run.log_artifact(report, "again")
        run.log_metrics({"loss": 1.0})
        run.end()
        write_run_file(RUN_FILE, run, "0" * 64)
        assert open_client().get_run(run.id).data.metrics == {"loss": 1.0}
        assert open_client().get_run(run.id).info.status == "FINISHED"
    assert capsys.readouterr().out.count("report.html could not be stored (Unable to locate credentials)") == 1
    with resume_run(RUN_FILE):
        pass
    assert [file.path for file in open_client().list_artifacts(run.id)] == ["again", "report.html"]


def test_pause_between_attempts_doubles_up_to_a_limit(root, monkeypatch):
    attempts, now = [], [0.0]
    monkeypatch.setattr(delivery, "RETRY_AFTER_S", 30.0)
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(delivery, "write_obstacle", lambda: attempts.append(now[0]) or "locked")
    run = start_run("birds")
    for second in range(0, 1500, 10):
        now[0] = float(second)
        run.log_metrics({"loss": 1.0})
    assert attempts == [0, 30, 90, 210, 450, 930, 1410]


def test_run_file_has_no_tracking_uri(root):
    with start_run("birds") as run:
        pass
    write_run_file(RUN_FILE, run, "0" * 64)
    assert json.loads(RUN_FILE.read_text()) == {"run_id": run.id, "experiment": "birds", "model_sha256": "0" * 64}

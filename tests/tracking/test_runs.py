import json
import sqlite3
from contextlib import contextmanager
from pathlib import Path

import pytest

from retinanet.errors import TrackingError
from retinanet.tracking import delivery, runs, store
from retinanet.tracking.runs import evaluation_run, resume_run, start_run, write_run_file
from retinanet.tracking.store import open_client, open_experiment

RUN_FILE = Path("run.json")


def stored(run_id):
    return open_client().get_run(run_id)


def all_runs():
    client, experiment_id = open_client(), open_experiment("birds")
    return client.search_runs([experiment_id])


@contextmanager
def locked():
    other = sqlite3.connect("mlflow.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    yield
    other.execute("ROLLBACK")
    other.close()


@pytest.fixture
def trained(root) -> str:
    with start_run("birds", "first") as run:
        run.log_metrics({"loss": 1.0}, step=1)
    write_run_file(RUN_FILE, run, "0" * 64)
    return run.id


def test_run_stores_everything_that_is_logged(root):
    Path("report").mkdir()
    Path("report/a.txt").write_text("hello")
    with start_run("birds", "first") as run:
        run.log_params({"train.epochs": 3, "long": "x" * 9000})
        run.log_metrics({"loss": 2.0, "AP@50": 0.5}, step=1)
        run.log_metrics({"loss": 1.0}, step=2)
        run.log_artifacts(Path("report"), "train")
        run.log_artifact(Path("report/a.txt"))
        run.log_dataset("birds", "d" * 64, "data/raw", "training", {"images": 3})
    found = stored(run.id)
    assert (found.info.run_name, found.info.status) == ("first", "FINISHED")
    assert found.data.params["train.epochs"] == "3"
    assert found.data.metrics == {"loss": 1.0, "AP_50": 0.5}
    assert found.data.tags["dirty"] == "false"
    assert [m.value for m in open_client().get_metric_history(run.id, "loss")] == [2.0, 1.0]
    assert [f.path for f in open_client().list_artifacts(run.id)] == ["a.txt", "train"]
    assert found.inputs.dataset_inputs[0].dataset.name == "birds"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(143), "KILLED"),
        (SystemExit(1), "FAILED"),
        (ValueError(), "FAILED"),
        (SystemExit(0), "FINISHED"),
    ],
)
def test_status_of_a_run_depends_on_the_exception_that_ends_it(root, error, status):
    with pytest.raises(type(error)), start_run("birds") as run:
        raise error
    assert stored(run.id).info.status == status


def test_failure_to_end_a_run_does_not_replace_the_exception_that_ends_the_program(root, monkeypatch, capsys):
    monkeypatch.setattr(runs.Run, "end", lambda run, status: (_ for _ in ()).throw(OSError("No space left on device")))
    with pytest.raises(SystemExit) as exit_143, start_run("birds"):
        raise SystemExit(143)
    assert exit_143.value.code == 143
    assert "is not marked KILLED: No space left on device" in capsys.readouterr().err


def test_failure_to_end_a_finished_run_is_raised(root, monkeypatch):
    monkeypatch.setattr(runs.Run, "end", lambda run, status: (_ for _ in ()).throw(OSError("No space left on device")))
    with pytest.raises(OSError, match="No space"), start_run("birds"):
        pass


def test_start_run_resumes_an_interrupted_run_under_its_id(root):
    with pytest.raises(KeyboardInterrupt), start_run("birds") as first:
        first.log_params({"epochs": 3})
        raise KeyboardInterrupt
    with start_run("birds", resume_run_id=first.id) as second:
        assert stored(first.id).info.status == "RUNNING"
        second.log_params({"epochs": 3, "more": 1})
    assert second.id == first.id
    assert stored(first.id).info.status == "FINISHED"
    assert stored(first.id).data.params == {"epochs": "3", "more": "1"}


def test_resume_run_logs_to_a_finished_run_whose_status_stays_if_it_fails(trained):
    with pytest.raises(ValueError), resume_run(RUN_FILE) as run:
        run.log_metrics({"size": 4.0})
        raise ValueError
    assert stored(trained).info.status == "FINISHED"
    assert stored(trained).data.metrics == {"loss": 1.0, "size": 4.0}


def test_resume_run_with_a_damaged_run_file_names_the_file_and_the_fix(root):
    for content in ("", "[]", '{"experiment": "birds"}'):
        RUN_FILE.write_text(content)
        with pytest.raises(TrackingError, match=r"run\.json.*dvc repro"):
            resume_run(RUN_FILE)


def test_evaluation_run_logs_another_digest_to_a_child_run(trained):
    for digest, value in (("one", 0.5), ("two", 0.9), ("two", 0.8), ("one", 0.5)):
        with evaluation_run(RUN_FILE, digest) as run:
            run.log_metrics({"AP50": value})
    assert stored(trained).data.metrics["AP50"] == 0.5
    children = [r for r in all_runs() if r.data.tags.get("mlflow.parentRunId") == trained]
    assert [(c.data.metrics["AP50"], c.info.status) for c in children] == [(0.8, "FINISHED")]


def test_run_that_an_empty_store_lacks_is_replaced_once(root, capsys):
    RUN_FILE.write_text(json.dumps({"run_id": "0" * 32, "experiment": "birds"}))
    for _ in range(2):
        with evaluation_run(RUN_FILE, "one") as run:
            run.log_metrics({"AP50": 0.5})
    assert stored(run.id).data.tags["restored_from"] == "0" * 32
    assert stored(run.id).info.status == "FINISHED"
    assert len(all_runs()) == 1
    assert capsys.readouterr().out.count("is deleted or not in the store") == 1


def test_deleted_run_is_replaced(trained):
    open_client().delete_run(trained)
    with resume_run(RUN_FILE) as run:
        assert run.id != trained
    assert stored(run.id).data.tags["restored_from"] == trained


def test_entries_of_a_run_without_a_server_are_sent_by_the_next_stage(root, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with start_run("birds", "first") as run:
        run.log_params({"epochs": 3})
        run.log_metrics({"loss": 1.0}, step=1)
        run.log_metrics({"loss": 0.5}, step=2)
    write_run_file(RUN_FILE, run, "0" * 64)
    assert run.id.startswith("offline-")
    lines = capsys.readouterr().out.splitlines()
    assert [("is unreachable" in line, "the next stage" in line) for line in lines] == [(True, False), (False, True)]

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    for _ in range(2):
        with resume_run(RUN_FILE) as later:
            later.log_metrics({"AP50": 0.5})
    (only,) = all_runs()
    assert only.info.run_id == later.id
    assert (only.info.run_name, only.info.status) == ("first", "FINISHED")
    assert [(m.step, m.value) for m in open_client().get_metric_history(later.id, "loss")] == [(1, 1.0), (2, 0.5)]
    assert not list(Path(".cache/tracking").glob("*.jsonl"))


def test_metrics_logged_while_the_database_is_locked_keep_their_order(root, monkeypatch):
    monkeypatch.setattr(store, "LOCK_TIMEOUT_S", 0.01)
    monkeypatch.setattr(delivery, "RETRY_AFTER_S", 0.0)
    with start_run("birds") as run:
        with locked():
            run.log_metrics({"loss": 3.0}, step=1)
            run.log_metrics({"loss": 2.0}, step=2)
        run.log_metrics({"loss": 1.0}, step=3)
    history = open_client().get_metric_history(run.id, "loss")
    assert [(m.step, m.value) for m in history] == [(1, 3.0), (2, 2.0), (3, 1.0)]


def test_waiting_entries_of_a_child_run_and_its_parent_reach_both(trained, monkeypatch):
    for digest in ("one", "two"):
        with evaluation_run(RUN_FILE, digest):
            pass
    monkeypatch.setattr(store, "LOCK_TIMEOUT_S", 0.01)
    child = evaluation_run(RUN_FILE, "two")
    with locked():
        child.log_metrics({"AP50": 0.4})
        child.end()
    with resume_run(RUN_FILE) as parent:
        parent.log_metrics({"size": 4.0})
    assert child.id != parent.id == trained
    assert stored(child.id).data.metrics == {"AP50": 0.4}
    assert stored(trained).data.metrics == {"loss": 1.0, "size": 4.0}


def test_run_that_ends_while_the_database_is_locked_is_completed_by_the_next_stage(root, monkeypatch):
    monkeypatch.setattr(store, "LOCK_TIMEOUT_S", 0.01)
    run = start_run("birds")
    with locked():
        run.log_metrics({"loss": 1.0})
        run.end()
    write_run_file(RUN_FILE, run, "0" * 64)
    assert stored(run.id).info.status == "RUNNING"
    with resume_run(RUN_FILE):
        pass
    assert stored(run.id).info.status == "FINISHED"
    assert stored(run.id).data.metrics == {"loss": 1.0}


def test_system_metrics_are_logged_during_a_run(root):
    with start_run("birds") as run:
        run.log_system_metrics(interval_s=0.1)
        while not any(key.startswith("system/") for key in stored(run.id).data.metrics):
            pass
    assert "system/cpu_utilization_percentage" in stored(run.id).data.metrics

import json
import shutil
from pathlib import Path

import pytest
from support.finished_pipeline import MODEL

from retinanet.errors import TrackingError
from retinanet.tracking import delivery
from retinanet.tracking.registry import find_version, metric_of, model_files, register, versions
from retinanet.tracking.runs import start_run
from retinanet.tracking.store import open_client, open_experiment
from retinanet.tracking.sync import sync, workspace_version
from stages import paths


def all_runs():
    client = open_client()
    return client.search_runs([open_experiment("retinanet")])


def everything(run_id: str) -> dict:
    """What a run has, with the content of its artifacts."""
    client = open_client()
    run = client.get_run(run_id)
    folder = Path(client.download_artifacts(run_id, "", None))
    histories = {
        name: [(metric.step, metric.value) for metric in client.get_metric_history(run_id, name)]
        for name in run.data.metrics
    }
    return {
        "params": run.data.params,
        "metrics": histories,
        "commit": run.data.tags["mlflow.source.git.commit"],
        "datasets": sorted(row.dataset.name + row.dataset.digest for row in run.inputs.dataset_inputs),
        "artifacts": {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        },
        "status": run.info.status,
    }


def lose_store(empty_database: Path) -> None:
    shutil.copy(empty_database, "mlflow.db")
    shutil.rmtree("mlartifacts")


def test_sync_after_a_run_of_the_pipeline_adds_nothing(finished):
    before = everything(all_runs()[0].info.run_id)
    assert sync(MODEL, paths) == []
    assert everything(all_runs()[0].info.run_id) == before
    assert len(all_runs()) == len(versions(open_client(), MODEL)) == 1


def test_sync_restores_run_and_version_in_an_empty_store_once(finished, empty_database):
    run_id = json.loads(paths.RUN.read_text())["run_id"]
    before = everything(run_id)
    lose_store(empty_database)
    lines = sync(MODEL, paths)
    (restored,) = all_runs()
    assert restored.data.tags["restored_from"] == run_id
    assert everything(restored.info.run_id) == before
    version = find_version(open_client(), MODEL, 1)
    assert version.run_id == restored.info.run_id
    assert metric_of(version, "AP50") == json.loads(paths.METRICS.read_text())["AP50"]
    assert [line.split(":")[0] for line in lines] == ["train", "evaluate", "export", "export", "gradcam-report"]
    assert sync(MODEL, paths) == []
    assert everything(restored.info.run_id) == before
    assert len(all_runs()) == len(versions(open_client(), MODEL)) == 1


def test_restored_run_has_the_commit_and_the_start_of_the_training(finished, empty_database, commit_all):
    before = all_runs()[0]
    Path("dvc.yaml").write_text(Path("dvc.yaml").read_text() + "\n")
    commit_all()
    lose_store(empty_database)
    sync(MODEL, paths)
    after = all_runs()[0]
    commit = before.data.tags["mlflow.source.git.commit"]
    assert after.data.tags["mlflow.source.git.commit"] == commit
    assert abs(after.info.start_time - before.info.start_time) < 60_000
    assert after.info.end_time - after.info.start_time == 4000  # two epochs of two seconds
    assert find_version(open_client(), MODEL, 1).tags["git.commit"] == commit


def test_workspace_version_is_the_restored_one_under_its_new_number(finished, empty_database):
    assert workspace_version(MODEL, paths) == 1
    lose_store(empty_database)
    with start_run("retinanet") as run:
        register(MODEL, run.id, paths.EXPORT, "0" * 64, {}, "e", ["cat"])  # takes number 1
    assert workspace_version(MODEL, paths) is None
    sync(MODEL, paths)
    assert workspace_version(MODEL, paths) == 2


def test_restored_version_has_the_same_model_and_record(finished, empty_database):
    def content() -> dict[str, bytes]:
        client = open_client()
        with model_files(client, find_version(client, MODEL, 1)) as folder:
            kept = [path for name in ("artifacts", "record", "code") for path in (folder / name).rglob("*")]
            return {str(path.relative_to(folder)): path.read_bytes() for path in kept if path.is_file()}

    before = content()
    lose_store(empty_database)
    sync(MODEL, paths)
    assert content() == before


def test_sync_sends_what_a_run_lost(finished):
    client = open_client()
    run_id = all_runs()[0].info.run_id
    before = everything(run_id)
    shutil.rmtree(f"mlartifacts/{run_id}/artifacts/evaluate")
    path = Path(f"mlartifacts/{run_id}/artifacts/model/trained.safetensors")
    path.write_bytes(b"damaged")  # of the same size
    client.set_terminated(run_id, "FINISHED")
    assert [line.split(" added")[0] for line in sync(MODEL, paths)] == ["train: 1 artifact", "evaluate: 3 artifacts"]
    assert everything(run_id) == before


def test_sync_sends_the_entries_of_other_runs_that_wait(finished, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "write_obstacle", lambda: "the network is down")
        with start_run("retinanet", "offline") as run:
            run.log_metrics({"loss": 1.0}, step=1)
    (line,) = sync(MODEL, paths)
    assert line.endswith("waiting entries sent")
    names = {run.info.run_name: run for run in all_runs()}
    assert len(names) == 2
    assert (names["offline"].info.status, names["offline"].data.metrics) == ("FINISHED", {"loss": 1.0})
    assert sync(MODEL, paths) == []


def test_sync_leaves_the_entries_of_a_running_training_to_it(finished, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "write_obstacle", lambda: "the network is down")
        run = start_run("retinanet", "running")
    (line,) = sync(MODEL, paths)
    assert line == f"run {run.id}: 1 entries wait for the end of its training"
    assert len(all_runs()) == 1


def test_sync_with_another_evaluation_than_dvc_lock_says_leaves_it_out(finished):
    paths.METRICS.write_text('{"AP50": 0.99}')
    (line,) = sync(MODEL, paths)
    assert line == (
        "evaluate: left out, because reports/evaluate/metrics.json is not what dvc.lock says; `dvc repro` updates it"
    )


def test_sync_with_other_weights_than_dvc_lock_says_is_an_error(finished):
    paths.TRAINED.write_bytes(b"other weights")
    with pytest.raises(TrackingError, match=r"models/trained\.safetensors is not what dvc\.lock says; run `dvc repro`"):
        sync(MODEL, paths)


def test_sync_without_dvc_lock_says_what_to_run(root):
    with pytest.raises(TrackingError, match=r"dvc\.lock: cannot be read .* `dvc repro` writes it"):
        sync(MODEL, paths)

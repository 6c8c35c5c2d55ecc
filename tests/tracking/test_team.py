"""A team's servers, as in compose.yaml: MLflow on PostgreSQL, with artifacts in S3; docs/team.md describes them."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from support.mlflow_server import free_port, mlflow_server
from support.postgres import postgres_programs, postgres_server
from support.s3_server import BUCKET, s3_server, stored_keys
from support.trainers import train_at_once

from retinanet.tracking import delivery
from retinanet.tracking.comparison import Gate
from retinanet.tracking.promotion import promote
from retinanet.tracking.registry import register
from retinanet.tracking.runs import start_run
from retinanet.tracking.served_versions import RegisteredModel
from retinanet.tracking.store import TIMEOUT, open_client

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mlflow-server")]

TRAINERS, EPOCHS = 8, 5


@dataclass
class TeamServer:
    """An MLflow server that can be killed and started again."""

    folder: Path
    database: str
    s3: dict[str, str]
    port: int = field(default_factory=free_port)
    _running: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        options = ("--backend-store-uri", self.database, "--artifacts-destination", f"s3://{BUCKET}/mlflow")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.s3.items():
                patch.setenv(name, value)
            self._running.enter_context(mlflow_server(self.folder, *options, port=self.port))

    def kill(self) -> None:
        self._running.close()


@pytest.fixture(scope="module")
def team(tmp_path_factory) -> Iterator[TeamServer]:
    if postgres_programs() is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    folder = tmp_path_factory.mktemp("team")
    with postgres_server() as database, s3_server(folder) as s3:
        server = TeamServer(folder, database, s3)
        server.start()
        yield server
        server.kill()


@pytest.fixture
def server(team, root, monkeypatch) -> TeamServer:
    """The team's server is the store; its clients have no credentials of S3."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{team.port}")
    monkeypatch.setenv(TIMEOUT, "60")  # a busy machine is no failure here
    monkeypatch.setattr(delivery, "RETRY_AFTER_S", 0.5)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    return team


def check_runs(run_ids: list[str]) -> None:
    """Every trainer's run is finished and has everything that it logged."""
    client = open_client()
    assert len(set(run_ids)) == TRAINERS
    for number, run_id in enumerate(run_ids):
        run = client.get_run(run_id)
        assert (run.info.run_name, run.info.status) == (f"trainer {number}", "FINISHED")
        assert run.data.params == {"number": str(number), "epochs": str(EPOCHS)}
        for name in ("loss", "val/AP"):
            assert [m.step for m in client.get_metric_history(run_id, name)] == list(range(1, EPOCHS + 1))
        assert [file.path for file in client.list_artifacts(run_id, "train")] == [f"train/report {number}.txt"]


def test_trainers_that_start_at_once_on_an_empty_server_lose_nothing(server, tmp_path):
    """First in this file: the server has no experiment yet. The trainers are in folders of their own, as in clones."""
    folder = tmp_path / "trainers"
    folder.mkdir()
    check_runs(train_at_once(TRAINERS, EPOCHS, folder))


def test_trainers_that_start_at_once_without_a_sqlite_file_lose_nothing(root):
    Path("mlflow.db").unlink()
    check_runs(train_at_once(TRAINERS, EPOCHS))


@pytest.mark.parametrize(("name", "prefix"), [("proxied", "mlflow/"), ("direct", "direct/")])
def test_version_with_files_in_s3_is_registered_promoted_and_opened(server, toy_onnx, monkeypatch, name, prefix):
    if name == "direct":  # the clients write to S3 themselves
        open_client().create_experiment(name, f"s3://{BUCKET}/direct")
        for variable, value in server.s3.items():
            monkeypatch.setenv(variable, value)
    with start_run(name) as run:
        run.log_metrics({"AP50": 0.5})
    number = register(name, run.id, toy_onnx(), "0" * 64, {"AP50": 0.5}, "today", ["cat", "dog"])
    assert promote(name, number, Gate("AP50", 0.3), allow_dirty=True).accepted
    model = RegisteredModel(f"models:/{name}@production")
    detector = model.open(model.find())
    assert (detector.class_names, len(detector([np.zeros((48, 64, 3), np.uint8)]))) == (("cat", "dog"), 1)
    assert sum(key.endswith("/model.onnx") for key in stored_keys(server.s3, prefix)) == 1


def test_metrics_of_a_training_arrive_although_the_server_was_killed_and_started_again(server, capsys):
    with start_run("killed") as run:
        run.log_metrics({"loss": 1.0}, step=1)
        server.kill()
        for step in range(2, 7):
            run.log_metrics({"loss": 1 / step}, step=step)
        server.start()
        for step in range(7, 10):
            run.log_metrics({"loss": 1 / step}, step=step)
    history = open_client().get_metric_history(run.id, "loss")
    assert [(m.step, m.value) for m in history] == [(step, 1 / step) for step in range(1, 10)]
    assert open_client().get_run(run.id).info.status == "FINISHED"
    output = capsys.readouterr().out
    assert output.count("is unreachable") == output.count("is reachable again") == 1

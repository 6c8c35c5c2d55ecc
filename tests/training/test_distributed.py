import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import squares
from support.squares import make_squares

from retinanet import distributed
from retinanet.training.launch import launch

TRAINER = Path(squares.__file__)
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def train(folder: Path, *launcher: str, network: dict, **settings) -> dict:
    folder.mkdir()
    command = [sys.executable, *launcher, str(TRAINER), str(folder), json.dumps(settings), json.dumps(network)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize(
    ("normalizer", "head_norm"),
    # Without norms in the heads, the box subnet is computed at foreground cells only.
    [
        ("moving", "none"),
        pytest.param("batch", "group", marks=pytest.mark.slow),
        pytest.param("image", "group", marks=pytest.mark.slow),
    ],
)
def test_training_in_two_processes_equals_one_process(tmp_path, normalizer, head_norm):
    (tmp_path / "images").mkdir()
    make_squares(tmp_path / "images")
    # 20 steps of SGD: AdamW normalizes small gradients and so amplifies their rounding.
    settings = {"epochs": 10, "validate_every": 10, "normalizer": normalizer, "optimizer": "sgd", "learning_rate": 0.01}
    settings["precision"] = "fp32"  # bfloat16 rounds the gradients of each process by 1/256
    network = {"head_norm": head_norm}
    one = train(tmp_path / "one", network=network, **settings)["epochs"]
    two = train(tmp_path / "two", *TWO, network=network, processes=2, **settings)["epochs"]
    for a, b in zip(one, two, strict=True):
        assert b["train/loss"] == pytest.approx(a["train/loss"], abs=1e-4)
    # Each of seven images counts once, or the mean losses would differ.
    assert two[-1]["val/classification_loss"] == pytest.approx(one[-1]["val/classification_loss"], abs=1e-4)
    assert two[-1]["val/AP50"] == pytest.approx(one[-1]["val/AP50"], abs=0.02)


def test_collectives_without_torchrun_return_their_argument():
    with distributed.process_group() as here:
        assert here == (0, 1)
    assert distributed.all_reduce_max(3) == 3
    assert distributed.all_gather([1, 2]) == [1, 2]
    assert not distributed.is_started()


@pytest.fixture
def run_in_two_processes(tmp_path, monkeypatch):
    """Launches code in two processes; returns the exit code."""

    def run(code: str) -> int:
        (tmp_path / "launched.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return launch("launched", 2)

    return run


def test_launch_returns_the_exit_code_of_the_first_failure(run_in_two_processes, capfd):
    assert run_in_two_processes("import os, sys\nsys.exit(7 if os.environ['RANK'] == '1' else 0)\n") == 7
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("failing", ["rank == 0", "rank == 1", "True"])
def test_failure_of_some_processes_is_printed_once(run_in_two_processes, capfd, failing):
    """The process that does not fail by itself waits for the other, and fails when that is gone."""
    code = f"""
from retinanet import distributed
from retinanet.errors import TrainingError, exit_on_error

@exit_on_error
def main():
    with distributed.process_group() as (rank, _):
        distributed.barrier()
        if {failing}:
            raise TrainingError("image 3 is broken")
        distributed.barrier()

main()
"""
    assert run_in_two_processes(code) == 1
    err = capfd.readouterr().err
    assert err.count("error: image 3 is broken") == 1
    assert "Traceback" not in err

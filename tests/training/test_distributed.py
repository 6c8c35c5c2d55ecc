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
    # Without norms in the heads, boxes are learned only where objects are.
    [("batch", "group"), ("moving", "none"), pytest.param("image", "group", marks=pytest.mark.slow)],
)
def test_two_processes_train_as_one(tmp_path, normalizer, head_norm):
    (tmp_path / "images").mkdir()
    make_squares(tmp_path / "images")
    # 20 steps of SGD: AdamW divides small gradients by themselves, and their rounding with them.
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


def test_alone_nothing_is_exchanged():
    with distributed.process_group() as here:
        assert here == (0, 1)
    assert distributed.all_reduce_max(3) == 3
    assert distributed.all_gather([1, 2]) == [1, 2]
    assert not distributed.is_started()


def test_the_first_failure_is_the_exit_code(tmp_path, monkeypatch, capfd):
    (tmp_path / "failing.py").write_text("import os, sys\nsys.exit(7 if os.environ['RANK'] == '1' else 0)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert launch("failing", 2) == 7
    assert "Traceback" not in capfd.readouterr().err

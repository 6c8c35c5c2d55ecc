"""Training that is killed again and again ends with the same weights as uninterrupted training, bit by bit."""

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support.squares import make_squares
from support.unbroken import train
from support.workspace import SMALL, Workspace, clone

from retinanet.files import sha256_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("unbroken")]

# In CI; set RETINANET_KILLS=100 for the long form. At least so large a share of the kills comes while a checkpoint is
# being saved.
KILLS = int(os.environ.get("RETINANET_KILLS", "30"))
WHILE_SAVING = KILLS * 3 // 10


@pytest.fixture(scope="module")
def forks():
    """A context whose processes have torch imported already, and start in milliseconds."""
    # The fork server finds the test modules only so, and exits silently if it does not.
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.unbroken"])
    return context


def test_training_survives_kills_at_random_times(tmp_path, forks):
    (tmp_path / "images").mkdir()
    make_squares(tmp_path / "images")

    def start(folder: Path):
        process = forks.Process(target=train, args=(folder, tmp_path / "images"))
        process.start()
        return process

    start(tmp_path / "unbroken").join()
    expected = json.loads((tmp_path / "unbroken" / "result.json").read_text())

    rng = random.Random(0)
    kills = while_saving = runs = 0
    while kills < KILLS or while_saving < WHILE_SAVING:
        folder = tmp_path / f"broken-{runs}"
        left = _half_saved(folder)
        process = start(folder)
        process.join(rng.uniform(0.1, 2.5))
        until_it_saves = rng.random() < 0.5
        while until_it_saves and process.is_alive() and _half_saved(folder) <= left:
            time.sleep(0.0002)
        if process.is_alive():
            process.kill()
            process.join()
            kills += 1
            while_saving += not _half_saved(folder) <= left
        else:
            assert process.exitcode == 0
            assert json.loads((folder / "result.json").read_text()) == expected
            runs += 1
    process = start(folder)
    process.join()
    assert json.loads((folder / "result.json").read_text()) == expected
    print(f"{kills} kills, {while_saving} while saving, over {runs + 1} trainings")


def test_dvc_repro_survives_kills_of_trainer_and_dvc(tmp_path):
    """Kills of the trainer, of dvc alone, and of both, with the default network on a small setting."""
    unbroken, broken = (Workspace(clone(tmp_path / name)) for name in ("unbroken", "broken"))
    for workspace in (unbroken, broken):
        for section, values in SMALL.items():
            workspace.set(section, **values)
        workspace.set("train", epochs=4)
        workspace.set("runtime", checkpoint_minutes=1e-9)
    unbroken.run("dvc", "repro", "train")
    rng = random.Random(0)
    checkpoints = broken.folder / ".cache" / "training"
    for number in range(3):
        reached = _newest(checkpoints)
        dvc = broken.start("dvc", "repro", "train")
        trainer = _trainer_of(dvc)
        while _newest(checkpoints) <= reached:
            assert trainer.is_running(), "ended before it saved anything"
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 1.5))
        assert trainer.is_running(), "ended before it was killed; give it more epochs"
        for victim in ((trainer,), (dvc,), (trainer, dvc))[number]:
            victim.kill()
        dvc.wait()
        if number == 1:
            assert _stops_by_itself(trainer)
    out = broken.run("dvc", "repro", "train")
    assert "resuming after" in out
    model = "models/trained.safetensors"
    assert sha256_of(broken.folder / model) == sha256_of(unbroken.folder / model)
    assert broken.counts()[0] == 1


@pytest.mark.parametrize("processes", [1, 2])
def test_signal_saves_a_checkpoint_and_sets_the_exit_code(tmp_path, processes):
    """The run is KILLED, and the next start of the stage resumes it."""
    workspace = Workspace(clone(tmp_path / "clone"))
    for section, values in SMALL.items():
        workspace.set(section, **values)
    workspace.set("train", epochs=3)
    workspace.set("runtime", checkpoint_minutes=1e-9, processes=processes)
    workspace.run("dvc", "repro", "prepare")
    checkpoints = workspace.folder / ".cache" / "training"
    for sent, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        reached = _newest(checkpoints)
        trainer = workspace.start(sys.executable, "-m", "stages.train")
        while _newest(checkpoints) <= reached:
            assert trainer.is_running(), "ended before it saved anything"
            time.sleep(0.05)
        trainer.send_signal(sent)
        assert trainer.wait(60) == code
        assert workspace.run_statuses() == ["KILLED"]
    assert "resuming after" in workspace.run(sys.executable, "-m", "stages.train")
    assert workspace.run_statuses() == ["FINISHED"]


def _half_saved(folder: Path) -> set[tuple[str, int]]:
    """Names and times of checkpoints that are being written."""
    found = set()
    for path in folder.glob("*.part"):
        with suppress(FileNotFoundError):  # renamed in the meantime
            found.add((path.name, path.stat().st_ctime_ns))
    return found


def _trainer_of(dvc: psutil.Popen) -> psutil.Process:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        for child in dvc.children(recursive=True):
            try:
                if "stages.train" in child.cmdline() and child.name() != "sh":
                    return child
            except psutil.Error:
                continue
        time.sleep(0.1)
    raise AssertionError("no trainer was started")


def _stops_by_itself(trainer: psutil.Process) -> bool:
    """Whether the trainer ends by itself after its dvc was killed."""
    try:
        trainer.wait(60)
    except psutil.TimeoutExpired:
        return False
    return True


def _newest(checkpoints: Path) -> str:
    return max((path.name for path in checkpoints.glob("*/step-*.pt")), default="")

"""Training on two hosts, which share no disk: two network namespaces of this machine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from support.squares import (
    CPU,
    INPUT_SIZE,
    build_network,
    make_squares,
    short_runtime,
    short_training,
    small_network,
)

from retinanet.training.fit import TrainingSets, fit
from retinanet.training.launch import needs_launch

SETTINGS = {"epochs": 10, "validate_every": 10, "optimizer": "sgd", "learning_rate": 0.01, "precision": "fp32"}
NETWORK = {"backbone": "timm/test_resnet", "head_norm": "none"}
LAUNCH = "import sys\nfrom retinanet.training.launch import launch\nsys.exit(launch('squares_on_a_host', 1))\n"
TRAIN = "import sys\nfrom support import squares\nsys.argv[1:] = {arguments}\nsquares.main()\n"


def test_torchruns_variables_for_several_hosts_start_torchrun(monkeypatch):
    monkeypatch.delenv("PET_NNODES", raising=False)
    assert [needs_launch(1), needs_launch(2)] == [False, True]
    monkeypatch.setenv("PET_NNODES", "2")
    assert needs_launch(1)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """The names of two network namespaces, 10.77.0.1 and 10.77.0.2, joined by a cable."""
    names = [f"retinanet-{os.getpid()}-{number}" for number in range(2)]
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("link", "add", "cable", "netns", names[0], "type", "veth", "peer", "name", "cable", "netns", names[1])
        for number, name in enumerate(names, start=1):
            _ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", "cable")
            for device in ("lo", "cable"):
                _ip("-n", name, "link", "set", device, "up")
        yield names
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces are not permitted here: {getattr(error, 'stderr', '') or error}")
    finally:
        for name in names:
            with suppress(OSError):
                subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


@pytest.mark.slow
def test_training_on_two_hosts_that_is_killed_and_resumed_equals_one_process(tmp_path, hosts):
    """20 steps; the second host is killed, and the first stops by itself."""
    expected = _in_this_process(tmp_path)
    folders = [tmp_path / name for name in hosts]
    first, second = (_start(folder, number, hosts[number]) for number, folder in enumerate(folders))
    while not [*folders[0].glob("run/checkpoints/step-*.pt")]:
        assert first.poll() is None, "ended before it saved anything"
        time.sleep(0.01)
    for process in [*second.children(recursive=True), second]:
        process.kill()
    assert [first.wait(120), second.wait()] == [1, -9]
    assert not (folders[0] / "run" / "result.json").exists()

    both = [_start(folder, number, hosts[number]) for number, folder in enumerate(folders)]
    assert [process.wait(120) for process in both] == [0, 0]
    resumed = _epochs(folders[0])
    assert 0 < len(resumed) < len(expected)
    for epoch in resumed:
        assert epoch["train/loss"] == pytest.approx(expected[epoch["epoch"] - 1]["train/loss"], abs=1e-4)
    # Only rank 0 writes.
    assert [path.name for path in (folders[1] / "run").iterdir()] == []


def _in_this_process(folder: Path) -> list[dict]:
    """The epochs of squares.main, as it writes them."""
    images = make_squares(folder)
    torch.manual_seed(0)
    model = build_network(small_network(frozen_norm=True, **NETWORK), 1)
    odd = replace(images, images=images.images[:-1])
    sets, settings = TrainingSets(images, odd, folder), short_training(**SETTINGS)
    epochs = fit(model, sets, settings, short_runtime(), INPUT_SIZE, CPU, folder / "checkpoints")
    return [{"epoch": epoch.number, **epoch.metrics} for epoch in epochs]


def _start(folder: Path, number: int, namespace: str) -> psutil.Popen:
    """Train in folder/run with images of its own, as this host of two."""
    if not folder.exists():
        (folder / "images").mkdir(parents=True)
        (folder / "run").mkdir()
        make_squares(folder / "images")
        arguments = [str(folder / "run"), json.dumps(SETTINGS), json.dumps(NETWORK)]
        (folder / "squares_on_a_host.py").write_text(TRAIN.format(arguments=arguments))
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    env |= {"PET_NNODES": "2", "PET_NODE_RANK": str(number), "PET_MASTER_ADDR": "10.77.0.1", "PET_MASTER_PORT": "29511"}
    # No name server can be reached: do not wait for one.
    env |= {"GLOO_SOCKET_IFNAME": "cable", "RES_OPTIONS": "timeout:1 attempts:1", "NO_ALBUMENTATIONS_UPDATE": "1"}
    return psutil.Popen(["ip", "netns", "exec", namespace, sys.executable, "-c", LAUNCH], env=env)


def _epochs(folder: Path) -> list[dict]:
    return json.loads((folder / "run" / "result.json").read_text())["epochs"]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)

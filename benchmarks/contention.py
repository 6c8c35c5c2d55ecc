"""Time of a training step while other processes use the same cores.

    uv run python -m benchmarks.contention [--seconds 60] [--rounds 3]

Trains the default network on synthetic images of 640 px, with its loader in a process of its own: alone, beside a
second training, and beside a process that keeps one core busy. Each round measures all three, with torch's defaults
(threads spin 300,000 times, no turns) and with the train stage's settings, so that a slow machine slows both.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects

IMAGES, SIDE, WARM_UP = 16, 640, 3


class Setting(NamedTuple):
    """How threads wait, and whether trainings take turns."""

    name: str
    environment: dict[str, str]
    turns: bool


class Case(NamedTuple):
    name: str
    trainings: int
    busy_cores: int


SETTINGS = Setting("torch's defaults", {"GOMP_SPINCOUNT": "300000"}, False), Setting("the train stage's", {}, True)
CASES = Case("alone", 1, 0), Case("two side by side", 2, 0), Case("beside a busy core", 1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train", choices=("turns", "no-turns"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        print(json.dumps(step_milliseconds(arguments.seconds, arguments.train == "turns")))
        return
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(arguments.rounds):
        for case in CASES:
            for setting in SETTINGS:
                times = _measure(setting, case, arguments.seconds)
                found.setdefault((setting.name, case.name), []).append(statistics.mean(times))
                print(f"{setting.name}, {case.name}: {', '.join(f'{t:.0f}' for t in times)} ms", flush=True)
    print(f"\n| threads and turns | {' | '.join(case.name for case in CASES)} |\n| --- | --- | --- | --- |")
    for setting in SETTINGS:
        medians = [statistics.median(found[setting.name, case.name]) for case in CASES]
        print(f"| {setting.name} | {' | '.join(f'{t:.0f} ms, {t / medians[0]:.2f}x' for t in medians)} |")


def step_milliseconds(seconds: float, take_turns: bool) -> float:
    """The mean milliseconds from one step of the default training to the next, measured for `seconds`."""
    import torch

    from retinanet.config.params import load_params
    from retinanet.dataset.augment import Augmentation
    from retinanet.dataset.loading import batches_of, loader_of
    from retinanet.dataset.samples import EpochBatches, TrainingImages
    from retinanet.images.preprocess import padding_color
    from retinanet.model.backbones import freeze_stages
    from retinanet.model.retinanet import RetinaNet
    from retinanet.runtime import chosen_device, keep_freed_memory
    from retinanet.training.step import Learner, train_step
    from retinanet.training.turns import Turns, cpu_turns

    keep_freed_memory()
    params = load_params()
    torch.manual_seed(0)
    model = RetinaNet(1, **params.model.architecture()).train()
    freeze_stages(model.backbone, params.model.frozen_stages)
    learner = Learner(model, params.train, 1000, chosen_device())
    padding = padding_color(model.backbone.mean)
    turns = cpu_turns(chosen_device()) if take_turns else Turns(Path(), enabled=False)
    with tempfile.TemporaryDirectory() as folder:
        settings = params.train.augment.model_copy(update={"orientation": "any"})
        augmentation = Augmentation(settings, params.model.short_side, params.model.long_side, padding)
        images = TrainingImages(_dataset(Path(folder)), Path(folder), augmentation, 0)
        batches = EpochBatches(len(images), params.train.batch_size, 0, [params.model.short_side])
        loader = loader_of(images, 1, padding, batch_sampler=batches, persistent_workers=True)
        ended: list[float] = []
        for batches.epoch in count():
            for batch in batches_of(loader):
                with turns.take():
                    train_step(learner, [batch])
                ended.append(time.monotonic())
                if len(ended) > WARM_UP and ended[-1] - ended[WARM_UP] > seconds:
                    return 1000 * (ended[-1] - ended[WARM_UP]) / (len(ended) - 1 - WARM_UP)
    raise AssertionError


def _dataset(folder: Path) -> CocoDataset:
    rng = np.random.default_rng(0)
    infos, objects = [], {}
    for number in range(1, IMAGES + 1):
        Image.fromarray(rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(folder / f"{number}.png")
        corner = rng.uniform(0, SIDE - 100, (20, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(20, 100, (20, 2))], axis=1).astype(np.float32)
        infos.append(ImageInfo(number, f"{number}.png", SIDE, SIDE))
        objects[number] = Objects(boxes, np.zeros(20, np.int64), np.zeros(20, bool))
    return CocoDataset(tuple(infos), ("object",), (1,), objects)


def _measure(setting: Setting, case: Case, seconds: float) -> list[float]:
    mode = "turns" if setting.turns else "no-turns"
    command = [sys.executable, "-m", "benchmarks.contention", "--seconds", str(seconds), "--train", mode]
    environment = os.environ | setting.environment
    others = [multiprocessing.Process(target=_keep_busy, daemon=True) for _ in range(case.busy_cores)]
    for other in others:
        other.start()
    trainings = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(case.trainings)
    ]
    times = [json.loads(training.communicate()[0].splitlines()[-1]) for training in trainings]
    for other in others:
        other.kill()
    return times


def _keep_busy() -> None:
    while True:
        pass


if __name__ == "__main__":
    main()

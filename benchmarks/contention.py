"""What other work on the same cores costs a training step.

    uv run python -m benchmarks.contention [--seconds 60] [--rounds 3] [--spin 300000 1000]

Trains the default network on made-up images of 640 px, with its loader in a process of its own: alone, beside a
second training, and beside a process that keeps one core busy. Each round measures all of them for each spin count in
turn, so that a slow machine slows all alike. 300000 is what GNU OpenMP does by itself.
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

import numpy as np
from PIL import Image

IMAGES, SIDE, WARM_UP = 16, 640, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--spin", nargs="+", default=["300000", ""], help="GOMP_SPINCOUNT; empty: as the stages set it")
    parser.add_argument("--train", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        print(json.dumps(steps(arguments.train)))
        return
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(arguments.rounds):
        for spin in arguments.spin:
            for name, trainings, busy in (("alone", 1, 0), ("two side by side", 2, 0), ("beside a busy core", 1, 1)):
                times = _measure(spin, trainings, busy, arguments.seconds)
                found.setdefault((spin, name), []).append(statistics.mean(times))
                print(f"GOMP_SPINCOUNT={spin or 'ours'}, {name}: {', '.join(f'{t:.0f}' for t in times)} ms", flush=True)
    print("\n| GOMP_SPINCOUNT | alone | two side by side | beside a busy core |\n| --- | --- | --- | --- |")
    for spin in arguments.spin:
        alone, two, busy = (statistics.median(found[spin, name]) for name in dict.fromkeys(n for _, n in found))
        print(f"| {spin or 'ours'} | {alone:.0f} ms | {two:.0f} ms, {two / alone:.2f}x | {busy:.0f} ms, {busy / alone:.2f}x |")


def steps(seconds: float) -> float:
    """The median milliseconds of a step of the default training, over so many seconds."""
    import torch

    from retinanet.config.params import load_params
    from retinanet.dataset.augment import Augmentation
    from retinanet.dataset.loading import batches_of, loader_of
    from retinanet.dataset.samples import EpochBatches, TrainingImages
    from retinanet.images.preprocess import padding_color
    from retinanet.model.backbones import freeze_stages
    from retinanet.model.retinanet import RetinaNet
    from retinanet.runtime import best_device, keep_freed_memory
    from retinanet.training.step import Learner, train_step

    keep_freed_memory()
    params = load_params()
    torch.manual_seed(0)
    model = RetinaNet(1, **params.model.architecture()).train()
    freeze_stages(model.backbone, params.model.frozen_stages)
    learner = Learner(model, params.train, 1000, best_device())
    padding = padding_color(model.backbone.mean)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        augmentation = Augmentation(params.train.augment, params.model.short_side, params.model.long_side, padding)
        images = TrainingImages(_dataset(Path(folder)), Path(folder), augmentation, 0)
        batches = EpochBatches(len(images), params.train.batch_size, 0, [params.model.short_side])
        loader = loader_of(images, 1, padding, batch_sampler=batches, persistent_workers=True)
        end = time.monotonic() + seconds
        for batches.epoch in count():
            for batch in batches_of(loader):
                begin = time.monotonic()
                train_step(learner, [batch])
                times.append(time.monotonic() - begin)
                if time.monotonic() > end and len(times) > WARM_UP:
                    return 1000 * statistics.median(times[WARM_UP:])
    raise AssertionError


def _dataset(folder: Path):
    from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects

    rng = np.random.default_rng(0)
    infos, objects = [], {}
    for number in range(1, IMAGES + 1):
        Image.fromarray(rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(folder / f"{number}.png")
        corner = rng.uniform(0, SIDE - 100, (20, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(20, 100, (20, 2))], axis=1).astype(np.float32)
        infos.append(ImageInfo(number, f"{number}.png", SIDE, SIDE))
        objects[number] = Objects(boxes, np.zeros(20, np.int64), np.zeros(20, bool))
    return CocoDataset(tuple(infos), ("object",), (1,), objects)


def _measure(spin: str, trainings: int, busy: int, seconds: float) -> list[float]:
    environment = os.environ | ({"GOMP_SPINCOUNT": spin} if spin else {})
    command = [sys.executable, "-m", "benchmarks.contention", "--train", str(seconds)]
    others = [multiprocessing.Process(target=_keep_busy, daemon=True) for _ in range(busy)]
    for other in others:
        other.start()
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(trainings)]
    times = [json.loads(process.communicate()[0]) for process in running]
    for other in others:
        other.kill()
    return times


def _keep_busy() -> None:
    while True:
        pass


if __name__ == "__main__":
    main()

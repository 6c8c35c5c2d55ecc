"""Latency and memory of an exported model, measured in a process of its own."""

import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from retinanet.errors import ExportError
from retinanet.export.runtimes import load_detector

DIFFERENT_IMAGES, WARM_UP = 8, 3
MIN_IMAGES, MAX_IMAGES, MAX_SECONDS = 5, 50, 10.0


class Speed(NamedTuple):
    """Milliseconds for one image, from uint8 pixels to boxes, and megabytes of memory of the process that detects."""

    median_ms: float
    p95_ms: float
    memory_megabytes: float


def measure_speed(model: Path, images: Sequence[Path]) -> Speed:
    """Detect on the images, one by one, in a new process, which imports nothing that the runtime does not need."""
    command = [sys.executable, "-m", "retinanet.export.speed", str(model), *map(str, images[:DIFFERENT_IMAGES])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ExportError(f"{model} cannot be run in a process of its own: {last}")
    return Speed(*json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    import psutil

    from retinanet.images.reading import read_image

    detector = load_detector(sys.argv[1])
    images = [read_image(path, detector.reading) for path in sys.argv[2:]]
    for image in (images * WARM_UP)[: max(WARM_UP, len(images))]:
        detector([image])
    seconds: list[float] = []
    for image in itertools.islice(itertools.cycle(images), MAX_IMAGES):
        began = time.perf_counter()
        detector([image])
        seconds.append(time.perf_counter() - began)
        if len(seconds) >= MIN_IMAGES and sum(seconds) > MAX_SECONDS:
            break
    milliseconds = 1000 * statistics.median(seconds), 1000 * float(np.quantile(seconds, 0.95))
    print(json.dumps([*milliseconds, psutil.Process().memory_info().rss / 1e6]))


if __name__ == "__main__":
    main()

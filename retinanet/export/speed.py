"""Latency and memory of a model, from image file to detections, measured in a process of its own."""

import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retinanet.errors import ExportError
from retinanet.export.runtimes import load_detector

if TYPE_CHECKING:
    from retinanet.inference.detections import Detections

DIFFERENT_IMAGES, WARM_UP = 8, 3
MIN_IMAGES, MAX_IMAGES, MAX_SECONDS = 5, 50, 10.0


class Speed(NamedTuple):
    """Milliseconds for one image, from uint8 pixels to boxes, and megabytes of memory of the process that detects.

    metrics are of the whole pipeline, for one image, those that promotion may limit first:

    - latency_p95_ms, latency_ms: from image file to detections, 95th percentile and median;
    - peak_memory_mb: the most memory that the process had, with the model;
    - read_ms, network_ms, resize_ms and their 95th percentiles: reading the file; the runtime's call, with decoding and
      NMS, which exported models contain; resizing and padding before, scaling boxes and merging tiles after it.
    """

    median_ms: float
    p95_ms: float
    memory_megabytes: float
    metrics: Mapping[str, float]


def measure_speed(model: Path, images: Sequence[Path]) -> Speed:
    """Detect on the images, one by one, in a new process, which imports nothing that the runtime does not need."""
    command = [sys.executable, "-m", "retinanet.export.speed", str(model), *map(str, images[:DIFFERENT_IMAGES])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ExportError(f"{model} cannot be run in a process of its own: {last}")
    return Speed(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    import psutil

    from retinanet.images.reading import read_image

    paths, network_s = sys.argv[2:], [0.0]
    opened = load_detector(sys.argv[1])

    def run(images: np.ndarray, sizes: np.ndarray) -> "list[Detections]":
        began = time.perf_counter()
        found = opened.run(images, sizes)
        network_s[0] += time.perf_counter() - began
        return found

    detector = replace(opened, run=run)
    for path in (paths * WARM_UP)[: max(WARM_UP, len(paths))]:
        detector([read_image(path, detector.reading)])
    rows: list[tuple[float, ...]] = []  # seconds of reading, of the runtime's call, and of the rest
    for path in itertools.islice(itertools.cycle(paths), MAX_IMAGES):
        network_s[0], began = 0.0, time.perf_counter()
        image = read_image(path, detector.reading)
        read = time.perf_counter()
        detector([image])
        rows.append((read - began, network_s[0], time.perf_counter() - read - network_s[0]))
        if len(rows) >= MIN_IMAGES and sum(map(sum, rows)) > MAX_SECONDS:
            break
    parts = 1000 * np.array(rows)
    total, detecting, memory = parts.sum(axis=1), parts[:, 1:].sum(axis=1), psutil.Process().memory_info().rss
    metrics = {"latency_p95_ms": _p95(total), "latency_ms": _median(total), "peak_memory_mb": _peak(memory) / 1e6}
    for name, column in zip(("read", "network", "resize"), parts.T, strict=True):
        metrics |= {f"{name}_ms": _median(column), f"{name}_p95_ms": _p95(column)}
    rounded = {name: round(value, 2) for name, value in metrics.items()}
    print(json.dumps(Speed(_median(detecting), _p95(detecting), memory / 1e6, rounded)._asdict()))


def _median(values: np.ndarray) -> float:
    return float(np.median(values))


def _p95(values: np.ndarray) -> float:
    return float(np.quantile(values, 0.95))


def _peak(now: int) -> int:
    """The most bytes that this process had at once; `now`, if the system does not tell.

    Not getrusage's: Linux starts it with the memory of the process that started this one.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * int(found[1]) if found else now


if __name__ == "__main__":
    main()

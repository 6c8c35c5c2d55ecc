"""`retinanet serve` beside `mlflow models serve` of the same model, with 8 clients and 5% bad requests.

    uv run python -m benchmarks.serving [--model models/export/model.onnx] [--rounds 3] [--seconds 20]

The model is registered in a temporary store, and both services load that version. They are asked by turns: the ratio
is the median over rounds, with the smallest and the largest in brackets. Latencies are those of good requests: one
JPEG, as base64. Memory is that of all processes of a service, at the end relative to the first round.
"""

import argparse
import base64
import http.client
import io
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from PIL import Image

from benchmarks.bad_requests import BadRequest, bad_requests
from benchmarks.servers import free_port, started
from retinanet.export.runtimes import RUNTIMES, load_detector

MODEL = "benchmark"
BAD_SHARE = 0.05


@dataclass
class Competitor:
    """A service, and what its clients have measured in each round."""

    name: str
    path: str
    port: int
    process: psutil.Popen
    images_per_s: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def body(self, image: object) -> bytes:
        if self.path == "/detect":
            return json.dumps({"images": [image]}).encode()
        return json.dumps({"dataframe_records": [{"image": image}]}).encode()

    def add_memory(self) -> None:
        processes = [self.process, *self.process.children(recursive=True)]
        self.megabytes.append(sum(process.memory_info().rss for process in processes) / 1e6)


class Answer(NamedTuple):
    is_bad: bool  # the request was
    status: int
    seconds: float
    content: bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/export/model.onnx"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20, help="of each service in each round")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), default=(640, 480), help="of images")
    args = parser.parse_args()
    model, images = args.model.resolve(), noisy_jpegs(16, *args.size)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as services:
        (version,) = registered(model, Path(folder))
        ours, theirs = (services.enter_context(start(version, Path(folder))) for start in (our_service, _mlflows))
        for competitor in (ours, theirs):
            _load(competitor, images, args.clients, 2)  # warms up
            for measured in (competitor.images_per_s, competitor.seconds, competitor.statuses):
                measured.clear()
        for _ in range(args.rounds):
            for competitor in (ours, theirs):
                _load(competitor, images, args.clients, args.seconds)
                competitor.add_memory()
    ratios = [a / b for a, b in zip(ours.images_per_s, theirs.images_per_s, strict=True)]
    print(f"{args.clients} clients, {args.rounds} rounds of {args.seconds:g} s, {os.cpu_count()} cores\n")
    print("| service | images/s | p50, ms | p99, ms | p99 / p50 | MB, first round | growth | 5xx of requests |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for competitor in (ours, theirs):
        print(f"| {' | '.join(_cells(competitor))} |")
    low, high = min(ratios), max(ratios)
    print(f"\nimages/s, ours to MLflow's: {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})")


def _cells(competitor: Competitor) -> list[str]:
    p50, p99 = (1000 * float(np.quantile(competitor.seconds, share)) for share in (0.5, 0.99))
    failed = sum(count for status, count in competitor.statuses.items() if status >= 500)
    growth = competitor.megabytes[-1] / competitor.megabytes[0] - 1
    return [
        competitor.name,
        f"{statistics.median(competitor.images_per_s):.1f}",
        f"{p50:.0f}",
        f"{p99:.0f}",
        f"{p99 / p50:.1f}",
        f"{competitor.megabytes[0]:.0f}",
        f"{growth:+.1%}",
        f"{failed} of {competitor.statuses.total()}",
    ]


def registered(model: Path, folder: Path, versions: int = 1) -> list[str]:
    """Register a model so many times in a new store inside the folder; returns the URIs of the versions."""
    os.environ |= {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "DVC_ROOT": str(folder)}
    from retinanet.tracking.registry import register
    from retinanet.tracking.runs import start_run

    exported = folder / "exported"
    exported.mkdir()
    runtime = next(runtime for runtime in RUNTIMES.values() if Path(runtime.file_name).suffix == model.suffix)
    for file in model.parent.glob(f"{model.stem}.*"):  # weights may lie beside the model
        (exported / file.name.replace(model.stem, Path(runtime.file_name).stem, 1)).symlink_to(file)
    with start_run("benchmark") as run:
        run.log_metrics({"AP": 0.5})
    names = load_detector(model).class_names
    # A version is told from another by the digest of its weights.
    numbers = [register(MODEL, run.id, exported, f"{i}", {"AP": 0.5}, "none", names) for i in range(versions)]
    return [f"models:/{MODEL}/{number}" for number in numbers]


@contextmanager
def our_service(model: str, folder: Path, *options: str) -> Iterator[Competitor]:
    port = free_port()
    command = [sys.executable, "-m", "retinanet.cli.main", "serve", "--model", model, "--port", str(port), *options]
    with started(command, f"http://127.0.0.1:{port}/health", folder / "ours.log") as process:
        yield Competitor("retinanet serve", "/detect", port, process)


@contextmanager
def _mlflows(version: str, folder: Path) -> Iterator[Competitor]:
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", version, "--env-manager", "local"]
    command += ["--port", str(port)]
    with started(command, f"http://127.0.0.1:{port}/ping", folder / "mlflow.log") as process:
        yield Competitor("mlflow models serve", "/invocations", port, process)


def _load(competitor: Competitor, good: list[str], clients: int, seconds: float) -> None:
    """Ask a service for so long; adds the images/s of the good requests, and the latency of each of them."""
    end, before = time.monotonic() + seconds, len(competitor.seconds)
    bad = list(bad_requests().values())
    started = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        work = [pool.submit(_client, competitor, random.Random(number), good, bad, end) for number in range(clients)]
    for client in work:
        client.result()
    competitor.images_per_s.append((len(competitor.seconds) - before) / (time.monotonic() - started))


def _client(competitor: Competitor, rng: random.Random, good: list[str], bad: list[BadRequest], end: float) -> None:
    for answer in answers(competitor, rng, good, bad, end):
        competitor.statuses[answer.status] += 1
        if not answer.is_bad:
            assert answer.status == 200, (competitor.name, answer.status)
            competitor.seconds.append(answer.seconds)


def answers(
    competitor: Competitor, rng: random.Random, good: list[str], bad: list[BadRequest], end: float
) -> Iterator[Answer]:
    """Ask a service until the end, over one connection. Raises OSError or HTTPException if it does not answer."""
    connection, was_bad = http.client.HTTPConnection("127.0.0.1", competitor.port, timeout=120), False
    while time.monotonic() < end:
        is_bad = rng.random() < BAD_SHARE
        request = rng.choice(bad) if is_bad else BadRequest(image=rng.choice(good))
        body = competitor.body(request.image) if request.body is None else request.body
        started = time.monotonic()
        try:
            headers = {"Content-Type": request.content_type, **dict(request.headers)}
            connection.request("POST", competitor.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            # A service may close the connection after a bad request, before it has read all of it: the request after
            # it meets a closed connection, and is sent again.
            connection.close()
            if not (is_bad or was_bad):
                raise
            was_bad = False
            continue
        was_bad = is_bad
        yield Answer(is_bad, answer.status, time.monotonic() - started, content)


def noisy_jpegs(count: int, width: int, height: int) -> list[str]:
    """JPEGs with colored rectangles on noise, as base64."""
    rng, texts = np.random.default_rng(0), []
    for _ in range(count):
        pixels = rng.integers(90, 140, (height, width, 3)).astype(np.uint8)
        for left, top, side in zip(
            rng.integers(0, width, 8), rng.integers(0, height, 8), rng.integers(9, 99, 8), strict=True
        ):
            pixels[top : top + side, left : left + side] = rng.integers(0, 256, 3)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG")
        texts.append(base64.b64encode(file.getvalue()).decode())
    return texts


if __name__ == "__main__":
    main()

"""`retinanet serve` through a promotion, a rollback and SIGTERM, with 8 clients and 5% bad requests.

    uv run python -m benchmarks.serving_changes [--model models/export/model.onnx] [--seconds 300]

The alias moves to a second version after a third of the time, and back after two thirds; the service has 5 seconds to
notice. At the end it gets SIGTERM while the clients go on asking: each request that has begun must be answered; idle
and new connections are closed. Latencies are those of good requests. Memory is compared from the first third to the
last.
"""

import argparse
import http.client
import json
import math
import random
import signal
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.bad_requests import BadRequest, bad_requests
from benchmarks.serving import MODEL, Answer, Competitor, answers, noisy_jpegs, our_service, registered
from retinanet.tracking.store import open_client

ALIAS = "production"
END_S = 30  # clients go on for so long after SIGTERM, if they are still answered


@dataclass
class Seen:
    """What the clients saw: answers with the times at which they came, and how their last requests ended."""

    stopped_at: float = math.inf  # the time of SIGTERM
    answers: list[tuple[float, Answer]] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)

    def seconds_to_version(self, version: str, after: float) -> float:
        """From a time to the first answer by a version after it."""
        times = (
            time_s
            for time_s, answer in sorted(self.answers)
            if time_s > after and answer.status == 200 and json.loads(answer.content)["version"] == version
        )
        return next(times, math.inf) - after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/export/model.onnx"))
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--follow", default="5", help="how often the service looks at the alias, whole seconds")
    args = parser.parse_args()
    seen, good, bad = Seen(), noisy_jpegs(16, 640, 480), list(bad_requests().values())
    with tempfile.TemporaryDirectory() as folder:
        first, second = (uri.rpartition("/")[2] for uri in registered(args.model.resolve(), Path(folder), versions=2))
        move_alias(first)
        model = f"models:/{MODEL}@{ALIAS}"
        with (
            our_service(model, Path(folder), "--follow", args.follow) as service,
            ThreadPoolExecutor(args.clients) as pool,
        ):
            started = time.monotonic()
            end = started + args.seconds + END_S
            clients = [pool.submit(_client, service, number, good, bad, end, seen) for number in range(args.clients)]
            moves = []
            for version in (second, first, ""):
                time.sleep(args.seconds / 3)
                service.add_memory()
                if version:
                    moves.append((version, time.monotonic()))
                    move_alias(version)
            seen.stopped_at = time.monotonic()
            service.process.send_signal(signal.SIGTERM)
            code = service.process.wait(END_S)
            ended_s = time.monotonic() - seen.stopped_at
            for client in clients:
                client.result()
        log = (Path(folder) / "ours.log").read_text()
    if code:
        print(f"the service's log ends with:\n{log[-2000:]}")
    _print_requests(seen, started)
    for name, (version, moved_at) in zip(("promotion", "rollback"), moves, strict=True):
        print(f"{name}: the first answer by version {version} after {seen.seconds_to_version(version, moved_at):.1f} s")
    first_mb, *_, last_mb = service.megabytes
    print(f"memory: {first_mb:.0f} MB after a third of the time, {last_mb / first_mb - 1:+.1%} at the end")
    print(f"SIGTERM: ended after {ended_s:.1f} s with code {code}; the clients' last requests: {dict(seen.ends)}")
    late = Counter(answer.status for time_s, answer in seen.answers if time_s >= seen.stopped_at)
    print(f"answers after SIGTERM by status: {dict(late)}")


def move_alias(version: str) -> None:
    open_client().set_registered_model_alias(MODEL, ALIAS, version)


def _client(service: Competitor, number: int, good: list[str], bad: list[BadRequest], end: float, seen: Seen) -> None:
    try:
        for answer in answers(service, random.Random(number), good, bad, end):
            seen.answers.append((time.monotonic(), answer))
    except (OSError, http.client.HTTPException) as error:
        if time.monotonic() < seen.stopped_at:
            raise
        # An idle connection is closed as well: the request after it is not begun, as with a new connection.
        is_closed = isinstance(error, (ConnectionRefusedError, BrokenPipeError))
        seen.ends["connection closed" if is_closed else "not answered"] += 1


def _print_requests(seen: Seen, started: float) -> None:
    every = [answer for time_s, answer in seen.answers if time_s < seen.stopped_at]
    good = [answer for answer in every if not answer.is_bad]
    seconds = [answer.seconds for answer in good]
    p50, p99 = (1000 * float(np.quantile(seconds, share)) for share in (0.5, 0.99))
    print(f"{len(every)} requests, {len(every) - len(good)} of them bad; 5xx: {sum(a.status >= 500 for a in every)}")
    print(f"good requests not answered by 200: {sum(answer.status != 200 for answer in good)}")
    print(f"{len(good) / (seen.stopped_at - started):.1f} images/s, p50 {p50:.0f} ms, p99 {p99:.0f} ms")


if __name__ == "__main__":
    main()

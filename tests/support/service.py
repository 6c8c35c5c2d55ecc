"""`retinanet serve` in a process of its own."""

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.mlflow_server import wait_for
from support.pet_models import base64_of, encoded

RETINANET = ("-m", "retinanet.cli.main")


@dataclass
class RunningService:
    process: subprocess.Popen
    folder: Path

    @property
    def output(self) -> list[str]:
        """The lines on stdout so far."""
        return (self.folder / "service.out").read_text().splitlines()

    @property
    def log(self) -> str:
        """What is on stderr so far."""
        return (self.folder / "service.log").read_text()

    @property
    def url(self) -> str:
        return next((line.split()[0] for line in self.output if line.startswith("http://")), "")

    def ask(self, images: int = 1, seconds: float = 30) -> tuple[int, dict]:
        """The status and the content of an answer; raises OSError if there is none."""
        body = json.dumps({"images": [base64_of(encoded(64, 48))] * images}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/detect", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@contextmanager
def running_service(folder: Path, *options: str, program: Sequence[str] = RETINANET) -> Iterator[RunningService]:
    """Run the command in a folder, on a free port; the process is killed at the end if it still runs."""
    command = [sys.executable, *program, "serve", "--port", "0", *options]
    with open(folder / "service.out", "w") as out, open(folder / "service.log", "w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=log)
    service = RunningService(process, folder)
    try:
        wait_until(lambda: service.url or process.poll() is not None, 60)
        wait_for(f"{service.url}/health", process)
        yield service
    finally:
        process.kill()
        process.wait()


def wait_until(holds: Callable[[], object], seconds: float = 10) -> None:
    """Wait until something holds. Raises AssertionError if it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@dataclass
class Clients:
    """Clients that ask a service again and again until they are stopped."""

    service: RunningService
    images: int = 1
    answers: list[tuple[int, dict]] = field(default_factory=list)
    lost: list[OSError] = field(default_factory=list)

    @contextmanager
    def asking(self, count: int = 4) -> Iterator[None]:
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                try:
                    self.answers.append(self.service.ask(self.images))
                except OSError as error:
                    self.lost.append(error)
                    return

        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

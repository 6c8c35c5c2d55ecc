"""Servers on 127.0.0.1 that benchmarks start and end."""

import os
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

START_S = 300


@contextmanager
def started(command: list[str], url: str, log: Path) -> Iterator[psutil.Popen]:
    """Run a command until the block ends; yields its process once the address answers."""
    # MLflow starts its server by the name `uvicorn`.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with open(log, "w") as file:
        process = psutil.Popen(command, stdout=file, stderr=file, env=environment)
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < deadline and process.poll() is None, log.read_text()
                time.sleep(0.2)
        yield process
    finally:
        if process.is_running():
            for member in [*process.children(recursive=True), process]:
                member.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]

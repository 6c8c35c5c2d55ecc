"""An MLflow server on 127.0.0.1, and a proxy in front of it that refuses, stalls, or asks for a token."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil


@contextmanager
def mlflow_server(folder: Path, *options: str, port: int | None = None) -> Iterator[int]:
    """Run a server with its store in a folder; yields its port."""
    port = port or free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += options or ("--artifacts-destination", str(folder / "artifacts"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")} | {
        "MLFLOW_DISABLE_TELEMETRY": "true"
    }
    with open(folder / "server.log", "w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the server waits for open connections otherwise
        process.wait()


class Proxy:
    """Passes requests on to a port, unless `answer` gives a status (413, 401, ...) for the request."""

    def __init__(self, target: int):
        self.answer: Callable[[str, int, str], int | None] = lambda path, size, token: None
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status = proxy.answer(self.path, len(body), self.headers.get("Authorization") or "")
                if status:
                    self._reply(status, b"<html>refused by the proxy</html>", "text/html")
                    return
                connection = http.client.HTTPConnection("127.0.0.1", target, timeout=60)
                kept = {k: v for k, v in self.headers.items() if k in ("Content-Type", "Accept")}
                try:
                    connection.request(self.command, self.path, body, kept)
                    answer = connection.getresponse()
                    self._reply(answer.status, answer.read(), answer.headers.get("Content-Type") or "")
                except OSError:  # the client did not wait, or the server has ended
                    self.close_connection = True
                finally:
                    connection.close()

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def _reply(self, status: int, content: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def wait_for(url: str, process: subprocess.Popen | psutil.Popen) -> None:
    """Wait until a server answers, 3 minutes at most."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"{url} did not answer")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]

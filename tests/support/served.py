"""A file server on 127.0.0.1 that answers wrongly on request."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Fault:
    """One wrong answer."""

    status: int = 0  # instead of 200 or 206
    cut: int | None = None  # bytes after which the connection closes
    length: int = 0  # added to the true Content-Length
    kind: str = ""  # Content-Type
    headers: tuple[tuple[str, str], ...] = ()
    hold: threading.Event | None = None  # awaited after the cut bytes before the connection closes


@dataclass
class Served:
    """The files of a server by path, and its behavior; each request consumes one of the faults, if any are left."""

    files: dict[str, bytes] = field(default_factory=dict)
    etag: str = '"1"'
    supports_ranges: bool = True
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # path and Range header
    port: int = 0

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    @property
    def ranges(self) -> list[str | None]:
        return [byte_range for _, byte_range in self.requests]


@contextmanager
def serving() -> Iterator[Served]:
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, served)

        def log_message(self, *_: object) -> None:
            """Log nothing: tests read `requests`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(handler: BaseHTTPRequestHandler, served: Served) -> None:
    path, byte_range = handler.path.lstrip("/").partition("?")[0], handler.headers.get("Range")
    served.requests.append((str(PurePosixPath(path)), byte_range))
    content = served.files.get(path)
    if content is None:
        handler.send_error(404)
        return
    fault = served.faults.pop(0) if served.faults else Fault()
    start = int(byte_range.removeprefix("bytes=").rstrip("-")) if byte_range and served.supports_ranges else 0
    if start and handler.headers.get("If-Range", served.etag) != served.etag:
        start = 0
    status = 206 if start else 200
    if start >= len(content) > 0:
        status = 416
    handler.send_response(fault.status or status)
    if status != 200:
        span = "*" if status == 416 else f"{start}-{len(content) - 1}"
        handler.send_header("Content-Range", f"bytes {span}/{len(content)}")
    body = b"" if status == 416 or fault.status >= 400 else content[start:]
    handler.send_header("Content-Length", str(len(body) + fault.length))
    handler.send_header("Content-Type", fault.kind or "application/octet-stream")
    if served.etag:
        handler.send_header("ETag", served.etag)
    for name, value in fault.headers:
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body if fault.cut is None else body[: fault.cut])
    if fault.hold:
        handler.wfile.flush()
        fault.hold.wait()

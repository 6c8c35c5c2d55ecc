"""Run the service in this process until SIGTERM or Ctrl-C."""

import os
import signal
import socket
from types import FrameType

import uvicorn

from retinanet.errors import RetinanetError
from retinanet.serving.app import create_app
from retinanet.serving.limits import Limits
from retinanet.serving.metrics import Metrics
from retinanet.serving.models import Models, ModelSource
from retinanet.serving.service import Service

# After SIGTERM: running requests are answered for this long, then given up; the process ends within 10 s.
ANSWER_S, END_S = 6.0, 8
# Longer than load balancers keep idle connections, so that they close them and no request meets a closed one.
KEEP_ALIVE_S = 75


def run(
    source: ModelSource, host: str, port: int, limits: Limits, follow_every_s: float, batch_size: int | None
) -> None:
    """Serve a model. Raises RetinanetError if the address or the model cannot be opened."""
    listener = _bind(host, port)
    metrics = Metrics()
    models = Models(source, metrics)
    service = Service(models, limits, metrics, batch_size or default_batch_size())
    # h11 limits the size of headers, which httptools does not.
    config = uvicorn.Config(
        create_app(service),
        http="h11",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=END_S,
    )
    models.follow(follow_every_s)
    print(f"http://{host}:{listener.getsockname()[1]} (/detect, /health, /metrics, /docs)", flush=True)
    # uvicorn repeats the signal that ended it, which would end this process before it exits with 0.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        _Server(config, service).run([listener])
    finally:
        signal.signal(signal.SIGTERM, before)
    print("stopped", flush=True)


def default_batch_size() -> int:
    """8 on a GPU; 1 on a CPU, where an image takes as long in a batch as alone."""
    import onnxruntime

    return 8 if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else 1


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, service: Service):
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._service.stop_in(ANSWER_S)


def _bind(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if os.name == "posix":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise RetinanetError(f"{host}:{port}: {error.strerror}; choose another --host or --port") from error
    return listener

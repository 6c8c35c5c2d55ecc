"""What the service measures, for Prometheus."""

from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 30, 60)


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "retinanet_requests", "Requests to /detect by HTTP status", ["status"], registry=self.registry
        )
        self.seconds = Histogram(
            "retinanet_request_seconds", "Seconds of requests to /detect", buckets=SECONDS, registry=self.registry
        )
        self.images = Counter(
            "retinanet_images", "Images by result: detected or refused", ["result"], registry=self.registry
        )
        self.waiting = Gauge(
            "retinanet_waiting_images", "Images of requests that are not answered yet", registry=self.registry
        )
        self.batches = Histogram(
            "retinanet_batch_images", "Images or tiles of a batch", buckets=(1, 2, 4, 8, 16, 32), registry=self.registry
        )
        self.network_seconds = Histogram(
            "retinanet_network_seconds", "Seconds of the network for a batch", buckets=SECONDS, registry=self.registry
        )
        self.model = Info("retinanet_model", "Name and version of the served model", registry=self.registry)
        self.model_problem = Gauge(
            "retinanet_model_problem", "1 if the version named in the registry is not served", registry=self.registry
        )


class ObserveRequests:
    """ASGI middleware that counts the requests to /detect and their seconds."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/detect":
            await self.app(scope, receive, send)
            return
        started, status = perf_counter(), 500

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, observed)
        finally:
            self.metrics.requests.labels(str(status)).inc()
            self.metrics.seconds.observe(perf_counter() - started)

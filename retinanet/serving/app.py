"""The HTTP interface of the service: /detect, /health, /metrics, and the OpenAPI document."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

import retinanet
from retinanet.serving.bodies import LimitBodies, overloaded, read_images
from retinanet.serving.metrics import ObserveRequests
from retinanet.serving.schemas import DetectResponse, Health, Problem, request_body
from retinanet.serving.service import Overloaded, Service

T = TypeVar("T")
CLIENT_GONE = 499  # nobody reads this answer; it is for the metrics
REFUSED = {
    400: "not an HTTP form",
    408: "the body did not arrive in time",
    413: "the body is too large",
    415: "neither JSON nor a form",
    503: "too many images wait, or the service is stopping; Retry-After says when to try again",
}


def create_app(service: Service) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(title="RetinaNet detector", version=retinanet.__version__, lifespan=lifespan, redoc_url=None)
    app.add_middleware(LimitBodies, max_bytes=service.limits.body_bytes)
    app.add_middleware(ObserveRequests, metrics=service.metrics)
    _answer_errors_as_json(app)

    responses: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": text} for status, text in REFUSED.items()
    }
    responses[422] = {
        "model": DetectResponse | Problem,
        "description": "no image could be read, each result says why; or the request is not as described here",
    }

    @app.post(
        "/detect",
        operation_id="detect",
        responses=responses,
        openapi_extra={"requestBody": request_body(service.limits)},
    )
    async def detect(request: Request, response: Response) -> DetectResponse:
        """Detect objects in images. An image that cannot be read has an error in its result."""
        answer = await _detect(request, service)
        if all(result.error for result in answer.results):
            response.status_code = 422
        return answer

    @app.get("/health", operation_id="health")
    async def health() -> Health:
        """The version in service."""
        model = service.models.current
        return Health(ready=True, model=model.name, version=model.version, problem=service.models.problem)

    @app.get(
        "/metrics", operation_id="metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}}
    )
    async def metrics() -> Response:
        """Metrics for Prometheus."""
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


async def _detect(request: Request, service: Service) -> DetectResponse:
    deadline = asyncio.get_running_loop().time() + service.limits.seconds
    try:
        service.require_room(1)
        try:
            async with asyncio.timeout_at(deadline):
                images, threshold = await read_images(request, service.limits)
        except TimeoutError as error:
            close = {"Connection": "close"}
            raise HTTPException(408, f"the body did not arrive in {service.limits.seconds} s", close) from error
        async with asyncio.timeout_at(deadline):
            return await _while_wanted(service.detect(images, threshold), request, service)
    except Overloaded as error:
        raise overloaded() from error
    except TimeoutError as error:
        text = f"not done in {service.limits.seconds} s; send fewer or smaller images, or try again later"
        raise HTTPException(503, text, {"Retry-After": "1"}) from error
    except ClientDisconnect as error:
        raise HTTPException(CLIENT_GONE, "the client has gone") from error


async def _while_wanted(work: Coroutine[Any, Any, T], request: Request, service: Service) -> T:
    """Do the work, but cancel it when the client closes the connection or the service stops."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnected(request))
    stopping = asyncio.create_task(service.stopping.wait())
    try:
        await asyncio.wait({task, gone, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise ClientDisconnect
        raise HTTPException(503, "the service is stopping", {"Retry-After": "1"})
    finally:
        for pending in (task, gone, stopping):
            pending.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer_errors_as_json(app: FastAPI) -> None:
    @app.exception_handler(StarletteHTTPException)
    async def refused(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": "the service failed; its log says why"}, 500)

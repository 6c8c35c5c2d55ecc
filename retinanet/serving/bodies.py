"""The bodies of requests: limited while they are read, then parsed."""

import asyncio

from fastapi import HTTPException, Request
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import UploadFile
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retinanet.errors import ImageError, suggestion
from retinanet.serving.limits import Limits
from retinanet.serving.payload import decode_base64
from retinanet.serving.schemas import DetectRequest, Threshold

FORM_FIELDS = ("images", "score_threshold")
# Bodies of all requests that are held at once, in bodies of the largest size.
MAX_BODIES_HELD = 8


class LimitBodies:
    """ASGI middleware that refuses too large a body before it is read, or, if its length is unknown, while it is."""

    def __init__(self, app: ASGIApp, max_bytes: int):
        self.app, self.max_bytes, self.held = app, max_bytes, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        received = 0

        async def limited() -> Message:
            nonlocal received
            if declared.isdigit() and int(declared) > self.max_bytes:
                raise self._too_large()
            message = await receive()
            size = len(message.get("body", b""))
            received += size
            self.held += size
            if received > self.max_bytes:
                raise self._too_large()
            if size and self.held > MAX_BODIES_HELD * self.max_bytes:
                raise overloaded()
            return message

        try:
            await self.app(scope, limited, send)
        finally:
            self.held -= received

    def _too_large(self) -> HTTPException:
        error = f"the body has more than {self.max_bytes} bytes; send fewer or smaller images"
        return HTTPException(413, error, {"Connection": "close"})


def overloaded() -> HTTPException:
    return HTTPException(503, "too many requests wait; try again later", {"Retry-After": "1", "Connection": "close"})


async def read_images(request: Request, limits: Limits) -> tuple[list[bytes | ImageError], float | None]:
    """The encoded images of a request, or why one has none, and its score threshold.

    Raises HTTPException if the request is not as the OpenAPI document describes it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return await asyncio.to_thread(_from_json, await request.body(), limits)
    if kind == "multipart/form-data":
        return await _from_form(request, limits)
    raise HTTPException(415, "the content type must be application/json or multipart/form-data")


def _from_json(body: bytes, limits: Limits) -> tuple[list[bytes | ImageError], float | None]:
    try:
        content = DetectRequest.model_validate_json(body)
    except ValidationError as error:
        raise HTTPException(422, _explanation(error)) from error
    if len(content.images) > limits.images:
        raise HTTPException(422, f"{len(content.images)} images in one request; at most {limits.images} are accepted")
    return [_decoded(text, limits) for text in content.images], content.score_threshold


async def _from_form(request: Request, limits: Limits) -> tuple[list[bytes | ImageError], float | None]:
    async with request.form(max_files=limits.images, max_fields=len(FORM_FIELDS)) as form:
        for name in form:
            if name not in FORM_FIELDS:
                raise HTTPException(422, f"unknown field; {suggestion(name, FORM_FIELDS)}".rstrip("; "))
        files = form.getlist("images")
        if not files:
            raise HTTPException(422, "images: no file in this field")
        images: list[bytes | ImageError] = []
        for file in files:
            if not isinstance(file, UploadFile):
                raise HTTPException(422, "images: must be files, with a file name each")
            images.append(await file.read() or ImageError("the file is empty"))
        try:
            values = [TypeAdapter(Threshold).validate_python(value) for value in form.getlist("score_threshold")]
        except ValidationError as error:
            raise HTTPException(422, f"score_threshold: {_explanation(error)}") from error
        if len(values) > 1:
            raise HTTPException(422, "score_threshold: more than one value")
        return images, values[0] if values else None


def _decoded(text: str, limits: Limits) -> bytes | ImageError:
    try:
        return decode_base64(text, limits.body_bytes)
    except ImageError as error:
        return error


def _explanation(error: ValidationError) -> str:
    """What is wrong, without the request's own content."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    # A caller may choose the place: the name of an unknown field.
    return f"{place[:60]}: {first['msg']}" if place else first["msg"]

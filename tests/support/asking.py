"""Requests to the service, in this thread or in another one."""

import threading
from collections.abc import Callable

from httpx2 import Response
from starlette.testclient import TestClient

from support.pet_models import base64_of


def ask(client: TestClient, *images: bytes, **settings: object) -> Response:
    """Send encoded images as JSON."""
    return client.post("/detect", json={"images": [base64_of(image) for image in images], **settings})


def in_background(send: Callable[..., Response], *arguments: object) -> tuple[threading.Thread, list[Response]]:
    """Call a function in a thread; its answer will be in the list."""
    answers: list[Response] = []
    thread = threading.Thread(target=lambda: answers.append(send(*arguments)))
    thread.start()
    return thread, answers

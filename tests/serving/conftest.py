from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from starlette.testclient import TestClient
from support.pet_models import PetSource, new_service

from retinanet.serving.app import create_app


@pytest.fixture
def source() -> PetSource:
    return PetSource()


@pytest.fixture
def start(source) -> Iterator[Callable[..., TestClient]]:
    """Start a service of the source with these limits, and return a client of it."""
    with ExitStack() as clients:

        def start(batch_size: int = 1, **limits: int) -> TestClient:
            service = new_service(source, batch_size, **limits)
            client = clients.enter_context(TestClient(create_app(service), raise_server_exceptions=False))
            client.service = service
            return client

        yield start
        source.network.go.set()

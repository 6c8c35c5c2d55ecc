import pytest
from squares import small_network

from retinanet.params import Model


@pytest.fixture
def small_settings() -> Model:
    """A network that runs in milliseconds."""
    return small_network()

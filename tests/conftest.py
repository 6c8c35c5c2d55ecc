"""Fixtures of all tests. Tests run two at a time, so each computes with one thread unless OMP_NUM_THREADS is set."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for the processes that tests start

import pytest
from support.squares import small_network
from support.workspace import SMALL, Workspace, clone

from retinanet.config.model import Model


@pytest.fixture
def small_settings() -> Model:
    """A network that runs in milliseconds."""
    return small_network()


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> Workspace:
    """A clone after one `dvc repro`, committed. Each test continues from the state that the one before it left."""
    workspace = Workspace(clone(tmp_path_factory.mktemp("pipeline") / "clone"))
    for section, values in SMALL.items():
        workspace.set(section, **values)
    workspace.commit("small")
    workspace.repro_output = workspace.run("dvc", "repro")
    workspace.commit("made")
    return workspace


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Do not name tests after the bytes of archives: those hold the time, so that two workers collect other tests."""
    return argname if isinstance(val, bytes) else None

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
    """A clone after one `dvc repro`, committed; what it said is in `said`. Tests go on from each other's state."""
    workspace = Workspace(clone(tmp_path_factory.mktemp("pipeline") / "clone"))
    for section, values in SMALL.items():
        workspace.set(section, **values)
    workspace.commit("small")
    workspace.said = workspace.run("dvc", "repro")
    workspace.commit("made")
    return workspace

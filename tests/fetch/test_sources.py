import pytest

from retinanet.config.params import load_params
from retinanet.fetch.public_sets import PUBLIC_SETS
from retinanet.fetch.sources import SOURCES


def test_public_sets_are_sources():
    assert set(PUBLIC_SETS) < set(SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_has_a_name_for_tracked_runs(name):
    """From its settings if it has a section, else its own name."""
    settings = load_params().download.model_copy(update={"source": name})
    known = {"package": "deepforest 2.1.0", "archive": "", "folder": "data/my_images", "dvc": " "}
    assert settings.source_name() == known.get(name, name)

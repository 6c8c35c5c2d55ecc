from pathlib import Path

import pytest

from retinanet.config.params import load_params
from retinanet.images.preprocess import InputSize
from retinanet.prepare.decide import decide
from retinanet.prepare.decisions import Decisions

PARAMS = load_params(Path("params.yaml"))
PACKAGE = PARAMS.download.package.model_copy(update={"tile_size": 300, "orientation": "any", "epochs": 30})
INPUT = InputSize(640, 640)


@pytest.mark.parametrize(
    ("tile_size", "package", "decisions"),
    [
        ("auto", None, Decisions(0, 0.25, "upright")),
        ("auto", PACKAGE, Decisions(300, 0.25, "any", 30)),
        (500, None, Decisions(500, 0.25, "upright")),
        (500, PACKAGE, Decisions(500, 0.25, "any", 30)),
    ],
)
def test_the_user_decides_before_the_source_and_the_source_before_the_data(tile_size, package, decisions):
    settings = PARAMS.prepare.model_copy(update={"tile_size": tile_size, "tile_overlap": 0.25})
    decided, remarks = decide(settings, package, INPUT, [])
    assert decided == decisions
    assert len(remarks) == (tile_size == "auto")

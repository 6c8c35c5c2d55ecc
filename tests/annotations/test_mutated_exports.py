"""Random damage of the tools' exports: each is read, or the error is one line."""

import json
import random
from pathlib import Path

import pytest
from support.damage import damaged, with_bad_value
from support.tool_layouts import LAYOUTS, write_layout

from retinanet.annotations.formats import read_source
from retinanet.errors import AnnotationError


def mutated_exports(count: int, root: Path) -> None:
    """Damage one file of an export; it is read, or the error is one line."""
    chance = random.Random(count)
    read = 0
    for number in range(count):
        tool = list(LAYOUTS)[number % len(LAYOUTS)]
        folder = root / str(number)
        write_layout(folder, LAYOUTS[tool])
        path = folder / chance.choice(list(LAYOUTS[tool].files))
        if path.suffix == ".json" and chance.random() < 0.7:
            content = with_bad_value(json.loads(path.read_text(encoding="utf-8")), chance)
            path.write_text(json.dumps(content), encoding="utf-8")
        else:
            path.write_bytes(damaged(path.read_bytes(), chance))
        try:
            read_source(folder)
            read += 1
        except AnnotationError as error:
            assert "\n" not in str(error).strip(), tool
    assert 0 < read < count


def test_some_mutated_exports_of_tools(tmp_path):
    mutated_exports(2 * len(LAYOUTS), tmp_path)


@pytest.mark.slow
def test_mutated_exports_of_tools(tmp_path):
    mutated_exports(20 * len(LAYOUTS), tmp_path)

import pytest

from retinanet.errors import AnnotationError
from retinanet.prepare.decisions import Decisions, read_decisions, write_decisions


def test_decisions_are_read_as_they_were_written(tmp_path):
    for decisions in (Decisions(400, 0.25, "any", 20), Decisions(0, 0.25, "upright")):
        write_decisions(decisions, tmp_path / "decisions.json")
        assert read_decisions(tmp_path / "decisions.json") == decisions


def test_missing_decisions_name_the_command(tmp_path):
    with pytest.raises(AnnotationError, match=r"decisions\.json: No such file.*run `dvc repro prepare`"):
        read_decisions(tmp_path / "decisions.json")

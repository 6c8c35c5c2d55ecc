import json
import os
import resource
from contextlib import contextmanager

import pytest

from retinanet.cli.growing_files import GrowingJson, GrowingText
from retinanet.errors import RetinanetError


@contextmanager
def full_disk(size: int):
    """No file can grow beyond this size."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_text_is_complete_after_each_addition(tmp_path):
    path = tmp_path / "new" / "a.txt"
    text = GrowingText(path, "<", ",", ">\n")
    assert path.read_text() == "<>\n"
    for content in ("<1>\n", "<1,22>\n", "<1,22,3>\n"):
        text.add(content.strip("<>\n").split(",")[-1])
        assert path.read_text() == content
    text.close([b"!"])
    assert path.read_text() == "<1,22,3!>\n"


def test_text_never_replaces_a_file(tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(RetinanetError, match=r"a\.txt: exists already, and no file is replaced"):
        GrowingText(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "mine"


def test_text_stays_complete_if_the_disk_is_full(tmp_path):
    path = tmp_path / "a.json"
    text = GrowingText(path, "[", ",", "]")
    text.add('"a"')
    with full_disk(20):
        with pytest.raises(OSError, match="too large"):
            text.add(json.dumps("b" * 50))
        assert json.loads(path.read_text()) == ["a"]
        text.add('"c"')
    text.close()
    assert json.loads(path.read_text()) == ["a", "c"]


def test_first_list_of_json_is_complete_at_once_and_the_others_after_close(tmp_path):
    path = tmp_path / "a.json"
    file = GrowingJson(path, {"names": ["ä"]}, ["rows", "more", "none"])
    for number in range(3):
        file.add("rows", [{"id": number}])
        file.add("more", [number, str(number)])
        assert json.loads(path.read_text("utf-8")) == {"names": ["ä"], "rows": [{"id": i} for i in range(number + 1)]}
    file.close()
    content = json.loads(path.read_text("utf-8"))
    assert content["more"] == [0, "0", 1, "1", 2, "2"]
    assert content["rows"] == [{"id": 0}, {"id": 1}, {"id": 2}] and content["none"] == []
    assert list(tmp_path.iterdir()) == [path]


def test_names_that_are_not_utf_8_stay_valid_json(tmp_path):
    path, name = tmp_path / "a.json", os.fsdecode(b"caf\xe9.jpg")
    file = GrowingJson(path, {}, ["names"])
    file.add("names", [name])
    file.close()
    assert json.loads(path.read_text("utf-8")) == {"names": [name]}


def test_nan_is_an_error(tmp_path):
    file = GrowingJson(tmp_path / "a.json", {}, ["scores"])
    with pytest.raises(ValueError, match="not JSON compliant"):
        file.add("scores", [float("nan")])
    file.close()
    assert json.loads((tmp_path / "a.json").read_text()) == {"scores": []}

import json

import numpy as np
import pytest

from retinanet.errors import RetinanetError
from retinanet.rasters.journal import FOUND, add_row, open_journal, read_rows

KEY = {"model": "abc", "grid": {"step": 3}}


def found(*scores: float) -> np.ndarray:
    rows = np.zeros(len(scores), FOUND)
    rows["score"], rows["box"] = scores, [1, 2, 3, 4.5]
    return rows


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.gpkg.journal"
    assert open_journal(path, KEY) == (path, 0, ())
    return path


def test_rows_are_read_as_they_were_added(path):
    add_row(path, 0, found(0.25, 0.5))
    add_row(path, 1, found())
    assert open_journal(path, KEY).rows == 2
    first, second = read_rows(path)
    np.testing.assert_array_equal(first, found(0.25, 0.5))
    assert len(second) == 0


@pytest.mark.parametrize("rest", [b"{", b'{"row": 1, "found": ""}', b'{"row": 5, "found": ""}\n', b'{"row": 1}\n'])
def test_what_follows_the_last_complete_row_is_removed(path, rest):
    add_row(path, 0, found(0.5))
    complete = path.read_bytes()
    path.write_bytes(complete + rest)
    assert open_journal(path, KEY).rows == 1
    assert path.read_bytes() == complete


def test_cut_off_anywhere_the_rows_before_remain(path):
    ends = [path.stat().st_size]
    for row in range(3):
        add_row(path, row, found(0.5))
        ends.append(path.stat().st_size)
    content = path.read_bytes()
    for length in range(ends[0], len(content)):
        path.write_bytes(content[:length])
        assert open_journal(path, KEY).rows == sum(end <= length for end in ends) - 1


def test_another_key_begins_again_and_names_what_changed(path):
    add_row(path, 0, found(0.5))
    journal = open_journal(path, KEY | {"model": "xyz"})
    assert (journal.rows, journal.changed) == (0, ("model",))
    assert list(read_rows(path)) == []
    assert json.loads(path.read_text()) == KEY | {"model": "xyz"}


def test_another_file_is_not_replaced(tmp_path):
    (tmp_path / "notes.journal").write_text("Dear diary\n")
    with pytest.raises(RetinanetError, match="is not the journal of a run"):
        open_journal(tmp_path / "notes.journal", KEY)
    assert (tmp_path / "notes.journal").read_text() == "Dear diary\n"

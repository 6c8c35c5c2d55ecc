import hashlib
import json

import pytest
from support.packed import tree

from retinanet.errors import RetinanetError
from retinanet.files import megabytes, new_folder, repo_root, sha256_of, write_json, write_text


@pytest.fixture
def final(tmp_path):
    """A folder of an earlier run."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "old.txt").write_text("old")
    return tmp_path / "raw"


def test_sha256_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_paths_start_at_the_repository_also_in_a_temporary_copy_of_it(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert repo_root() == tmp_path
    monkeypatch.setenv("DVC_ROOT", "/somewhere")
    assert str(repo_root()) == "/somewhere"


def test_new_folder_replaces_the_old_one(final):
    with new_folder(final) as folder:
        (folder / "new.txt").write_text("new")
        assert tree(final) == {"old.txt": b"old"}
    assert tree(final.parent) == {"raw": None, "raw/new.txt": b"new"}


def test_new_folder_without_an_old_one(tmp_path):
    with new_folder(tmp_path / "data" / "raw") as folder:
        (folder / "new.txt").write_text("new")
    assert tree(tmp_path) == {"data": None, "data/raw": None, "data/raw/new.txt": b"new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_new_folder_after_an_error_leaves_everything_unchanged(final, error):
    before = tree(final.parent)
    with pytest.raises(error), new_folder(final) as folder:
        (folder / "new.txt").write_text("new")
        raise error
    assert tree(final.parent) == before


def test_new_folder_removes_leftovers_of_a_killed_run(final):
    for left in (".raw.new", ".raw.old"):
        (final.parent / left).mkdir()
        (final.parent / left / "left.txt").write_text("left")
    with new_folder(final) as folder:
        assert tree(folder) == {}
    assert tree(final.parent) == {"raw": None}


def test_new_folder_recovers_from_a_kill_between_renames(final):
    final.rename(final.parent / ".raw.old")
    with pytest.raises(ValueError), new_folder(final):
        raise ValueError
    assert tree(final.parent) == {"raw": None, "raw/old.txt": b"old"}


def test_new_folder_that_cannot_be_created_fails(tmp_path):
    (tmp_path / "data").write_text("a file")
    with (
        pytest.raises(RetinanetError, match=r"data/\.raw\.new: the folder cannot be created"),
        new_folder(tmp_path / "data" / "raw"),
    ):
        pass


def test_text_and_json_replace_a_file_in_one_step(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "grün\n")
    assert tree(tmp_path) == {"a": None, "a/b.txt": "grün\n".encode()}
    write_json(tmp_path / "c.json", {"é": [1, 2.5]})
    assert json.loads((tmp_path / "c.json").read_text(encoding="utf-8")) == {"é": [1, 2.5]}


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "c.json", 1)
    with pytest.raises(ValueError):
        write_json(tmp_path / "c.json", float("nan"))
    assert tree(tmp_path) == {"c.json": b"1\n"}


def test_megabytes():
    assert megabytes(20_639_595) == "20.6 MB"

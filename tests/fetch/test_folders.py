import errno

import pytest
from support.packed import files_in, tree

from retinanet.errors import DownloadError
from retinanet.fetch import folders
from retinanet.fetch.folders import copy_folder


@pytest.fixture
def folder(tmp_path):
    for name, content in {
        "a.jpg": b"a",
        "deep/b.xml": b"b",
        "a name\nof two lines/ü.png": b"c",
        ".hidden": b"",
    }.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    (tmp_path / "out").mkdir()
    return tmp_path / "folder"


def test_all_files_are_copied(folder, tmp_path):
    before = tree(folder)
    copied = copy_folder(folder, tmp_path / "out")
    assert files_in(tmp_path / "out") == files_in(folder)
    assert sorted(copied) == sorted(tmp_path / "out" / name for name in files_in(folder))
    assert tree(folder) == before


def test_links_are_followed_and_their_content_is_copied(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.jpg").write_bytes(b"c")
    (folder / "images").symlink_to(tmp_path / "elsewhere")
    (folder / "d.jpg").symlink_to(folder / "a.jpg")
    copy_folder(folder, tmp_path / "out")
    found = files_in(tmp_path / "out")
    assert (found["images/c.jpg"], found["d.jpg"]) == (b"c", b"a")
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


@pytest.mark.parametrize(
    ("target", "message"),
    [("nowhere", "broken: is a broken link"), ("../folder", "broken: is a link to a folder that contains it")],
)
def test_broken_and_circular_links_are_errors(folder, tmp_path, target, message):
    (folder / "broken").symlink_to(target)
    with pytest.raises(DownloadError, match=message):
        copy_folder(folder, tmp_path / "out")


def test_missing_empty_and_enclosing_folders_are_errors(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DownloadError, match=r"no such folder; correct download\.folder\.path"):
        copy_folder(tmp_path / "none", tmp_path / "out")
    (tmp_path / "empty" / "README.md").write_text("put images here")
    with pytest.raises(DownloadError, match="contains no images"):
        copy_folder(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(DownloadError, match=r"contains .*, the destination of the copy"):
        copy_folder(tmp_path, tmp_path / "out")


def test_a_full_disk_is_reported(folder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folders.shutil, "copyfile", full)
    with pytest.raises(DownloadError, match="the disk is full while copying"):
        copy_folder(folder, tmp_path / "out")

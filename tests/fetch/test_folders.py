import errno

import pytest
from support.packed import files_in, tree

from retinanet.errors import DownloadError
from retinanet.fetch import folders
from retinanet.fetch.folders import copy_folder


@pytest.fixture
def mine(tmp_path):
    for name, content in {
        "a.jpg": b"a",
        "deep/b.xml": b"b",
        "a name\nof two lines/ü.png": b"c",
        ".hidden": b"",
    }.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(content)
    (tmp_path / "out").mkdir()
    return tmp_path / "mine"


def test_all_files_are_copied(mine, tmp_path):
    before = tree(mine)
    copied = copy_folder(mine, tmp_path / "out")
    assert files_in(tmp_path / "out") == files_in(mine)
    assert sorted(copied) == sorted(tmp_path / "out" / name for name in files_in(mine))
    assert tree(mine) == before


def test_links_are_followed_and_their_content_is_copied(mine, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.jpg").write_bytes(b"c")
    (mine / "images").symlink_to(tmp_path / "elsewhere")
    (mine / "d.jpg").symlink_to(mine / "a.jpg")
    copy_folder(mine, tmp_path / "out")
    found = files_in(tmp_path / "out")
    assert (found["images/c.jpg"], found["d.jpg"]) == (b"c", b"a")
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


@pytest.mark.parametrize(
    ("target", "says"), [("nowhere", "broken: is a broken link"), ("../mine", "broken: is a link to a folder that it")]
)
def test_links_that_lead_nowhere_or_in_a_circle_are_named(mine, tmp_path, target, says):
    (mine / "broken").symlink_to(target)
    with pytest.raises(DownloadError, match=says):
        copy_folder(mine, tmp_path / "out")


def test_no_folder_an_empty_one_and_one_around_the_target(mine, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DownloadError, match=r"there is no such folder; see download\.folder\.path"):
        copy_folder(tmp_path / "none", tmp_path / "out")
    (tmp_path / "empty" / "README.md").write_text("put images here")
    with pytest.raises(DownloadError, match="has no images in it"):
        copy_folder(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(DownloadError, match=r"contains .*where its files would go"):
        copy_folder(tmp_path, tmp_path / "out")


def test_a_full_disk_is_said(mine, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folders.shutil, "copyfile", full)
    with pytest.raises(DownloadError, match="the disk is full while copying"):
        copy_folder(mine, tmp_path / "out")

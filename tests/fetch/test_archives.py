import errno
import gzip
import io
import random
import stat
import tarfile
import zipfile

import pytest
from support.packed import FILES, files_in, tar_bytes, tree, zip_bytes

from retinanet.errors import DownloadError
from retinanet.fetch import archives
from retinanet.fetch.archives import Limits, is_archive, unpack_archives

PLENTY = Limits(1000, 1_000_000_000)


@pytest.fixture
def unpack(tmp_path):
    """Unpack archives given as bytes into tmp_path/out."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()

    def run(*contents: bytes, limits: Limits = PLENTY, is_selected=bool):
        paths = [tmp_path / "in" / f"archive{number}" for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        return unpack_archives(paths, tmp_path / "out", limits, is_selected)

    return run


def assert_refused(run, tmp_path, message: str) -> None:
    """It raises DownloadError and writes nothing outside of the folder."""
    before = tree(tmp_path / "in").keys()
    with pytest.raises(DownloadError, match=message) as error:
        run()
    assert "archive" in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}
    assert tree(tmp_path / "in").keys() >= before
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


@pytest.mark.parametrize(
    "content",
    [tar_bytes(), *(tar_bytes(compression=c) for c in ("gz", "bz2", "xz"))]
    + [
        zip_bytes(compression=c)
        for c in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    ],
    ids=["tar", "tar.gz", "tar.bz2", "tar.xz", "zip stored", "zip", "zip bz2", "zip lzma"],
)
def test_unpack_writes_every_file(unpack, tmp_path, content):
    written = unpack(content)
    assert files_in(tmp_path / "out") == FILES
    assert sorted(written) == sorted(tmp_path / "out" / name for name in FILES)


def test_several_archives_unpack_into_one_folder(unpack, tmp_path):
    unpack(zip_bytes({"a/1": b"1"}), tar_bytes({"a/2": b"2"}))
    assert files_in(tmp_path / "out") == {"a/1": b"1", "a/2": b"2"}


def test_only_selected_members_are_unpacked(unpack, tmp_path):
    unpack(tar_bytes(), is_selected=lambda name: name.endswith("a.txt"))
    assert files_in(tmp_path / "out") == {"set/a.txt": b"first"}


def test_a_tar_that_ends_with_a_zip_is_a_tar(unpack, tmp_path):
    inner = zip_bytes({"inner.txt": b"inner"})
    unpack(tar_bytes({"a.txt": b"a", "b.zip": inner}))
    assert files_in(tmp_path / "out") == {"a.txt": b"a", "b.zip": inner}


def test_is_archive_recognizes_tar_and_zip(tmp_path):
    for name, content in {"a": tar_bytes(), "b": zip_bytes(), "c": b"<html>", "d": b""}.items():
        (tmp_path / name).write_bytes(content)
    assert [is_archive(tmp_path / name) for name in "abcde"] == [True, True, False, False, False]


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "\\evil", "..\\evil", "C:\\evil", "C:evil"])
@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
def test_paths_outside_of_the_folder_are_refused(unpack, tmp_path, name, pack):
    assert_refused(lambda: unpack(pack({"ok": b"", name: b"evil"})), tmp_path, "is outside of the target folder")


def test_folders_outside_of_the_target_are_refused(unpack, tmp_path):
    assert_refused(
        lambda: unpack(tar_bytes(links={"../evil": tarfile.DIRTYPE})), tmp_path, "is outside of the target folder"
    )
    assert_refused(lambda: unpack(zip_bytes({"../evil/": b""})), tmp_path, "is outside of the target folder")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(unpack, tmp_path, kind):
    assert_refused(lambda: unpack(tar_bytes(links={"evil": kind})), tmp_path, "'evil' is a link or device")


def test_a_link_in_a_zip_is_refused(unpack, tmp_path):
    info = zipfile.ZipInfo("evil")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert_refused(lambda: unpack(buffer.getvalue()), tmp_path, "'evil' is a link or device")


def test_an_encrypted_zip_is_refused(unpack, tmp_path):
    content = bytearray(zip_bytes({"a": b"a"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert_refused(lambda: unpack(bytes(content)), tmp_path, "'a' is encrypted")


def test_duplicate_member_names_are_refused(unpack, tmp_path):
    assert_refused(lambda: unpack(zip_bytes({"a": b"1"}), zip_bytes({"a": b"2"})), tmp_path, "is in the archive twice")
    assert files_in(tmp_path / "out") == {"a": b"1"}


def test_a_decompression_bomb_is_refused(unpack, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED_BYTES", 1000)
    bomb = zip_bytes({"zeros": bytes(1_000_000)})  # about 1 kB
    assert_refused(lambda: unpack(bomb), tmp_path, "100 times its size")


def test_a_decompression_bomb_with_a_wrong_declared_size_is_refused(unpack, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED_BYTES", 1000)
    content = bytearray(zip_bytes({"zeros": bytes(1_000_000)}))
    position = content.index(b"PK\x01\x02") + 24
    content[position : position + 4] = (10).to_bytes(4, "little")
    assert_refused(lambda: unpack(bytes(content)), tmp_path, "100 times its size|damaged")


def test_limits_apply_to_all_archives_together(unpack, tmp_path):
    parts = [tar_bytes({"a": b"12345"}), tar_bytes({"b": b"12345"})]
    assert_refused(
        lambda: unpack(*parts, limits=Limits(1, 100)), tmp_path, "more than 1 files; raise download.max_files"
    )
    (tmp_path / "out" / "a").unlink()
    assert_refused(lambda: unpack(*parts, limits=Limits(9, 9)), tmp_path, "more than download.max_gigabytes")
    (tmp_path / "out" / "a").unlink()
    (tmp_path / "out" / "b").unlink()
    assert len(unpack(*parts, limits=Limits(2, 10))) == 2


def test_folders_count_as_entries(unpack, tmp_path):
    folders = dict.fromkeys(["a", "b", "c"], tarfile.DIRTYPE)
    assert_refused(lambda: unpack(tar_bytes({}, links=folders), limits=Limits(2, 9)), tmp_path, "more than 2 files")


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz", "zip"])
def test_a_truncated_archive_is_refused(unpack, tmp_path, compression, keep):
    content = bytes(range(256)) * 20
    whole = zip_bytes({"a": content}) if compression == "zip" else tar_bytes({"a": content}, compression)
    end = int(len(whole.rstrip(b"\0")) * keep)
    assert_refused(lambda: unpack(whole[:end]), tmp_path, "damaged|truncated")


def test_a_tar_that_ends_between_two_members_is_truncated(unpack, tmp_path):
    whole = tar_bytes({"a": b"1", "b": b"2"})
    assert_refused(lambda: unpack(whole[:1024]), tmp_path, "no end mark")  # header and block of a


def test_a_tar_with_a_broken_header_is_damaged(unpack, tmp_path):
    content = bytearray(tar_bytes({"a": b"1", "b": b"2"}))
    content[1024] ^= 1  # the first byte of b's header
    assert_refused(lambda: unpack(bytes(content)), tmp_path, "no end mark")


@pytest.mark.parametrize("pack", [zip_bytes, lambda files: gzip.compress(tar_bytes(files))])
def test_a_wrong_checksum_is_reported_as_damage(unpack, tmp_path, pack):
    content = bytearray(pack({"a": b"12345"}))
    position = content.index(b"PK\x01\x02") + 16 if pack is zip_bytes else len(content) - 8
    content[position] ^= 1
    assert_refused(lambda: unpack(bytes(content)), tmp_path, "damaged")


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>not found</html>", zip_bytes()[:-30], b"\x1f\x8b" + bytes(50)],
    ids=["empty", "a page", "short zip", "no gzip"],
)
def test_files_that_are_not_archives_are_refused(unpack, tmp_path, content):
    assert_refused(lambda: unpack(content), tmp_path, "neither a tar nor a zip")


def test_an_archive_without_selected_files_is_refused(unpack, tmp_path):
    assert_refused(lambda: unpack(tar_bytes({})), tmp_path, "no member was selected")
    assert_refused(lambda: unpack(tar_bytes(), is_selected=lambda name: False), tmp_path, "no member was selected")


def test_a_full_disk_is_reported(unpack, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archives, "_copy", full)
    assert_refused(lambda: unpack(tar_bytes()), tmp_path, "the disk is full while unpacking")


def test_a_tar_without_an_end_mark_is_accepted_if_its_sha256_was_verified(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar_bytes({"a": b"1"})[:1024])
    unpack_archives([tmp_path / "a.tar"], tmp_path / "out", PLENTY, sha256_verified=True)
    assert files_in(tmp_path / "out") == {"a": b"1"}
    (tmp_path / "a.tar").write_bytes(tar_bytes({"a": b"1"})[:1024] + b"no header" * 100)
    with pytest.raises(DownloadError, match="no end mark"):
        unpack_archives([tmp_path / "a.tar"], tmp_path / "out2", PLENTY, sha256_verified=True)


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz", "zip", "lzma"])
def test_random_damage_raises_an_error_or_changes_nothing(tmp_path, compression):
    """60 archives with changed bytes or a missing end; a plain tar has no checksums of its content."""
    zips = {"zip": zipfile.ZIP_DEFLATED, "lzma": zipfile.ZIP_LZMA}
    whole = zip_bytes(FILES, zips[compression]) if compression in zips else tar_bytes(FILES, compression)
    chance = random.Random(compression)
    for number in range(60):
        content = bytearray(whole)
        for _ in range(chance.choice([1, 2, 8])):
            content[chance.randrange(len(whole))] = chance.randrange(256)
        if number % 3 == 0:
            del content[chance.randrange(len(whole)) :]
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "archive").write_bytes(content)
        try:
            written = unpack_archives([folder / "archive"], folder / "out", PLENTY)
        except DownloadError as error:
            assert "archive" in str(error)
        else:
            assert len(written) == len(FILES)
            assert compression == "" or set(files_in(folder / "out").values()) == set(FILES.values())
        assert {path.name for path in folder.iterdir()} <= {"archive", "out"}

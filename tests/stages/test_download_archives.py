"""Damaged and malicious archives and full disks: the files before and after the stage."""

import errno
import io
import signal
import tarfile
import zipfile

import pytest
from support.packed import tar_bytes, zip_bytes
from support.repository import EARLIER, WEIGHTS, ZIP, fails, from_file, from_server, sha256

from retinanet.fetch import archives, folders
from retinanet.fetch.downloads import CHUNK_BYTES


def link_in_a_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("evil")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        zip_bytes({"../../evil": b""}),
        zip_bytes({"/evil": b""}),
        zip_bytes({"..\\evil": b""}),
        link_in_a_zip(),
        tar_bytes({"../../evil": b""}),
        tar_bytes({"/tmp/evil": b""}),
        tar_bytes(links={"evil": tarfile.SYMTYPE}),
        tar_bytes(links={"evil": tarfile.LNKTYPE}),
        tar_bytes(links={"evil": tarfile.CHRTYPE}),
        tar_bytes(links={"evil": tarfile.FIFOTYPE}),
    ],
)
def test_members_outside_of_the_folder_fail(repository, run, content):
    from_file(repository, content)
    fails(repository, run, "set.archive", "evil'")


def test_a_decompression_bomb_fails(repository, run, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED_BYTES", 1000)
    from_file(repository, tar_bytes({"zeros": bytes(10_000_000)}, "gz"))
    fails(repository, run, "set.archive", "download.max_gigabytes or 100 times its size")


def test_the_limits_in_params_apply(repository, run):
    from_file(repository, ZIP)
    repository.params["download"]["max_files"] = 2
    repository.write_params()
    fails(repository, run, "set.archive", "more than 2 files", "download.max_files")
    repository.params["download"] |= {"max_files": 3, "max_gigabytes": 1e-7}
    repository.write_params()
    fails(repository, run, "set.archive", "download.max_gigabytes")


@pytest.mark.parametrize(
    "content",
    [b"", b"\x1f\x8bno", ZIP[:-50], tar_bytes()[:700], tar_bytes(compression="xz")[:90], tar_bytes({})],
    ids=["empty", "no gzip", "short zip", "short tar", "short xz", "no files"],
)
def test_a_damaged_or_empty_archive_fails(repository, run, content):
    from_file(repository, content)
    fails(repository, run, "set.archive")


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_while_downloading_fails(repository, run, server):
    from_server(repository, server)
    part = repository.folder / ".cache" / "downloads" / sha256(ZIP) / "set.zip.part"
    part.parent.mkdir()
    part.symlink_to("/dev/full")
    fails(repository, run, "set.zip.part: the disk is full; free some space")
    assert not part.is_symlink()
    assert repository.cached() == set()


def test_a_full_disk_while_unpacking_fails(repository, run, monkeypatch):
    from_file(repository, ZIP)
    monkeypatch.setattr(archives, "_copy", full)
    fails(repository, run, "set.archive", "the disk is full")


def test_a_full_disk_while_copying_fails(repository, run, monkeypatch):
    repository.write("mine/a.jpg", b"image")
    repository.set_source("folder", path="mine")
    monkeypatch.setattr(folders.shutil, "copyfile", full)
    fails(repository, run, "mine", "the disk is full")


KILLED_WHILE_UNPACKING = """
import os, signal
from retinanet.fetch import archives
from stages import download

copy, count = archives._copy, 0

def copy_and_die(*arguments):
    global count
    count += 1
    if count == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return copy(*arguments)

archives._copy = copy_and_die
download.main()
"""


def test_after_a_kill_while_unpacking_the_next_run_unpacks_again(repository, run, server):
    from_server(repository, server, "big.zip")
    process = repository.start("-c", KILLED_WHILE_UNPACKING)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    files = repository.data()
    assert {name: files[name] for name in EARLIER} == EARLIER
    assert {name.split("/")[0] for name in files} == {"raw", "weights", ".raw.new"}
    assert run() == (0, "")
    assert len(server.requests) == 1
    data = {f"raw/{number}.jpg": bytes([number]) * CHUNK_BYTES for number in range(8)} | WEIGHTS
    assert repository.data() == data

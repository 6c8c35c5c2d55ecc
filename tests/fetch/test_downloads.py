import hashlib
import shutil
from collections import namedtuple
from pathlib import Path
from threading import Event, Thread

import pytest
from support.packed import tree
from support.served import Fault, serving

from retinanet.errors import DownloadError
from retinanet.fetch import downloads
from retinanet.fetch.downloads import Pinned, download_file, find_fault, shown

CONTENT = bytes(range(256)) * 1024  # 256 KiB, four chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server():
    with serving() as served:
        served.files["set.zip"] = CONTENT
        yield served


def fetch(server, folder: Path, sha256: str = SHA256, size: int = 0, stop: Event | None = None) -> None:
    download_file(Pinned(server.url("set.zip"), sha256, size), folder / "set.zip", stop or Event())


def leave_part(folder: Path, content: bytes, etag: str = "") -> None:
    """What a broken-off download leaves."""
    (folder / "set.zip.part").write_bytes(content)
    if etag:
        (folder / "set.zip.part.etag").write_text(etag)


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_a_whole_file_comes_and_nothing_else_stays(server, tmp_path, sha256):
    fetch(server, tmp_path, sha256, len(CONTENT))
    assert tree(tmp_path) == {"set.zip": CONTENT}
    assert server.ranges == [None]


def test_cut_connections_are_taken_up_where_they_broke_however_often(server, tmp_path):
    server.faults = [Fault(cut=downloads.CHUNK_BYTES + 10)] * 3
    fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip": CONTENT}
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in server.ranges[1:]]
    assert starts == sorted(set(starts)) and starts[0] >= downloads.CHUNK_BYTES


def test_more_cuts_than_attempts_do_not_matter_while_it_gets_on(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "CHUNK_BYTES", len(CONTENT) // 16)
    server.faults = [Fault(cut=len(CONTENT) // 16)] * 12
    fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip": CONTENT}
    assert len(server.requests) == 13


def test_a_server_that_always_cuts_at_the_same_byte_ends_it(server, tmp_path):
    server.faults = [Fault(cut=HALF)] + [Fault(cut=0)] * 9
    with pytest.raises(DownloadError, match=r"set\.zip: .*5 attempts failed, the next run goes on where this one stop"):
        fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip.part": CONTENT[:HALF], "set.zip.part.etag": b'"1"'}
    assert len(server.requests) == 6


def test_the_next_run_goes_on(server, tmp_path):
    leave_part(tmp_path, CONTENT[:1000], '"1"')
    fetch(server, tmp_path, sha256="")
    assert tree(tmp_path) == {"set.zip": CONTENT}
    assert server.ranges == ["bytes=1000-"]


def test_a_part_that_is_whole_already_is_only_checked(server, tmp_path):
    leave_part(tmp_path, CONTENT)
    fetch(server, tmp_path)
    assert server.ranges == [f"bytes={len(CONTENT)}-"]
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.knows_ranges = False
    leave_part(tmp_path, CONTENT[:1000], '"1"')
    fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_a_server_without_ranges_that_cuts_ends_it(server, tmp_path):
    server.knows_ranges = False
    server.faults = [Fault(cut=HALF)] * 9
    with pytest.raises(DownloadError, match="5 attempts failed"):
        fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip.part": CONTENT[:HALF], "set.zip.part.etag": b'"1"'}


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_a_file_that_changed_on_the_server_is_fetched_from_the_start(server, tmp_path, sha256):
    leave_part(tmp_path, b"x" * 1000, '"0"')
    fetch(server, tmp_path, sha256)
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_a_server_that_heeds_range_but_not_if_range_does_not_mix_two_files(server, tmp_path):
    leave_part(tmp_path, b"x" * 1000, '"0"')
    server.faults = [Fault(status=206, headers=(("Content-Range", "bytes 1000-"),))]
    fetch(server, tmp_path, sha256="")
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_without_a_tag_a_pinned_file_is_resumed_and_an_unpinned_one_is_not(server, tmp_path):
    server.etag = ""
    leave_part(tmp_path, CONTENT[:1000])
    fetch(server, tmp_path, SHA256)
    (tmp_path / "set.zip").unlink()
    leave_part(tmp_path, CONTENT[:1000])
    fetch(server, tmp_path, "")
    assert server.ranges == ["bytes=1000-", None]
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_a_part_of_wrong_bytes_costs_a_second_download_and_no_error(server, tmp_path):
    leave_part(tmp_path, b"x" * 1000)
    fetch(server, tmp_path)
    assert server.ranges == ["bytes=1000-", None]
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_a_part_longer_than_the_file_is_started_over(server, tmp_path):
    leave_part(tmp_path, CONTENT + b"more", '"1"')
    fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_a_wrong_range_is_not_appended(server, tmp_path):
    leave_part(tmp_path, CONTENT[:1000], '"1"')
    server.faults = [Fault(status=206)]
    server.knows_ranges = False
    fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip": CONTENT}


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_server_in_trouble_is_asked_again(server, tmp_path, status):
    server.faults = [Fault(status=status)] * 4
    fetch(server, tmp_path)
    assert len(server.requests) == 5
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_a_server_in_trouble_for_good_ends_it(server, tmp_path):
    server.faults = [Fault(status=503)] * 9
    with pytest.raises(DownloadError, match="HTTP 503 Service Unavailable; 5 attempts failed"):
        fetch(server, tmp_path)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("status", [301, 401, 403, 404, 410])
def test_what_is_not_there_is_not_asked_for_twice(server, tmp_path, status):
    server.faults = [Fault(status=status)]
    with pytest.raises(DownloadError, match=f"HTTP {status} .*check the address"):
        fetch(server, tmp_path)
    assert (len(server.requests), tree(tmp_path)) == (1, {})


def test_a_page_is_no_archive(server, tmp_path):
    server.faults = [Fault(kind="text/html; charset=utf-8")]
    with pytest.raises(DownloadError, match="the server sent an HTML page"):
        fetch(server, tmp_path)
    assert tree(tmp_path) == {}


def test_nobody_listens(tmp_path):
    with serving() as closed:
        pass
    with pytest.raises(DownloadError, match=r"set\.zip: .*Connection refused; 5 attempts failed") as error:
        fetch(closed, tmp_path)
    assert "object at 0x" not in str(error.value)


def test_a_wrong_sha256_shows_both_and_leaves_nothing(server, tmp_path):
    with pytest.raises(DownloadError, match=f"set.zip: has sha256 {SHA256}, pinned is {'0' * 64}; "):
        fetch(server, tmp_path, "0" * 64)
    assert tree(tmp_path) == {}


def test_a_wrong_size_is_seen_before_the_download(server, tmp_path):
    with pytest.raises(DownloadError, match=f"has {len(CONTENT)} bytes, pinned are 99; another version"):
        fetch(server, tmp_path, size=99)
    assert tree(tmp_path) == {}


def test_a_length_that_says_too_much_is_a_truncated_file(server, tmp_path):
    server.faults = [Fault(length=10)] * 9
    with pytest.raises(DownloadError, match="5 attempts failed"):
        fetch(server, tmp_path, sha256="")
    assert "set.zip" not in tree(tmp_path)


def test_a_length_that_says_too_little_is_a_wrong_sha256(server, tmp_path):
    server.faults = [Fault(length=-10)] * 9
    with pytest.raises(DownloadError, match=f"pinned is {SHA256}"):
        fetch(server, tmp_path)
    assert tree(tmp_path) == {}


def test_a_length_that_is_no_number_is_not_believed(server, tmp_path):
    server.faults = [Fault(headers=(("Content-Length", "many"),))]
    fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_bytes_are_kept_as_they_came_whatever_the_server_calls_them(server, tmp_path):
    server.faults = [Fault(headers=(("Content-Encoding", "gzip"),))]
    fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_a_full_disk_leaves_nothing(server, tmp_path):
    (tmp_path / "set.zip.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match=r"set\.zip\.part: the disk is full; make room"):
        fetch(server, tmp_path)
    assert tree(tmp_path) == {}


def test_a_disk_without_room_is_said_before_the_download_and_what_came_stays(server, tmp_path, monkeypatch):
    leave_part(tmp_path, CONTENT[:1000], '"1"')
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(1000))
    with pytest.raises(DownloadError, match=r"0\.3 MB are still to come, 0\.0 MB are free"):
        fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip.part": CONTENT[:1000], "set.zip.part.etag": b'"1"'}


def test_it_can_be_stopped_and_taken_up_again(server, tmp_path):
    go_on, stop, errors = Event(), Event(), []
    server.faults = [Fault(cut=HALF + 1, hold=go_on)]

    def run():
        try:
            fetch(server, tmp_path, stop=stop)
        except DownloadError as error:
            errors.append(str(error))

    thread = Thread(target=run)
    thread.start()
    part = tmp_path / "set.zip.part"
    while not part.exists() or part.stat().st_size < downloads.CHUNK_BYTES:
        stop.wait(0.01)
    stop.set()
    go_on.set()
    thread.join()
    assert errors == [f"{part}: stopped, the next run goes on here"]
    fetch(server, tmp_path)
    assert server.ranges[-1] is not None
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_addresses_are_shown_without_their_secrets():
    assert shown("https://me:word@host/a.zip?key=secret#x") == "https://host/a.zip"
    assert shown("data/a.zip") == "data/a.zip"


def test_a_file_as_pinned_has_no_fault(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    abc = hashlib.sha256(b"abc").hexdigest()
    assert find_fault(Pinned("a", abc, 3), tmp_path / "a") == ""
    assert find_fault(Pinned("a"), tmp_path / "a") == ""
    assert find_fault(Pinned("a", abc, 4), tmp_path / "a") == "has 3 bytes, pinned are 4"
    assert find_fault(Pinned("a", "0" * 64), tmp_path / "a") == f"has sha256 {abc}, pinned is {'0' * 64}"

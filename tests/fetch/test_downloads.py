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
from retinanet.fetch.downloads import Pinned, download_file, find_fault, without_secrets

CONTENT = bytes(range(256)) * 1024  # 256 KiB, four chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2


@pytest.fixture(autouse=True)
def no_pauses_between_attempts(monkeypatch):
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
    """Write the files of an interrupted download."""
    (folder / "set.zip.part").write_bytes(content)
    if etag:
        (folder / "set.zip.part.etag").write_text(etag)


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_a_complete_download_leaves_only_the_file(server, tmp_path, sha256):
    fetch(server, tmp_path, sha256, len(CONTENT))
    assert tree(tmp_path) == {"set.zip": CONTENT}
    assert server.ranges == [None]


def test_broken_connections_are_resumed_where_they_broke(server, tmp_path):
    server.faults = [Fault(cut=downloads.CHUNK_BYTES + 10)] * 3
    fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip": CONTENT}
    starts = [int(header.removeprefix("bytes=").rstrip("-")) for header in server.ranges[1:]]
    assert starts == sorted(set(starts)) and starts[0] >= downloads.CHUNK_BYTES


def test_more_broken_connections_than_attempts_are_allowed_with_progress(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "CHUNK_BYTES", len(CONTENT) // 16)
    server.faults = [Fault(cut=len(CONTENT) // 16)] * 12
    fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip": CONTENT}
    assert len(server.requests) == 13


def test_attempts_without_progress_end_the_download(server, tmp_path):
    server.faults = [Fault(cut=HALF)] + [Fault(cut=0)] * 9
    with pytest.raises(DownloadError, match=r"set\.zip: .*5 attempts failed, the next run resumes it"):
        fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip.part": CONTENT[:HALF], "set.zip.part.etag": b'"1"'}
    assert len(server.requests) == 6


def test_the_next_run_resumes_the_download(server, tmp_path):
    leave_part(tmp_path, CONTENT[:1000], '"1"')
    fetch(server, tmp_path, sha256="")
    assert tree(tmp_path) == {"set.zip": CONTENT}
    assert server.ranges == ["bytes=1000-"]


def test_a_complete_part_file_is_only_verified(server, tmp_path):
    leave_part(tmp_path, CONTENT)
    fetch(server, tmp_path)
    assert server.ranges == [f"bytes={len(CONTENT)}-"]
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_without_range_support_the_download_starts_over(server, tmp_path):
    server.supports_ranges = False
    leave_part(tmp_path, CONTENT[:1000], '"1"')
    fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_broken_connections_without_range_support_end_the_download(server, tmp_path):
    server.supports_ranges = False
    server.faults = [Fault(cut=HALF)] * 9
    with pytest.raises(DownloadError, match="5 attempts failed"):
        fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip.part": CONTENT[:HALF], "set.zip.part.etag": b'"1"'}


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_a_file_that_changed_on_the_server_is_downloaded_from_the_start(server, tmp_path, sha256):
    leave_part(tmp_path, b"x" * 1000, '"0"')
    fetch(server, tmp_path, sha256)
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_a_server_that_ignores_if_range_does_not_mix_two_files(server, tmp_path):
    leave_part(tmp_path, b"x" * 1000, '"0"')
    server.faults = [Fault(status=206, headers=(("Content-Range", "bytes 1000-"),))]
    fetch(server, tmp_path, sha256="")
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_without_an_etag_only_a_pinned_file_is_resumed(server, tmp_path):
    server.etag = ""
    leave_part(tmp_path, CONTENT[:1000])
    fetch(server, tmp_path, SHA256)
    (tmp_path / "set.zip").unlink()
    leave_part(tmp_path, CONTENT[:1000])
    fetch(server, tmp_path, "")
    assert server.ranges == ["bytes=1000-", None]
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_a_part_file_with_wrong_bytes_is_downloaded_again(server, tmp_path):
    leave_part(tmp_path, b"x" * 1000)
    fetch(server, tmp_path)
    assert server.ranges == ["bytes=1000-", None]
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_a_part_file_longer_than_the_file_is_downloaded_again(server, tmp_path):
    leave_part(tmp_path, CONTENT + b"more", '"1"')
    fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_bytes_of_a_wrong_range_are_not_appended(server, tmp_path):
    leave_part(tmp_path, CONTENT[:1000], '"1"')
    server.faults = [Fault(status=206)]
    server.supports_ranges = False
    fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip": CONTENT}


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_temporary_server_errors_are_retried(server, tmp_path, status):
    server.faults = [Fault(status=status)] * 4
    fetch(server, tmp_path)
    assert len(server.requests) == 5
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_permanent_server_errors_end_the_download(server, tmp_path):
    server.faults = [Fault(status=503)] * 9
    with pytest.raises(DownloadError, match="HTTP 503 Service Unavailable; 5 attempts failed"):
        fetch(server, tmp_path)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("status", [301, 401, 403, 404, 410])
def test_client_errors_are_not_retried(server, tmp_path, status):
    server.faults = [Fault(status=status)]
    with pytest.raises(DownloadError, match=f"HTTP {status} .*check the address"):
        fetch(server, tmp_path)
    assert (len(server.requests), tree(tmp_path)) == (1, {})


def test_an_html_page_is_refused(server, tmp_path):
    server.faults = [Fault(kind="text/html; charset=utf-8")]
    with pytest.raises(DownloadError, match="the server sent an HTML page"):
        fetch(server, tmp_path)
    assert tree(tmp_path) == {}


def test_connection_refused_ends_the_download(tmp_path):
    with serving() as closed:
        pass
    with pytest.raises(DownloadError, match=r"set\.zip: .*Connection refused; 5 attempts failed") as error:
        fetch(closed, tmp_path)
    assert "object at 0x" not in str(error.value)


def test_a_wrong_sha256_reports_both_and_leaves_no_file(server, tmp_path):
    with pytest.raises(DownloadError, match=f"set.zip: sha256 mismatch: expected {'0' * 64}, got {SHA256}; "):
        fetch(server, tmp_path, "0" * 64)
    assert tree(tmp_path) == {}


def test_a_wrong_size_is_reported_before_the_download(server, tmp_path):
    with pytest.raises(DownloadError, match=f"expected 99 bytes, got {len(CONTENT)}; is it another version"):
        fetch(server, tmp_path, size=99)
    assert tree(tmp_path) == {}


def test_a_content_length_above_the_actual_one_is_a_truncated_file(server, tmp_path):
    server.faults = [Fault(length=10)] * 9
    with pytest.raises(DownloadError, match="5 attempts failed"):
        fetch(server, tmp_path, sha256="")
    assert "set.zip" not in tree(tmp_path)


def test_a_content_length_below_the_actual_one_gives_a_wrong_sha256(server, tmp_path):
    server.faults = [Fault(length=-10)] * 9
    with pytest.raises(DownloadError, match=f"expected {SHA256}"):
        fetch(server, tmp_path)
    assert tree(tmp_path) == {}


def test_a_content_length_that_is_not_a_number_is_ignored(server, tmp_path):
    server.faults = [Fault(headers=(("Content-Length", "many"),))]
    fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_content_encoding_is_not_decoded(server, tmp_path):
    server.faults = [Fault(headers=(("Content-Encoding", "gzip"),))]
    fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_a_full_disk_leaves_no_file(server, tmp_path):
    (tmp_path / "set.zip.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match=r"set\.zip\.part: the disk is full; free some space"):
        fetch(server, tmp_path)
    assert tree(tmp_path) == {}


def test_too_little_disk_space_is_reported_before_the_download(server, tmp_path, monkeypatch):
    leave_part(tmp_path, CONTENT[:1000], '"1"')
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(1000))
    with pytest.raises(DownloadError, match=r"0\.3 MB left to download, 0\.0 MB free"):
        fetch(server, tmp_path)
    assert tree(tmp_path) == {"set.zip.part": CONTENT[:1000], "set.zip.part.etag": b'"1"'}


def test_a_stopped_download_is_resumed(server, tmp_path):
    resume, stop, errors = Event(), Event(), []
    server.faults = [Fault(cut=HALF + 1, hold=resume)]

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
    resume.set()
    thread.join()
    assert errors == [f"{part}: stopped, the next run resumes here"]
    fetch(server, tmp_path)
    assert server.ranges[-1] is not None
    assert tree(tmp_path) == {"set.zip": CONTENT}


def test_without_secrets_removes_passwords_and_queries():
    assert without_secrets("https://me:word@host/a.zip?key=secret#x") == "https://host/a.zip"
    assert without_secrets("data/a.zip") == "data/a.zip"


def test_find_fault_compares_size_and_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    abc = hashlib.sha256(b"abc").hexdigest()
    assert find_fault(Pinned("a", abc, 3), tmp_path / "a") == ""
    assert find_fault(Pinned("a"), tmp_path / "a") == ""
    assert find_fault(Pinned("a", abc, 4), tmp_path / "a") == "size mismatch: expected 4 bytes, got 3"
    assert find_fault(Pinned("a", "0" * 64), tmp_path / "a") == f"sha256 mismatch: expected {'0' * 64}, got {abc}"

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from filelock import FileLock
from support.packed import files_in, tree
from support.served import Fault, serving

from retinanet.errors import DownloadError
from retinanet.fetch import downloads, remote_archives
from retinanet.fetch.downloads import Pinned
from retinanet.fetch.remote_archives import fetch_archives

CONTENT = b"an archive" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def no_pauses_between_attempts(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def server():
    with serving() as served:
        served.files = {"a.tar": CONTENT, "b.tar": CONTENT + b"b", "c.tar": CONTENT + b"c"}
        yield served


@pytest.fixture
def fetch(tmp_path, cache):
    """Fetch archives into the cache; relative paths start at tmp_path."""
    return partial(fetch_archives, cache=cache, root=tmp_path)


def archives_in(cache) -> dict[str, bytes]:
    return {name: content for name, content in files_in(cache).items() if name != ".lock"}


def test_a_local_archive_is_used_in_place(fetch, tmp_path, cache, monkeypatch):
    (tmp_path / "my set.tar").write_bytes(CONTENT)
    monkeypatch.setenv("HOME", str(tmp_path))
    urls = ["my set.tar", str(tmp_path / "my set.tar"), f"file://{tmp_path}/my%20set.tar", "~/my set.tar"]
    assert fetch([Pinned(url, SHA256) for url in urls]) == [tmp_path / "my set.tar"] * 4
    assert archives_in(cache) == {}


def test_a_relative_path_starts_at_the_root_not_at_the_working_directory(tmp_path, fetch, monkeypatch):
    (tmp_path / "set.tar").write_bytes(CONTENT)
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    assert fetch([Pinned("set.tar")]) == [tmp_path / "set.tar"]


def test_a_missing_or_different_local_archive_is_an_error(fetch, tmp_path):
    (tmp_path / "set.tar").write_bytes(CONTENT)
    with pytest.raises(DownloadError, match=r"none\.tar: no such file"):
        fetch([Pinned("none.tar")])
    with pytest.raises(DownloadError, match=f"set.tar: sha256 mismatch: expected {'0' * 64}, got {SHA256}"):
        fetch([Pinned("set.tar", "0" * 64)])


@pytest.mark.parametrize("url", ["http://[", "http://", "ftp://host/a.tar", "s3://bucket/a.tar", "http://ho st/a"])
def test_invalid_addresses_are_errors(fetch, url):
    with pytest.raises(DownloadError, match=r"not a valid URL|check the address|only paths"):
        fetch([Pinned(url)])


def test_a_pinned_archive_is_downloaded_once(server, fetch, cache, capsys):
    pinned = Pinned(server.url("a.tar"), SHA256)
    first = fetch([pinned])
    assert fetch([pinned]) == first == [cache / SHA256 / "a.tar"]
    assert len(server.requests) == 1
    assert f"{pinned.url}: in the cache, 0.0 MB, sha256 as pinned" in capsys.readouterr().out


def test_a_damaged_archive_in_the_cache_is_downloaded_again(server, fetch):
    pinned = Pinned(server.url("a.tar"), SHA256)
    (archive,) = fetch([pinned])
    archive.write_bytes(b"damaged")
    assert fetch([pinned])[0].read_bytes() == CONTENT


def test_an_unpinned_archive_is_downloaded_each_time_and_its_sha256_printed(server, fetch, capsys):
    for _ in range(2):
        (archive,) = fetch([Pinned(server.url("a.tar"))])
    assert len(server.requests) == 2
    assert archive.read_bytes() == CONTENT
    assert f"sha256 {SHA256}, not pinned" in capsys.readouterr().out


def test_several_archives_are_returned_in_order(server, fetch):
    server.faults = [Fault(cut=100), Fault(status=500)]
    parts = [Pinned(server.url(f"{name}.tar")) for name in "cab"]
    paths = fetch(parts)
    assert [path.read_bytes() for path in paths] == [CONTENT + b"c", CONTENT, CONTENT + b"b"]


def test_a_missing_archive_stops_the_other_downloads(server, fetch, cache, monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE_S", 1000.0)
    server.faults = [Fault(status=500)]  # so that a.tar pauses
    with pytest.raises(DownloadError, match=r"none\.tar: HTTP 404"):
        fetch([Pinned(server.url("a.tar")), Pinned(server.url("none.tar"))])
    assert archives_in(cache) == {}


def test_concurrent_runs_download_an_archive_once(server, fetch, cache):
    pinned = Pinned(server.url("a.tar"), SHA256)
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(fetch, [pinned]) for _ in range(3)]
    assert [run.result() for run in runs] == [[cache / SHA256 / "a.tar"]] * 3
    assert len(server.requests) == 1


def test_waiting_for_another_download_is_reported_after_a_second(server, fetch, cache, monkeypatch, capsys):
    monkeypatch.setattr(remote_archives, "WAIT_MESSAGE_AFTER_S", 0.05)
    pinned = Pinned(server.url("a.tar"), SHA256)
    fetch([pinned])
    assert "waiting" not in capsys.readouterr().out
    with ThreadPoolExecutor() as pool:
        with FileLock(cache / ".lock"):
            waiting = pool.submit(fetch, [pinned])
            time.sleep(0.5)
            assert not waiting.done()
        assert waiting.result(timeout=30) == [cache / SHA256 / "a.tar"]
    assert f"{cache}: waiting for another download to finish" in capsys.readouterr().out


def test_two_urls_with_the_same_file_name_do_not_collide(server, fetch):
    server.files |= {"x/set.tar": b"x", "y/set.tar": b"y"}
    paths = fetch([Pinned(server.url(f"{name}/set.tar")) for name in "xy"])
    assert [path.read_bytes() for path in paths] == [b"x", b"y"]


def test_long_and_empty_file_names_in_urls_work(server, fetch):
    name = "n" * 300
    server.files |= {name: b"long", "": b"bare"}
    paths = fetch([Pinned(server.url(name) + "?key=1"), Pinned(server.url())])
    assert [path.read_bytes() for path in paths] == [b"long", b"bare"]


def test_a_cache_that_cannot_be_created_is_an_error(server, tmp_path):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(DownloadError, match="file/cache: cannot create the folder"):
        fetch_archives([Pinned(server.url("a.tar"))], tmp_path / "file" / "cache", tmp_path)
    assert set(tree(tmp_path)) == {"file"}

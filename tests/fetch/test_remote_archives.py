import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.packed import files_in, tree
from support.served import Fault, serving

from retinanet.errors import DownloadError
from retinanet.fetch import downloads
from retinanet.fetch.downloads import Pinned
from retinanet.fetch.remote_archives import fetch_archives

CONTENT = b"an archive" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def in_the_repository(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def server():
    with serving() as served:
        served.files = {"a.tar": CONTENT, "b.tar": CONTENT + b"b", "c.tar": CONTENT + b"c"}
        yield served


def archives_in(cache) -> dict[str, bytes]:
    return {name: content for name, content in files_in(cache).items() if name != ".lock"}


def test_a_path_is_used_where_it_lies(tmp_path, cache, monkeypatch):
    (tmp_path / "my set.tar").write_bytes(CONTENT)
    monkeypatch.setenv("HOME", str(tmp_path))
    urls = ["my set.tar", str(tmp_path / "my set.tar"), f"file://{tmp_path}/my%20set.tar", "~/my set.tar"]
    assert fetch_archives([Pinned(url, SHA256) for url in urls], cache) == [tmp_path / "my set.tar"] * 4
    assert archives_in(cache) == {}


def test_a_relative_path_starts_at_the_repository(tmp_path, cache, monkeypatch):
    (tmp_path / "set.tar").write_bytes(CONTENT)
    (tmp_path / "copy").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path / "copy")
    assert fetch_archives([Pinned("set.tar")], cache) == [tmp_path / "set.tar"]


def test_a_path_to_nowhere_or_to_another_file(tmp_path, cache):
    (tmp_path / "set.tar").write_bytes(CONTENT)
    with pytest.raises(DownloadError, match=r"none\.tar: there is no such file"):
        fetch_archives([Pinned("none.tar")], cache)
    with pytest.raises(DownloadError, match=f"set.tar: has sha256 {SHA256}, pinned is {'0' * 64}"):
        fetch_archives([Pinned("set.tar", "0" * 64)], cache)


@pytest.mark.parametrize("url", ["http://[", "http://", "ftp://host/a.tar", "s3://bucket/a.tar", "http://ho st/a"])
def test_what_is_no_address_is_said_at_once(cache, url):
    with pytest.raises(DownloadError, match=r"no URL|check the address|only paths"):
        fetch_archives([Pinned(url)], cache)


def test_a_pinned_archive_is_fetched_once(server, cache, capsys):
    pinned = Pinned(server.url("a.tar"), SHA256)
    first = fetch_archives([pinned], cache)
    assert fetch_archives([pinned], cache) == first == [cache / SHA256 / "a.tar"]
    assert len(server.requests) == 1
    assert f"{pinned.url}: in the cache, 0.0 MB, sha256 as pinned" in capsys.readouterr().out


def test_a_damaged_archive_in_the_cache_is_fetched_again(server, cache):
    pinned = Pinned(server.url("a.tar"), SHA256)
    (archive,) = fetch_archives([pinned], cache)
    archive.write_bytes(b"damaged")
    assert fetch_archives([pinned], cache)[0].read_bytes() == CONTENT


def test_an_unpinned_archive_is_fetched_each_time_and_its_sha256_said(server, cache, capsys):
    for _ in range(2):
        (archive,) = fetch_archives([Pinned(server.url("a.tar"))], cache)
    assert len(server.requests) == 2
    assert archive.read_bytes() == CONTENT
    assert f"sha256 {SHA256}, which nothing pins" in capsys.readouterr().out


def test_several_parts_come_in_their_order(server, cache):
    server.faults = [Fault(cut=100), Fault(status=500)]
    parts = [Pinned(server.url(f"{name}.tar")) for name in "cab"]
    paths = fetch_archives(parts, cache)
    assert [path.read_bytes() for path in paths] == [CONTENT + b"c", CONTENT, CONTENT + b"b"]


def test_one_part_that_is_nowhere_stops_the_others(server, cache, monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE_S", 1000.0)
    server.faults = [Fault(status=500)]  # so that a.tar pauses
    with pytest.raises(DownloadError, match=r"none\.tar: HTTP 404"):
        fetch_archives([Pinned(server.url("a.tar")), Pinned(server.url("none.tar"))], cache)
    assert archives_in(cache) == {}


def test_two_runs_at_once_fetch_it_once(server, cache):
    pinned = Pinned(server.url("a.tar"), SHA256)
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(fetch_archives, [pinned], cache) for _ in range(3)]
    assert [run.result() for run in runs] == [[cache / SHA256 / "a.tar"]] * 3
    assert len(server.requests) == 1


def test_two_addresses_of_one_name_do_not_meet(server, cache):
    server.files |= {"x/set.tar": b"x", "y/set.tar": b"y"}
    paths = fetch_archives([Pinned(server.url(f"{name}/set.tar")) for name in "xy"], cache)
    assert [path.read_bytes() for path in paths] == [b"x", b"y"]


def test_the_address_may_be_odd(server, cache):
    name = "n" * 300
    server.files |= {name: b"long", "": b"bare"}
    paths = fetch_archives([Pinned(server.url(name) + "?key=1"), Pinned(server.url())], cache)
    assert [path.read_bytes() for path in paths] == [b"long", b"bare"]


def test_a_cache_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(DownloadError, match="file/cache: the folder cannot be made"):
        fetch_archives([Pinned(server.url("a.tar"))], tmp_path / "file" / "cache")
    assert set(tree(tmp_path)) == {"file"}

"""Servers that break connections, answer wrongly or fail: the files before and after the stage."""

import signal
import time
import zipfile
from threading import Event

import pytest
from support.packed import FILES, files_in, zip_bytes
from support.repository import BIG, EARLIER, ZIP, fails, from_file, from_server, sha256, succeeds
from support.served import Fault

from retinanet.fetch.downloads import CHUNK_BYTES


def test_a_truncated_archive_fails_and_is_resumed(repository, run, server):
    from_server(repository, server, "big.zip")
    server.faults = [Fault(cut=CHUNK_BYTES)] + [Fault(cut=0)] * 9
    fails(repository, run, server.url("big.zip"), "attempts failed, the next run resumes it")
    assert repository.cached() == {"big.zip.part", "big.zip.part.etag"}
    server.faults = []
    assert run()[0] == 0
    assert server.ranges[-1] == f"bytes={CHUNK_BYTES}-"


def test_a_wrong_sha256_of_a_url_fails(repository, run, server):
    from_server(repository, server, pinned="0" * 64)
    fails(repository, run, server.url("set.zip"), sha256(ZIP), "0" * 64)
    assert repository.cached() == set()


def test_a_wrong_sha256_of_a_local_archive_fails(repository, run):
    from_file(repository, ZIP)
    repository.change("archive", sha256="0" * 64)
    fails(repository, run, "set.archive", sha256(ZIP), "0" * 64)


def test_http_404_fails(repository, run, server):
    from_server(repository, server)
    server.files.clear()
    fails(repository, run, server.url("set.zip"), "HTTP 404", "params.yaml")
    assert repository.cached() == set()


def test_an_html_page_instead_of_an_archive_fails(repository, run, server):
    from_server(repository, server, pinned="")
    server.files["set.zip"] = b"<html>please log in</html>"
    server.faults = [Fault(kind="text/html")]
    fails(repository, run, server.url("set.zip"), "HTML page")
    fails(repository, run, "set.zip", "neither a tar nor a zip archive")  # the same page with another Content-Type


def test_broken_connections_without_range_support_fail(repository, run, server):
    from_server(repository, server, "big.zip")
    server.supports_ranges = False
    server.faults = [Fault(cut=2 * CHUNK_BYTES)] * 9
    fails(repository, run, server.url("big.zip"), "5 attempts failed")
    assert repository.cached() == {"big.zip.part", "big.zip.part.etag"}


def test_one_broken_connection_without_range_support_is_retried(repository, run, server):
    from_server(repository, server, "big.zip", pinned="")
    server.supports_ranges = False
    server.faults = [Fault(cut=2 * CHUNK_BYTES)]
    assert run()[0] == 0
    assert (repository.folder / "data" / "raw" / "7.jpg").read_bytes() == b"\7" * CHUNK_BYTES


def test_temporary_server_errors_are_retried(repository, run, server):
    from_server(repository, server)
    server.faults = [Fault(status=500), Fault(status=503)]
    succeeds(repository, run, FILES)


@pytest.mark.parametrize("error", [500, 503])
def test_permanent_server_errors_fail(repository, run, server, error):
    from_server(repository, server)
    server.faults = [Fault(status=error)] * 9
    fails(repository, run, server.url("set.zip"), f"HTTP {error}")


@pytest.mark.parametrize("length", [-10, 10])
@pytest.mark.parametrize("pinned", ["", None])
def test_a_wrong_content_length_fails_or_is_ignored(repository, run, server, length, pinned):
    from_server(repository, server, pinned=pinned)
    server.faults = [Fault(length=length)] * 9
    if length > 0 and pinned is None:
        succeeds(repository, run, FILES)  # complete, as its sha256 proves
    else:
        fails(repository, run, "set.zip")


def test_a_file_that_changed_between_two_runs_is_downloaded_again(repository, run, server):
    from_server(repository, server, "big.zip", pinned="")
    server.faults = [Fault(cut=3 * CHUNK_BYTES)] + [Fault(cut=0)] * 9
    assert run()[0] == 1
    changed = {f"{number}.jpg": bytes([number + 100]) * CHUNK_BYTES for number in range(8)}
    server.files["big.zip"], server.etag, server.faults = zip_bytes(changed, zipfile.ZIP_STORED), '"2"', []
    succeeds(repository, run, changed)


def test_one_missing_archive_of_several_fails(repository, run, server):
    from_server(repository, server)
    repository.change("archive", more=[{"url": server.url("none.zip"), "sha256": ""}])
    fails(repository, run, server.url("none.zip"), "HTTP 404")


@pytest.mark.parametrize("url", ["http://[", "ftp://127.0.0.1/set.zip", "nowhere/set.zip"])
def test_invalid_addresses_fail(repository, run, url):
    repository.set_source("archive", url=url)
    fails(repository, run, url)


def test_after_a_kill_while_downloading_the_next_run_resumes(repository, run, server):
    from_server(repository, server, "big.zip")
    never_set = Event()
    server.faults = [Fault(cut=4 * CHUNK_BYTES + 1, hold=never_set)]
    process = repository.start()
    try:
        part = repository.folder / ".cache" / "downloads" / sha256(BIG) / "big.zip.part"
        while not part.exists() or part.stat().st_size < 4 * CHUNK_BYTES:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()
        never_set.set()
    assert process.returncode == -signal.SIGKILL
    assert repository.data() == EARLIER
    assert run()[0] == 0
    assert server.ranges == [None, f"bytes={4 * CHUNK_BYTES}-"]
    assert len(files_in(repository.folder / "data" / "raw")) == 8

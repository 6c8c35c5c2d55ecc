"""One file over HTTP: resumed, retried, checked; only a `.part` file stays of one that did not come whole."""

import shutil
from pathlib import Path
from threading import Event
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import Timeout
from tqdm import tqdm
from urllib3.exceptions import HTTPError as BrokenStream

from retinanet.errors import DownloadError, disk_full
from retinanet.files import megabytes, sha256_of

TIMEOUT_S = 30
ATTEMPTS = 5
PAUSE_S = 1.0
# Small enough that a cut connection costs little.
CHUNK_BYTES = 1 << 16


class Pinned(NamedTuple):
    """A file at a path or URL, and what is known of it; an empty sha256 or a size of 0 is not checked."""

    url: str
    sha256: str = ""
    size: int = 0  # bytes


def download_file(wanted: Pinned, path: Path, stop: Event) -> None:
    """Make `path` from an http(s) URL, going on from the `.part` file beside it.

    Gives up after 5 attempts that brought nothing new, with doubling pauses between them, and soon after `stop` is set.
    Raises DownloadError.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        resumed = _size(part) > 0
        _complete_part(wanted, part, stop)
        fault = find_fault(wanted, part)
        if fault and resumed:
            print(f"{shown(wanted.url)}: {fault}; once more from the start", flush=True)
            _discard(part)
            _complete_part(wanted, part, stop)
            fault = find_fault(wanted, part)
        if fault:
            _discard(part)  # going on from wrong bytes cannot end well
            raise DownloadError(f"{shown(wanted.url)}: {fault}; correct what is pinned only if you trust the file")
        _validator_file(part).unlink(missing_ok=True)
        part.replace(path)
    except requests.RequestException as error:
        raise DownloadError(f"{shown(wanted.url)}: {error}; check the address") from error
    except OSError as error:
        if disk_full(error):
            _discard(part)
            raise DownloadError(f"{part}: the disk is full; make room") from error
        raise DownloadError(f"{part}: {error}") from error


def find_fault(wanted: Pinned, path: Path) -> str:
    """What about a file is not as pinned; empty when all is."""
    if wanted.size and path.stat().st_size != wanted.size:
        return f"has {path.stat().st_size} bytes, pinned are {wanted.size}"
    if wanted.sha256 and (found := sha256_of(path)) != wanted.sha256:
        return f"has sha256 {found}, pinned is {wanted.sha256}"
    return ""


def shown(url: str) -> str:
    """The URL without the passwords and keys that it may hold."""
    scheme, place, path, _, _ = urlsplit(url)
    return urlunsplit((scheme, place.rpartition("@")[2], path, "", "")) if scheme else url


class _Retry(Exception):
    """A fault that another attempt may get past."""


def _complete_part(wanted: Pinned, part: Path, stop: Event) -> None:
    best, failures = _size(part), 0
    while True:
        try:
            return _continue_part(wanted, part, stop)
        except (_Retry, NoConnection, Timeout, BrokenStream) as error:
            # A long download over a bad line is cut often; what counts is that it gets on.
            failures = 0 if _size(part) > best else failures + 1
            best = max(best, _size(part))
            reason = getattr(error.args[0], "reason", error) if error.args else error
            if failures == ATTEMPTS:
                raise DownloadError(
                    f"{shown(wanted.url)}: {reason}; {ATTEMPTS} attempts failed, the next run goes on where this one "
                    "stopped"
                ) from error
            print(f"{shown(wanted.url)}: {reason}; trying again", flush=True)
            if stop.wait(PAUSE_S * 2 ** max(0, failures - 1)):
                raise _stopped(part) from error


def _continue_part(wanted: Pinned, part: Path, stop: Event) -> None:
    """One attempt: ask for what the .part file lacks and append it."""
    have = _size(part)
    validator_file = _validator_file(part)
    validator = validator_file.read_text() if validator_file.exists() else ""
    if have and not validator and not wanted.sha256:
        have = 0  # nothing would tell if the file on the server is still the same
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    with requests.get(wanted.url, headers=headers, stream=True, timeout=TIMEOUT_S) as reply:
        content_range = reply.headers.get("Content-Range", "")
        if reply.status_code == 416 and have:
            if wanted.sha256 and content_range.rpartition("/")[2] == str(have):
                return
            _discard(part)
            raise _Retry(f"the server has no bytes from {have} on")
        _check_reply(wanted.url, reply)
        came = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
        if reply.status_code == 206 and not (have and content_range.startswith(f"bytes {have}-")):
            _discard(part)
            raise _Retry(f"the server sent {content_range or 'no range'} instead of bytes from {have} on")
        if reply.status_code == 206 and validator and came != validator:
            _discard(part)
            raise _Retry("the file on the server changed")
        if reply.status_code == 200:
            have = 0  # it knows no ranges, or the file changed
        total = _total(reply, have)
        if wanted.size and total not in (None, wanted.size):
            raise DownloadError(f"{shown(wanted.url)}: has {total} bytes, pinned are {wanted.size}; another version?")
        _check_room(part, (total or 0) - have)
        validator_file.write_text("" if came.startswith("W/") else came)
        _append(reply, part, have, total, stop)


def _append(reply: requests.Response, part: Path, have: int, total: int | None, stop: Event) -> None:
    with (
        part.open("ab" if have else "wb") as file,
        tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=None) as bar,
    ):
        # The bytes as they come: a server that calls a .tar.gz a gzip-coded tar would have it unpacked here.
        for chunk in reply.raw.stream(CHUNK_BYTES, decode_content=False):
            if stop.is_set():
                raise _stopped(part)
            file.write(chunk)
            have += len(chunk)
            bar.update(len(chunk))
    if total is not None and have != total:
        raise _Retry(f"truncated: {have} of {total} bytes came")


def _check_reply(url: str, reply: requests.Response) -> None:
    status = f"HTTP {reply.status_code} {reply.reason}"
    if reply.status_code in (408, 429) or reply.status_code >= 500:
        raise _Retry(status)
    if reply.status_code not in (200, 206):
        raise DownloadError(f"{shown(url)}: {status}; check the address in params.yaml")
    if reply.headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadError(f"{shown(url)}: the server sent an HTML page, no archive; a login or a moved file?")


def _total(reply: requests.Response, have: int) -> int | None:
    length = reply.headers.get("Content-Length", "")
    return have + int(length) if length.isdecimal() else None


def _check_room(part: Path, lacking: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if lacking > free:
        raise DownloadError(
            f"{part}: {megabytes(lacking)} are still to come, {megabytes(free)} are free on the disk; make room"
        )


def _stopped(part: Path) -> DownloadError:
    return DownloadError(f"{part}: stopped, the next run goes on here")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)


def _validator_file(part: Path) -> Path:
    return part.with_name(part.name + ".etag")

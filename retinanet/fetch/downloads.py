"""Download of one file over HTTP with resumption, retries and checks; an incomplete download is left as `.part`."""

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
# Small, so that little is lost if the connection breaks.
CHUNK_BYTES = 1 << 16


class Pinned(NamedTuple):
    """A file at a path or URL with its expected sha256 and size; an empty sha256 or a size of 0 is not checked."""

    url: str
    sha256: str = ""
    size: int = 0  # bytes


def download_file(pinned: Pinned, path: Path, stop: Event) -> None:
    """Download an http(s) URL to `path`, resuming from the `.part` file beside it.

    Gives up after 5 attempts without any new bytes, with doubling pauses between them, or soon after `stop` is set.
    Raises DownloadError.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        resumed = _size(part) > 0
        _complete_part(pinned, part, stop)
        fault = find_fault(pinned, part)
        if fault and resumed:
            print(f"{without_secrets(pinned.url)}: {fault}; downloading it again from the start", flush=True)
            _discard(part)
            _complete_part(pinned, part, stop)
            fault = find_fault(pinned, part)
        if fault:
            _discard(part)  # resuming wrong bytes would fail again
            raise DownloadError(
                f"{without_secrets(pinned.url)}: {fault}; correct the pinned value only if you trust the file"
            )
        _validator_file(part).unlink(missing_ok=True)
        part.replace(path)
    except requests.RequestException as error:
        raise DownloadError(f"{without_secrets(pinned.url)}: {error}; check the address") from error
    except OSError as error:
        if disk_full(error):
            _discard(part)
            raise DownloadError(f"{part}: the disk is full; free some space") from error
        raise DownloadError(f"{part}: {error}; check the folder's permissions") from error


def find_fault(pinned: Pinned, path: Path) -> str:
    """How a file differs from its pinned size and sha256; empty if it does not."""
    if pinned.size and path.stat().st_size != pinned.size:
        return f"size mismatch: expected {pinned.size} bytes, got {path.stat().st_size}"
    if pinned.sha256 and (actual := sha256_of(path)) != pinned.sha256:
        return f"sha256 mismatch: expected {pinned.sha256}, got {actual}"
    return ""


def without_secrets(url: str) -> str:
    """The URL without user, password, query and fragment."""
    scheme, host, path, _, _ = urlsplit(url)
    return urlunsplit((scheme, host.rpartition("@")[2], path, "", "")) if scheme else url


class _Retry(Exception):
    """An error that another attempt may not have."""


def _complete_part(pinned: Pinned, part: Path, stop: Event) -> None:
    best, failures = _size(part), 0
    while True:
        try:
            return _continue_part(pinned, part, stop)
        except (_Retry, NoConnection, Timeout, BrokenStream) as error:
            # A bad connection may break often; only attempts without progress count.
            failures = 0 if _size(part) > best else failures + 1
            best = max(best, _size(part))
            reason = getattr(error.args[0], "reason", error) if error.args else error
            if failures == ATTEMPTS:
                raise DownloadError(
                    f"{without_secrets(pinned.url)}: {reason}; {ATTEMPTS} attempts failed, the next run resumes it"
                ) from error
            print(f"{without_secrets(pinned.url)}: {reason}; trying again", flush=True)
            if stop.wait(PAUSE_S * 2 ** max(0, failures - 1)):
                raise _stopped(part) from error


def _continue_part(pinned: Pinned, part: Path, stop: Event) -> None:
    """One attempt: request the bytes that the .part file lacks and append them."""
    received = _size(part)
    validator_file = _validator_file(part)
    validator = validator_file.read_text() if validator_file.exists() else ""
    if received and not validator and not pinned.sha256:
        received = 0  # nothing would show that the file on the server changed
    headers = {"Accept-Encoding": "identity"}
    if received:
        headers["Range"] = f"bytes={received}-"
        if validator:
            headers["If-Range"] = validator
    with requests.get(pinned.url, headers=headers, stream=True, timeout=TIMEOUT_S) as reply:
        content_range = reply.headers.get("Content-Range", "")
        if reply.status_code == 416 and received:
            if pinned.sha256 and content_range.rpartition("/")[2] == str(received):
                return
            _discard(part)
            raise _Retry(f"the server has no bytes after {received}")
        _check_reply(pinned.url, reply)
        new_validator = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
        if reply.status_code == 206 and not (received and content_range.startswith(f"bytes {received}-")):
            _discard(part)
            raise _Retry(f"the server sent {content_range or 'no range'} instead of the bytes from {received}")
        if reply.status_code == 206 and validator and new_validator != validator:
            _discard(part)
            raise _Retry("the file on the server changed")
        if reply.status_code == 200:
            received = 0  # the server does not support ranges, or the file changed
        total = _total(reply, received)
        if pinned.size and total not in (None, pinned.size):
            raise DownloadError(
                f"{without_secrets(pinned.url)}: size mismatch: expected {pinned.size} bytes, got {total}; "
                "is it another version?"
            )
        _check_free_space(part, (total or 0) - received)
        validator_file.write_text("" if new_validator.startswith("W/") else new_validator)
        _append(reply, part, received, total, stop)


def _append(reply: requests.Response, part: Path, received: int, total: int | None, stop: Event) -> None:
    with (
        part.open("ab" if received else "wb") as file,
        tqdm(total=total, initial=received, unit="B", unit_scale=True, desc=part.stem, disable=None) as bar,
    ):
        # Raw bytes: some servers send a .tar.gz with Content-Encoding gzip, and it must not be decompressed here.
        for chunk in reply.raw.stream(CHUNK_BYTES, decode_content=False):
            if stop.is_set():
                raise _stopped(part)
            file.write(chunk)
            received += len(chunk)
            bar.update(len(chunk))
    if total is not None and received != total:
        raise _Retry(f"truncated: received {received} of {total} bytes")


def _check_reply(url: str, reply: requests.Response) -> None:
    status = f"HTTP {reply.status_code} {reply.reason}"
    if reply.status_code in (408, 429) or reply.status_code >= 500:
        raise _Retry(status)
    if reply.status_code not in (200, 206):
        raise DownloadError(f"{without_secrets(url)}: {status}; check the address in params.yaml")
    if reply.headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadError(
            f"{without_secrets(url)}: the server sent an HTML page instead of an archive; is a login needed?"
        )


def _total(reply: requests.Response, received: int) -> int | None:
    length = reply.headers.get("Content-Length", "")
    return received + int(length) if length.isdecimal() else None


def _check_free_space(part: Path, missing: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if missing > free:
        raise DownloadError(
            f"{part}: {megabytes(missing)} left to download, {megabytes(free)} free on the disk; free some space"
        )


def _stopped(part: Path) -> DownloadError:
    return DownloadError(f"{part}: stopped, the next run resumes here")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)


def _validator_file(part: Path) -> Path:
    return part.with_name(part.name + ".etag")

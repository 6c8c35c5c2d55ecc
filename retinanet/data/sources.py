"""Archives over HTTP: resumed, retried, checked; only a `.part` file stays of one that did not come whole."""

import hashlib
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests
from tqdm import tqdm

from retinanet.data.files import CHUNK, disk_full, home, megabytes, sha256_of
from retinanet.errors import DownloadError

TIMEOUT_S = 30


def fetch_archive(url: str, sha256: str, cache: Path, attempts: int = 5, pause_s: float = 1.0) -> Path:
    """The archive at a path or a file:, http: or https: URL, as a file whose sha256 is checked when one is given.

    A path is used where it lies, and starts at the repository when relative. A download goes to `cache`; it is
    resumed from its `.part` file, tried `attempts` times with doubling pauses, and not repeated when the cache has
    that sha256. Raises DownloadError.
    """
    if urlsplit(url).scheme in ("http", "https"):
        return _fetch_http(url, sha256, cache, attempts, pause_s)
    archive = home() / (unquote(urlsplit(url).path) if url.startswith("file://") else Path(url).expanduser())
    if not archive.is_file():
        raise DownloadError(f"{archive}: there is no such file; see download.archive.url in params.yaml")
    print(f"{archive}: {megabytes(archive.stat().st_size)}")
    _check_sha256(archive, sha256)
    return archive


class _Retry(Exception):
    """A fault that another attempt may get past."""


def _fetch_http(url: str, sha256: str, cache: Path, attempts: int, pause_s: float) -> Path:
    name = Path(unquote(urlsplit(url).path)).name or "archive"
    archive = cache / (sha256 or "url-" + hashlib.sha256(url.encode()).hexdigest()[:16]) / name
    if sha256 and archive.is_file() and sha256_of(archive) == sha256:
        print(f"{url}: in the cache, {megabytes(archive.stat().st_size)}, sha256 as pinned")
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_name(name + ".part")
    print(f"{url}: downloading", flush=True)
    for attempt in range(attempts):
        try:
            _continue_part(url, part, may_resume_blindly=bool(sha256))
            break
        except (_Retry, requests.RequestException) as error:
            if attempt == attempts - 1:
                raise DownloadError(
                    f"{url}: {error}; {attempts} attempts failed, the next run goes on where this one stopped"
                ) from error
            time.sleep(pause_s * 2**attempt)
        except OSError as error:
            part.unlink(missing_ok=True)
            what = "the disk is full; make room" if disk_full(error) else str(error)
            raise DownloadError(f"{part}: {what}") from error
    try:
        _check_sha256(part, sha256, url)
    except DownloadError:
        part.unlink()  # going on from wrong bytes cannot end well
        raise
    _validator_file(part).unlink(missing_ok=True)
    part.replace(archive)
    return archive


def _continue_part(url: str, part: Path, may_resume_blindly: bool) -> None:
    """One attempt: ask for what the .part file lacks and append it."""
    have = part.stat().st_size if part.exists() else 0
    validator_file = _validator_file(part)
    validator = validator_file.read_text() if validator_file.exists() else ""
    if have and not validator and not may_resume_blindly:
        have = 0  # nothing would tell if the file on the server is still the same
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as reply:
        if reply.status_code == 416:
            if reply.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
                return
            part.unlink(missing_ok=True)
            raise _Retry(f"the server has no bytes from {have} on")
        _check_reply(url, reply)
        resumed = reply.status_code == 206 and reply.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if reply.status_code == 206 and not resumed:
            part.unlink(missing_ok=True)
            raise _Retry(f"the server sent {reply.headers.get('Content-Range')!r} instead of bytes from {have} on")
        validator = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
        validator_file.write_text("" if validator.startswith("W/") else validator)
        _append(reply, part, have if resumed else 0)


def _append(reply: requests.Response, part: Path, have: int) -> None:
    length = reply.headers.get("Content-Length")
    total = have + int(length) if length else None
    with (
        part.open("ab" if have else "wb") as file,
        tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=None) as bar,
    ):
        for chunk in reply.iter_content(CHUNK):
            file.write(chunk)
            have += len(chunk)
            bar.update(len(chunk))
    if total is not None and have != total:
        raise _Retry(f"truncated: {have} of {total} bytes came")


def _check_reply(url: str, reply: requests.Response) -> None:
    status = f"HTTP {reply.status_code} {reply.reason}"
    if reply.status_code == 429 or reply.status_code >= 500:
        raise _Retry(status)
    if not reply.ok:
        raise DownloadError(f"{url}: {status}; check download.archive.url in params.yaml")
    if reply.headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadError(f"{url}: the server sent an HTML page, no archive; a login or a moved file?")


def _check_sha256(archive: Path, sha256: str, name: str = "") -> None:
    found = sha256_of(archive)
    if not sha256:
        print(f"{archive.name.removesuffix('.part')}: sha256 {found}, not checked (download.archive.sha256 is empty)")
    elif found != sha256:
        raise DownloadError(
            f"{name or archive}: has sha256 {found}, params.yaml says {sha256}; fetch it again, or correct the latter"
        )


def _validator_file(part: Path) -> Path:
    return part.with_name(part.name + ".etag")

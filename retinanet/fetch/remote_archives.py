"""Archives at paths or URLs, as local files that match their pinned sha256."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event
from urllib.parse import unquote, urlsplit

from filelock import AcquireReturnProxy, FileLock, Timeout

from retinanet.errors import DownloadError
from retinanet.fetch.downloads import Pinned, download_file, find_fault, without_secrets
from retinanet.files import megabytes, sha256_of

MAX_PARALLEL = 4
WAIT_MESSAGE_AFTER_S = 1.0


def fetch_archives(parts: Sequence[Pinned], cache: Path, root: Path) -> list[Path]:
    """Make the archives at paths or file:, http: or https: URLs local files; up to four downloads run in parallel.

    A path, relative to `root`, is used in place. A download goes to `cache`; an interrupted one is resumed, and one
    whose sha256 is in the cache is not repeated. Raises DownloadError if one fails, after stopping the others.
    """
    stop = Event()
    _make_folder(cache)
    # Two experiments started at once would write into the same .part file.
    with _lock(cache), ThreadPoolExecutor(MAX_PARALLEL) as pool:
        running = [pool.submit(_fetch, part, cache, root, stop) for part in parts]
        try:
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
        return [future.result() for future in running]


def _lock(cache: Path) -> AcquireReturnProxy:
    lock = FileLock(cache / ".lock")
    try:
        return lock.acquire(timeout=WAIT_MESSAGE_AFTER_S)
    except Timeout:
        print(f"{cache}: waiting for another download to finish", flush=True)
        return lock.acquire()


def _fetch(part: Pinned, cache: Path, root: Path, stop: Event) -> Path:
    try:
        scheme, _, url_path, _, _ = urlsplit(part.url)
    except ValueError as error:
        raise DownloadError(f"{part.url}: not a valid URL ({error}); check the address") from error
    if scheme in ("http", "https"):
        return _fetch_http(part, Path(unquote(url_path)).name, cache, stop)
    if scheme not in ("", "file") and "://" in part.url:
        raise DownloadError(f"{without_secrets(part.url)}: only paths and file:, http: or https: URLs can be fetched")
    archive = root / (Path(unquote(url_path)) if scheme == "file" else Path(part.url).expanduser())
    if not archive.is_file():
        raise DownloadError(f"{archive}: no such file; check the address in params.yaml")
    if fault := find_fault(part, archive):
        raise DownloadError(f"{archive}: {fault}; download it again, or correct the pinned value")
    _print_fetched(part, archive)
    return archive


def _fetch_http(part: Pinned, name: str, cache: Path, stop: Event) -> Path:
    folder = cache / (part.sha256 or "url-" + hashlib.sha256(part.url.encode()).hexdigest()[:16])
    archive = folder / (name[-100:] or "archive")
    if part.sha256 and archive.is_file() and not find_fault(part, archive):
        print(f"{without_secrets(part.url)}: in the cache, {megabytes(archive.stat().st_size)}, sha256 as pinned")
        return archive
    print(f"{without_secrets(part.url)}: downloading", flush=True)
    download_file(part, archive, stop)
    _print_fetched(part, archive)
    return archive


def _print_fetched(part: Pinned, archive: Path) -> None:
    sha256 = "sha256 as pinned" if part.sha256 else f"sha256 {sha256_of(archive)}, not pinned"
    print(f"{without_secrets(part.url)}: {megabytes(archive.stat().st_size)}, {sha256}", flush=True)


def _make_folder(cache: Path) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(
            f"{cache}: cannot create the folder ({error.strerror}); check the folder's permissions"
        ) from error

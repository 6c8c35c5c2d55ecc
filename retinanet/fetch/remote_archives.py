"""Archives wherever they lie, as files on this disk that are as pinned."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from retinanet.errors import DownloadError
from retinanet.fetch.downloads import Pinned, download_file, find_fault, shown
from retinanet.files import megabytes, repo_root, sha256_of

AT_ONCE = 4


def fetch_archives(parts: Sequence[Pinned], cache: Path) -> list[Path]:
    """The archives at paths or at file:, http: or https: URLs, as files that are as pinned; up to four at once.

    A path is used where it lies, and starts at the repository when relative. A download goes to `cache`, is resumed
    where an earlier one was broken off, and not repeated when the cache has that sha256. Raises DownloadError, having
    stopped the others, when one cannot be had.
    """
    stop = Event()
    _make_folder(cache)
    # Two experiments started at once would write into the same .part file.
    with FileLock(cache / ".lock"), ThreadPoolExecutor(AT_ONCE) as pool:
        running = [pool.submit(_fetch, part, cache, stop) for part in parts]
        try:
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
            for one in done:
                one.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
        return [one.result() for one in running]


def _fetch(part: Pinned, cache: Path, stop: Event) -> Path:
    try:
        scheme, _, url_path, _, _ = urlsplit(part.url)
    except ValueError as error:
        raise DownloadError(f"{part.url}: no URL ({error}); check the address") from error
    if scheme in ("http", "https"):
        return _fetch_http(part, Path(unquote(url_path)).name, cache, stop)
    if scheme not in ("", "file") and "://" in part.url:
        raise DownloadError(f"{shown(part.url)}: only paths, file:, http: and https: URLs can be fetched")
    archive = repo_root() / (Path(unquote(url_path)) if scheme == "file" else Path(part.url).expanduser())
    if not archive.is_file():
        raise DownloadError(f"{archive}: there is no such file; check the address in params.yaml")
    if fault := find_fault(part, archive):
        raise DownloadError(f"{archive}: {fault}; fetch it again, or correct what is pinned")
    _say(part, archive)
    return archive


def _fetch_http(part: Pinned, name: str, cache: Path, stop: Event) -> Path:
    folder = cache / (part.sha256 or "url-" + hashlib.sha256(part.url.encode()).hexdigest()[:16])
    archive = folder / (name[-100:] or "archive")
    if part.sha256 and archive.is_file() and not find_fault(part, archive):
        print(f"{shown(part.url)}: in the cache, {megabytes(archive.stat().st_size)}, sha256 as pinned")
        return archive
    print(f"{shown(part.url)}: downloading", flush=True)
    download_file(part, archive, stop)
    _say(part, archive)
    return archive


def _say(part: Pinned, archive: Path) -> None:
    sha256 = "sha256 as pinned" if part.sha256 else f"sha256 {sha256_of(archive)}, which nothing pins"
    print(f"{shown(part.url)}: {megabytes(archive.stat().st_size)}, {sha256}", flush=True)


def _make_folder(cache: Path) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"{cache}: the folder cannot be made ({error.strerror})") from error

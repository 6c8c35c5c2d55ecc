"""Tar and zip archives from strangers, unpacked without letting one write outside its folder or fill the disk."""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from retinanet.data.files import CHUNK, disk_full, megabytes
from retinanet.errors import DownloadError

MAX_FILES = 2_000_000
# Photographs hardly shrink and JSON shrinks tenfold; a bomb grows a thousandfold.
MAX_GROWTH = 100
ALWAYS_ALLOWED_BYTES = 1 << 30


class Member(NamedTuple):
    name: str
    content: IO[bytes]


def unpack_archive(archive: Path, target: Path, max_files: int = MAX_FILES, max_bytes: int | None = None) -> list[Path]:
    """Unpack a whole tar (plain, gz, bz2, xz) or zip under the folder `target`, and return the files' paths.

    Raises DownloadError, having written nothing outside `target`, on links, devices, absolute paths, `..`, doubled
    names, encryption, damage, a full disk, more than max_files, or more than max_bytes (by default 100 times the
    archive's size, at least 1 GiB).
    """
    if max_bytes is None:
        max_bytes = max(ALWAYS_ALLOWED_BYTES, MAX_GROWTH * archive.stat().st_size)
    return _unpack(archive, target, None, max_files, max_bytes)


def unpack_members(archive: Path, target: Path, names: Collection[str]) -> list[Path]:
    """Unpack the named members of a zip only, under the same guard."""
    return _unpack(archive, target, names, MAX_FILES, max(ALWAYS_ALLOWED_BYTES, MAX_GROWTH * archive.stat().st_size))


def _unpack(archive: Path, target: Path, names: Collection[str] | None, max_files: int, max_bytes: int) -> list[Path]:
    written: list[Path] = []
    room = max_bytes
    try:
        for member in _members(archive, names):
            if len(written) == max_files:
                raise DownloadError(f"{archive}: holds more than {max_files} files; unpack it by hand if you trust it")
            path = target / _safe_path(member.name, archive)
            path.parent.mkdir(parents=True, exist_ok=True)
            room -= _copy(member.content, path, room, archive, max_bytes)
            written.append(path)
    except FileExistsError as error:
        raise DownloadError(f"{archive}: {error.filename!r} is in it twice; repack it") from error
    except OSError as error:
        if disk_full(error):
            raise DownloadError(f"{target}: the disk is full while unpacking {archive.name}; make room") from error
        raise DownloadError(f"{archive}: cannot be unpacked ({error}); fetch it again") from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, NotImplementedError) as error:
        raise DownloadError(f"{archive}: damaged or truncated ({error}); delete it and fetch it again") from error
    return written


def _members(archive: Path, names: Collection[str] | None) -> Iterator[Member]:
    if zipfile.is_zipfile(archive):
        yield from _zip_members(archive, names)
    elif tarfile.is_tarfile(archive):
        yield from _tar_members(archive)
    else:
        raise DownloadError(f"{archive}: neither a tar nor a zip archive, or its start is damaged; fetch it again")


def _zip_members(archive: Path, names: Collection[str] | None) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if names is not None and info.filename not in names:
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DownloadError(f"{archive}: {info.filename!r} is a link or device; only files are unpacked")
            if info.flag_bits & 1:
                raise DownloadError(f"{archive}: {info.filename!r} is encrypted; decrypt the archive first")
            if info.is_dir():
                _safe_path(info.filename, archive)
                continue
            with opened.open(info) as content:
                yield Member(info.filename, content)


def _tar_members(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive, "r:*") as opened:
        for info in opened:
            if info.isdir():
                _safe_path(info.name, archive)
            elif info.isreg():
                with opened.extractfile(info) as content:
                    yield Member(info.name, content)
            else:
                raise DownloadError(f"{archive}: {info.name!r} is a link or device; only files are unpacked")


def _safe_path(name: str, archive: Path) -> PurePosixPath:
    windows = PureWindowsPath(name)
    if windows.drive or windows.root or ".." in windows.parts or "\0" in name:
        raise DownloadError(f"{archive}: {name!r} leads out of the folder; do not trust this archive")
    return PurePosixPath(name)


def _copy(content: IO[bytes], path: Path, room: int, archive: Path, max_bytes: int) -> int:
    """Copy one member, counting what really comes out: a bomb's header says what it likes."""
    count = 0
    with path.open("xb") as file:
        while chunk := content.read(CHUNK):
            count += len(chunk)
            if count > room:
                raise DownloadError(
                    f"{archive}: unpacks to more than {megabytes(max_bytes)}; unpack it by hand if you trust it"
                )
            file.write(chunk)
    return count


def copy_folder(folder: Path, target: Path) -> list[Path]:
    """Copy all files of a folder under `target`, and return their paths. Raises DownloadError."""
    if not folder.is_dir():
        raise DownloadError(f"{folder}: there is no such folder; see download.folder.path in params.yaml")
    if target.resolve().is_relative_to(folder.resolve()):
        raise DownloadError(f"{folder}: contains {target}, where its files would go; name another folder")
    copied = []
    try:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            path = target / file.relative_to(folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, path)
            copied.append(path)
    except OSError as error:
        if disk_full(error):
            raise DownloadError(f"{target}: the disk is full while copying {folder}; make room") from error
        raise DownloadError(f"{folder}: cannot be copied ({error})") from error
    if not copied:
        raise DownloadError(f"{folder}: has no files in it")
    return copied

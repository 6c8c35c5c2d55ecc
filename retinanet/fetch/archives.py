"""Tar and zip archives from strangers, unpacked without letting one write outside its folder or fill the disk."""

import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from tqdm import tqdm

from retinanet.errors import DownloadError, disk_full
from retinanet.files import READ_BYTES, megabytes

# Photographs hardly shrink and JSON shrinks tenfold; a bomb grows a thousandfold.
MAX_GROWTH = 100
ALWAYS_ALLOWED_BYTES = 1 << 30
# Of a zip: its longest last record, and the count that means "more than fit here".
LAST_RECORD_BYTES = 22 + 0xFFFF
MANY = 0xFFFF
# What the readers of damaged archives raise, found by damaging some.
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
    EOFError,
    NotImplementedError,
    ValueError,
    OverflowError,
    struct.error,
)


class Limits(NamedTuple):
    """What more than is taken for an attack: entries, and bytes that come out."""

    files: int = 2_000_000
    bytes: int = 100_000_000_000


class Member(NamedTuple):
    """An entry of an archive; content is None for a folder."""

    name: str
    content: IO[bytes] | None


def unpack_archives(
    archives: Sequence[Path],
    target: Path,
    limits: Limits,
    wanted: Callable[[str], bool] = bool,
    checked: bool = False,
) -> list[Path]:
    """Unpack tars (plain, gz, bz2, xz) and zips under the folder `target`, and return the files' paths.

    wanted chooses members by name; by default all are. The limits hold for all archives together; besides, none may
    grow to more than 100 times its size (1 GiB is always allowed). checked: the archives' sha256 are as pinned, so that
    even a tar without an end mark is whole. Raises DownloadError, having written nothing outside `target`, on links,
    devices, absolute paths, `..`, doubled names, encryption, damage, a full disk and when nothing comes out.
    """
    written: list[Path] = []
    left = limits
    with tqdm(desc="unpacking", unit=" files", disable=None) as bar:
        for archive in archives:
            for path, size in _unpack(archive, target, left, limits, wanted, checked):
                left = Limits(left.files - 1, left.bytes - size)
                if path:
                    written.append(path)
                    bar.update()
    if not written:
        raise DownloadError(f"{', '.join(map(str, archives))}: no file that was asked for is in it")
    return written


def is_archive(path: Path) -> bool:
    try:
        # Tar first: a plain tar whose last file is a zip ends like a zip.
        return tarfile.is_tarfile(path) or zipfile.is_zipfile(path)
    except (OSError, *DAMAGE):
        return False


def _unpack(
    archive: Path, target: Path, left: Limits, limits: Limits, wanted: Callable[[str], bool], checked: bool
) -> Iterator[tuple[Path | None, int]]:
    """For each entry the file that was written, if one was, and its size."""
    try:
        room = min(left.bytes, max(ALWAYS_ALLOWED_BYTES, MAX_GROWTH * archive.stat().st_size))
        for number, member in enumerate(_members(archive, checked), start=1):
            if number > left.files:
                raise DownloadError(
                    f"{archive}: holds more than {limits.files} files; raise download.max_files if you trust it"
                )
            relative = _safe_path(member.name, archive)
            if member.content is None or not wanted(member.name):
                yield None, 0
                continue
            path = target / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            size = _copy(member.content, path, room, archive)
            room -= size
            yield path, size
    except FileExistsError as error:
        raise DownloadError(f"{archive}: {error.filename!r} is in it twice; repack it") from error
    except OSError as error:
        if disk_full(error):
            raise DownloadError(f"{target}: the disk is full while unpacking {archive.name}; make room") from error
        if error.errno is None:  # so gzip and bz2 say it
            raise _damaged(archive, error) from error
        raise DownloadError(f"{archive}: cannot be unpacked ({error}); see to {target}") from error
    except DAMAGE as error:
        raise _damaged(archive, error) from error


def _damaged(archive: Path, reason: object) -> DownloadError:
    return DownloadError(f"{archive}: damaged or truncated ({reason}); delete it and fetch it again")


def _members(archive: Path, checked: bool) -> Iterator[Member]:
    if not is_archive(archive):
        raise DownloadError(f"{archive}: neither a tar nor a zip archive, or its start is damaged; fetch it again")
    return _tar_members(archive, checked) if tarfile.is_tarfile(archive) else _zip_members(archive)


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        # A broken length in zip's table makes entries swallow the next ones, which zipfile does not notice.
        if _counted_at_the_end(archive) not in (MANY, len(opened.infolist()) & MANY):
            raise _damaged(archive, "its table lost entries")
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DownloadError(f"{archive}: {info.filename!r} is a link or device; only files are unpacked")
            if info.is_dir():
                yield Member(info.filename, None)
                continue
            if info.flag_bits & 1:
                raise DownloadError(f"{archive}: {info.filename!r} is encrypted; decrypt the archive first")
            with opened.open(info) as content:
                yield Member(info.filename, content)


def _counted_at_the_end(archive: Path) -> int:
    """The number of entries that a zip's last record gives; MANY where that record has no room for it."""
    with archive.open("rb") as file:
        file.seek(-min(archive.stat().st_size, LAST_RECORD_BYTES), os.SEEK_END)
        end = file.read()
    return struct.unpack_from("<H", end, end.rfind(b"PK\5\6") + 10)[0]


def _tar_members(archive: Path, checked: bool) -> Iterator[Member]:
    with tarfile.open(archive, "r:*") as opened:
        for info in opened:
            if info.isdir():
                yield Member(info.name, None)
            elif info.isreg() and (content := opened.extractfile(info)) is not None:
                with content:
                    yield Member(info.name, content)
            else:
                raise DownloadError(f"{archive}: {info.name!r} is a link or device; only files are unpacked")
        # tarfile takes a broken header, and the end of the file, for the end of the archive; that is a block of zeros.
        opened.fileobj.seek(opened.offset)
        end = opened.fileobj.read(READ_BYTES)  # with the padding behind it, so that a gz checks its sum
        if end[: tarfile.BLOCKSIZE] != bytes(tarfile.BLOCKSIZE) and not (checked and not end):
            raise _damaged(archive, "it has no end mark")


def _safe_path(name: str, archive: Path) -> PurePosixPath:
    windows = PureWindowsPath(name)
    if windows.drive or windows.root or ".." in windows.parts or "\0" in name:
        raise DownloadError(f"{archive}: {name!r} leads out of the folder; do not trust this archive")
    return PurePosixPath(name)


def _copy(content: IO[bytes], path: Path, room: int, archive: Path) -> int:
    """Copy one member, counting what really comes out: a bomb's header says what it likes."""
    count = 0
    with path.open("xb") as file:
        while chunk := content.read(READ_BYTES):
            count += len(chunk)
            if count > room:
                raise DownloadError(
                    f"{archive}: unpacks to more than download.max_gigabytes, or {MAX_GROWTH} times its size of "
                    f"{megabytes(archive.stat().st_size)}; unpack it by hand if you trust it"
                )
            file.write(chunk)
    return count

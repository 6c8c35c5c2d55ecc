"""Unpacking of untrusted tar and zip archives: nothing is written outside the target, and the size is limited."""

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

# Photographs hardly compress and JSON compresses tenfold; a decompression bomb does a thousandfold.
MAX_COMPRESSION_RATIO = 100
ALWAYS_ALLOWED_BYTES = 1 << 30
# The end-of-central-directory record of a zip: its maximum size, and the count that refers to the zip64 record.
MAX_END_RECORD_BYTES = 22 + 0xFFFF
ZIP64_COUNT = 0xFFFF
# What tarfile and zipfile raise on damaged archives, found by damaging some.
DAMAGE_ERRORS = (
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
    """Extraction limits; an archive beyond them is refused as a decompression bomb."""

    files: int = 2_000_000  # entries, folders included
    bytes: int = 100_000_000_000  # unpacked


class Member(NamedTuple):
    """An entry of an archive. content is None for a folder."""

    name: str
    content: IO[bytes] | None


def unpack_archives(
    archives: Sequence[Path],
    target: Path,
    limits: Limits,
    is_selected: Callable[[str], bool] = bool,
    sha256_verified: bool = False,
) -> list[Path]:
    """Unpack tars (plain, gz, bz2, xz) and zips into the folder `target`, and return the files' paths.

    is_selected chooses members by name; the default is all. The limits hold for all archives together; in addition, an
    archive may unpack to at most 100 times its size or 1 GiB, whichever is more. sha256_verified: the sha256 of every
    archive was verified, so a tar without an end mark is complete. Raises DownloadError on links, devices, absolute
    paths, `..`, duplicate names, encryption, damage, a full disk, and if no file is selected.
    """
    written: list[Path] = []
    remaining = limits
    with tqdm(desc="unpacking", unit=" files", disable=None) as bar:
        for archive in archives:
            for path, size in _unpack(archive, target, remaining, limits, is_selected, sha256_verified):
                remaining = Limits(remaining.files - 1, remaining.bytes - size)
                if path:
                    written.append(path)
                    bar.update()
    if not written:
        raise DownloadError(f"{', '.join(map(str, archives))}: no member was selected; correct download in params.yaml")
    return written


def is_archive(path: Path) -> bool:
    try:
        # Tar first: a plain tar whose last file is a zip ends like a zip.
        return tarfile.is_tarfile(path) or zipfile.is_zipfile(path)
    except (OSError, *DAMAGE_ERRORS):
        return False


def _unpack(
    archive: Path,
    target: Path,
    remaining: Limits,
    limits: Limits,
    is_selected: Callable[[str], bool],
    sha256_verified: bool,
) -> Iterator[tuple[Path | None, int]]:
    """For each entry, the path and size in bytes of the file written; None and 0 if none was."""
    try:
        max_bytes = min(remaining.bytes, max(ALWAYS_ALLOWED_BYTES, MAX_COMPRESSION_RATIO * archive.stat().st_size))
        for number, member in enumerate(_members(archive, sha256_verified), start=1):
            if number > remaining.files:
                raise DownloadError(
                    f"{archive}: more than {limits.files} files; raise download.max_files if you trust it"
                )
            relative = _safe_path(member.name, archive)
            if member.content is None or not is_selected(member.name):
                yield None, 0
                continue
            path = target / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            size = _copy(member.content, path, max_bytes, archive)
            max_bytes -= size
            yield path, size
    except FileExistsError as error:
        raise DownloadError(f"{archive}: {error.filename!r} is in the archive twice; repack it") from error
    except OSError as error:
        if disk_full(error):
            raise DownloadError(
                f"{target}: the disk is full while unpacking {archive.name}; free some space"
            ) from error
        if error.errno is None:  # raised by gzip and bz2 for damage
            raise _damaged(archive, error) from error
        raise DownloadError(f"{archive}: cannot unpack it ({error}); check {target}") from error
    except DAMAGE_ERRORS as error:
        raise _damaged(archive, error) from error


def _damaged(archive: Path, reason: object) -> DownloadError:
    return DownloadError(f"{archive}: damaged or truncated ({reason}); delete it and download it again")


def _members(archive: Path, sha256_verified: bool) -> Iterator[Member]:
    if not is_archive(archive):
        raise DownloadError(f"{archive}: neither a tar nor a zip archive, or damaged at the start; download it again")
    return _tar_members(archive, sha256_verified) if tarfile.is_tarfile(archive) else _zip_members(archive)


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        # A wrong length in the central directory hides the entries after it, which zipfile does not notice.
        if _declared_entries(archive) not in (ZIP64_COUNT, len(opened.infolist()) & ZIP64_COUNT):
            raise _damaged(archive, "entries are missing from the central directory")
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DownloadError(f"{archive}: {info.filename!r} is a link or device; repack the archive without it")
            if info.is_dir():
                yield Member(info.filename, None)
                continue
            if info.flag_bits & 1:
                raise DownloadError(f"{archive}: {info.filename!r} is encrypted; decrypt the archive first")
            with opened.open(info) as content:
                yield Member(info.filename, content)


def _declared_entries(archive: Path) -> int:
    """The number of entries in the end record of a zip; ZIP64_COUNT if the zip64 record has it instead."""
    with archive.open("rb") as file:
        file.seek(-min(archive.stat().st_size, MAX_END_RECORD_BYTES), os.SEEK_END)
        end = file.read()
    return struct.unpack_from("<H", end, end.rfind(b"PK\5\6") + 10)[0]


def _tar_members(archive: Path, sha256_verified: bool) -> Iterator[Member]:
    with tarfile.open(archive, "r:*") as opened:
        for info in opened:
            if info.isdir():
                yield Member(info.name, None)
            elif info.isreg() and (content := opened.extractfile(info)) is not None:
                with content:
                    yield Member(info.name, content)
            else:
                raise DownloadError(f"{archive}: {info.name!r} is a link or device; repack the archive without it")
        # tarfile stops at a broken header or the end of the file as if it were the end mark, which is a block of zeros.
        opened.fileobj.seek(opened.offset)
        end = opened.fileobj.read(READ_BYTES)  # with the padding after it, so that gzip verifies its checksum
        if end[: tarfile.BLOCKSIZE] != bytes(tarfile.BLOCKSIZE) and not (sha256_verified and not end):
            raise _damaged(archive, "it has no end mark")


def _safe_path(name: str, archive: Path) -> PurePosixPath:
    windows = PureWindowsPath(name)
    if windows.drive or windows.root or ".." in windows.parts or "\0" in name:
        raise DownloadError(f"{archive}: {name!r} is outside of the target folder; do not trust this archive")
    return PurePosixPath(name)


def _copy(content: IO[bytes], path: Path, max_bytes: int, archive: Path) -> int:
    """Copy one member and count its bytes: the size in its header may be wrong."""
    count = 0
    with path.open("xb") as file:
        while chunk := content.read(READ_BYTES):
            count += len(chunk)
            if count > max_bytes:
                raise DownloadError(
                    f"{archive}: unpacks to more than download.max_gigabytes or {MAX_COMPRESSION_RATIO} times its size "
                    f"of {megabytes(archive.stat().st_size)}; unpack it by hand if you trust it"
                )
            file.write(chunk)
    return count

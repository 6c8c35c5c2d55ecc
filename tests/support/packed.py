"""Sound and malicious archives, and the content of folders."""

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Literal

FILES = {"set/a.txt": b"first", "set/deep/b.txt": b"second " * 50, "ünï code\n.txt": b""}


def zip_bytes(files: dict[str, bytes] = FILES, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tar_bytes(files: dict[str, bytes] = FILES, compression: str = "", links: dict[str, bytes] | None = None) -> bytes:
    """A tar; links maps the names of further members, which point at /etc/passwd, to their tarfile types."""
    buffer = io.BytesIO()
    modes: dict[str, Literal["w:", "w:gz", "w:bz2", "w:xz"]] = {"": "w:", "gz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}
    with tarfile.open(fileobj=buffer, mode=modes[compression]) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, kind in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    return buffer.getvalue()


def tree(folder: Path) -> dict[str, bytes | None]:
    """By relative path: a file's bytes, None for a folder, the target of a link."""
    return {
        str(path.relative_to(folder)): (
            str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        )
        for path in sorted(folder.rglob("*"))
    }


def files_in(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in tree(folder).items() if content is not None}

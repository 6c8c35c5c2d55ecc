"""Archives made by hand, honest and not."""

import io
import tarfile
import zipfile
from pathlib import Path

FILES = {"set/a.txt": b"first", "set/deep/b.txt": b"second " * 50, "ünï code\n.txt": b""}


def zip_bytes(files: dict[str, bytes] = FILES, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tar_bytes(files: dict[str, bytes] = FILES, compression: str = "", links: dict[str, bytes] | None = None) -> bytes:
    """A tar; links maps names to the tarfile type of a member without content that points at /etc/passwd."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:
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
    """All below a folder: the files' bytes, None for a folder, what a link points at."""
    return {
        str(path.relative_to(folder)): (
            str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        )
        for path in sorted(folder.rglob("*"))
    }


def files_in(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in tree(folder).items() if content is not None}

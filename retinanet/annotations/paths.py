"""Paths that annotations write: checked before anything is opened by them."""

from collections.abc import Iterable
from pathlib import Path

from retinanet.errors import AnnotationError


def find_file(folders: Iterable[Path], file_name: str) -> Path | None:
    """The first of the folders' files of that name; None where there is none, or could be none."""
    for folder in folders:
        try:
            if (folder / file_name).is_file():
                return folder / file_name
        except OSError:  # longer than a name can be
            return None
    return None


def read_lines(path: Path) -> list[str]:
    """A text file's lines. Raises AnnotationError when it is no UTF-8."""
    return read_text(path).splitlines()


def read_text(path: Path) -> str:
    """A text file's content. Raises AnnotationError when it is no UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: is no UTF-8 text ({error.reason}); save it as such") from error


def find_folder(folders: Iterable[Path], name: str) -> Path | None:
    """The first of the folders' folders of that name; None where there is none, or could be none."""
    try:
        return next((folder / name for folder in folders if (folder / name).is_dir()), None)
    except OSError:
        return None

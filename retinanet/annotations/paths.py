"""Files that annotations name, and their text."""

from collections.abc import Iterable
from pathlib import Path

from retinanet.errors import AnnotationError


def find_file(folders: Iterable[Path], file_name: str) -> Path | None:
    """The file of that name in the first of the folders that has it; None if none has, or the name is too long."""
    for folder in folders:
        try:
            if (folder / file_name).is_file():
                return folder / file_name
        except OSError:  # the name is too long for the file system
            return None
    return None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file. Raises AnnotationError if it is not UTF-8."""
    return read_text(path).splitlines()


def read_text(path: Path) -> str:
    """The content of a text file. Raises AnnotationError if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from error


def find_folder(folders: Iterable[Path], name: str) -> Path | None:
    """The subfolder of that name in the first of the folders that has it; None if none has, or the name is too long."""
    try:
        return next((folder / name for folder in folders if (folder / name).is_dir()), None)
    except OSError:
        return None

"""Paths that annotations write: checked before anything is opened by them."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from retinanet.errors import AnnotationError


def check_file_name(file_name: object, who: str) -> None:
    """Raise AnnotationError for a picture's path that is none or leads out of the data's folder."""
    if not isinstance(file_name, str) or not file_name or "\0" in file_name or not is_text(file_name):
        raise AnnotationError(f"{who} has file name {file_name!r}; it must be a path")
    windows = PureWindowsPath(file_name)
    if ".." in windows.parts or windows.drive or windows.root or PurePosixPath(file_name).is_absolute():
        raise AnnotationError(f"{who} has file name {file_name!r}; it must be relative and stay inside the folder")


def check_class_name(name: object, who: str) -> None:
    """Raise AnnotationError for a name that no file can hold."""
    if not isinstance(name, str) or not name or not is_text(name):
        raise AnnotationError(f"{who} has class name {name!r}; give it one")


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


def is_text(text: str) -> bool:
    """Whether it can be written as UTF-8: JSON can spell halves of surrogate pairs, file systems keep any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

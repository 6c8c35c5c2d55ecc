"""Copying of a local folder."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from retinanet.errors import DownloadError, disk_full


def copy_folder(folder: Path, target: Path) -> list[Path]:
    """Copy all files of a folder into `target`, following links, and return their paths. Raises DownloadError."""
    if not folder.is_dir():
        raise DownloadError(f"{folder}: no such folder; correct download.folder.path in params.yaml")
    if target.resolve().is_relative_to(folder.resolve()):
        raise DownloadError(f"{folder}: contains {target}, the destination of the copy; choose another folder")
    copied = []
    try:
        for file in sorted(_files(folder, ())):
            path = target / file.relative_to(folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, path)
            copied.append(path)
    except OSError as error:
        if disk_full(error):
            raise DownloadError(f"{target}: the disk is full while copying {folder}; free some space") from error
        raise DownloadError(f"{folder}: cannot copy it ({error}); check the folder's permissions") from error
    if all(path.name == "README.md" for path in copied):  # as in a new data/my_images
        raise DownloadError(f"{folder}: contains no images; add some, or change download in params.yaml")
    return copied


def _files(folder: Path, parents: tuple[Path, ...]) -> Iterator[Path]:
    real = folder.resolve()
    if real in parents:
        raise DownloadError(f"{folder}: is a link to a folder that contains it; remove it")
    with os.scandir(folder) as scanned:
        entries = list(scanned)
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir():
            yield from _files(path, (*parents, real))
        elif entry.is_file():
            yield path
        else:
            raise DownloadError(f"{path}: is a broken link or a device; repair or remove it")

"""Images as annotation files list them by name, found in the source folder."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from retinanet.annotations.files import SourceFiles
from retinanet.annotations.records import Box, Finding, SourceDataset, SourceImage
from retinanet.errors import AnnotationError


class Listed(NamedTuple):
    """An image as an annotation file lists it; the fields are those of SourceImage.

    location: `file: line N`, if lines are known.
    """

    name: str
    boxes: tuple[Box, ...]
    size: tuple[int, int] | None = None
    split: str | None = None
    group: str | None = None
    source_id: int | None = None
    location: str = ""


def add_listed(
    source: SourceDataset,
    files: SourceFiles,
    path: Path,
    folders: Collection[Path],
    listed: Sequence[Listed],
    listed_in: dict[Path, str],
    by_folder: bool = True,
) -> None:
    """Add the images that the annotation file `path` lists to the source, and the missing ones to source.skipped.

    Names are relative to one of the folders, or paths of another computer. listed_in, which is updated, has the
    location where each image is listed. by_folder: an image without a split gets that of its innermost folder
    called like one. Raises AnnotationError if an image is listed twice.
    """
    located = files.locate((image.name for image in listed), folders, path, listed_in)
    for image in listed:
        location = image.location or str(path)
        file = located.get(image.name)
        if file is None:
            source.skipped.append(Finding(image.name, f"listed in {location}, but the image is missing"))
            continue
        if file in listed_in:
            raise AnnotationError(f"{location}: {image.name!r} is listed twice, first in {listed_in[file]}; remove one")
        listed_in[file] = location
        split = image.split or (files.split_of_folder(file) if by_folder else None)
        source.images.append(SourceImage(file, image.boxes, image.size, split, image.source_id, image.group))

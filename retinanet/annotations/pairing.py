"""Image folders that belong to folders of annotation files, for formats with one file per image."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from retinanet.annotations.files import SourceFiles
from retinanet.annotations.records import split_of_folders
from retinanet.errors import AnnotationError

IMAGE_FOLDERS = ("jpegimages", "images", "image", "img", "imgs", "data")
# Masks have the names of the images that they belong to.
MASK_FOLDERS = ("segmentationclass", "segmentationobject", "mask", "masks")


def image_folders(files: SourceFiles, annotations: Iterable[Path], images: Iterable[Path]) -> dict[Path, list[Path]]:
    """{folder of annotation files: the image folders with files of the same base names, best first}.

    The best is the folder itself, then the one with the most folder names in common (`Annotations/cam1` and
    `JPEGImages/cam1`), then one called like an image folder, then the one with most files of the same names. An image
    folder in another split, or the best of another folder, is not used. Raises AnnotationError if two are equally good.
    """
    stems = _stems_by_folder(annotations)
    image_stems = _stems_by_folder(images)
    ranked = {folder: _ranked(files, folder, names, image_stems) for folder, names in stems.items()}
    owners = {candidates[0] for candidates in ranked.values() if candidates}
    return {
        folder: candidates[:1] + [images for images in candidates[1:] if images not in owners]
        for folder, candidates in ranked.items()
    }


def _ranked(files: SourceFiles, folder: Path, names: set[str], image_stems: dict[Path, set[str]]) -> list[Path]:
    if names <= image_stems.get(folder, set()):
        return [folder]
    parts = files.parts(folder)
    split = split_of_folders(parts)

    def rank(images: Path) -> tuple[bool, int, bool, bool, int]:
        other = files.parts(images)
        return (
            images == folder,
            _common(parts, other) + _common(parts[::-1], other[::-1]),
            images.name.lower() not in MASK_FOLDERS,
            images.name.lower() in IMAGE_FOLDERS,
            len(names & image_stems[images]),
        )

    splits = {images: split_of_folders(files.parts(images)) for images in image_stems}
    candidates = [
        images
        for images in image_stems
        if names & image_stems[images] and (split is None or splits[images] in (split, None))
    ]
    ranks = {images: rank(images) for images in candidates}
    candidates.sort(key=lambda images: ranks[images], reverse=True)
    for first, second in pairwise(candidates):
        shared = names & image_stems[first] & image_stems[second]
        if shared and ranks[first][:-1] == ranks[second][:-1]:
            raise AnnotationError(
                f"{folder / min(shared)}.*: its image could be in {first} or in {second}; remove one of the two"
            )
    return candidates


def _stems_by_folder(paths: Iterable[Path]) -> dict[Path, set[str]]:
    stems: dict[Path, set[str]] = {}
    for path in paths:
        stems.setdefault(path.parent, set()).add(path.stem)
    return stems


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    count = 0
    for one, other in zip(first, second, strict=False):
        if one.lower() != other.lower():
            break
        count += 1
    return count

"""Image folders that belong to folders of annotation files, for formats with one file per image."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from retinanet.annotations.files import SourceFiles, common_length
from retinanet.annotations.records import split_of_folders, splits_agree
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


def same_named_images(
    folders: Mapping[Path, Sequence[Path]], annotations: Iterable[Path], images: Iterable[Path]
) -> dict[Path, list[Path]]:
    """{annotation file: the images of its base name in the best folder that has one}; folders are image_folders'.

    A name in another case is the same if no image of the folder has the equal name.
    """
    by_name: dict[tuple[Path, str], list[Path]] = {}
    for image in images:
        by_name.setdefault((image.parent, image.stem.lower()), []).append(image)
    found = {}
    for path in annotations:
        candidates = (by_name.get((folder, path.stem.lower())) for folder in folders[path.parent])
        if same_named := next(filter(None, candidates), None):
            equal = [image for image in same_named if image.stem == path.stem]
            found[path] = equal or same_named
    return found


def _ranked(files: SourceFiles, folder: Path, names: set[str], image_stems: dict[Path, set[str]]) -> list[Path]:
    if names <= image_stems.get(folder, set()):
        return [folder]
    parts = files.parts(folder)
    split = split_of_folders(parts)

    def rank(images: Path) -> tuple[bool, int, bool, bool, int]:
        other = files.parts(images)
        return (
            images == folder,
            common_length(parts, other) + common_length(parts[::-1], other[::-1]),
            images.name.lower() not in MASK_FOLDERS,
            images.name.lower() in IMAGE_FOLDERS,
            len(names & image_stems[images]),
        )

    splits = {images: split_of_folders(files.parts(images)) for images in image_stems}
    candidates = [i for i in image_stems if names & image_stems[i] and splits_agree(split, splits[i])]
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
        stems.setdefault(path.parent, set()).add(path.stem.lower())
    return stems

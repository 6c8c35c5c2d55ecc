"""Reader of YOLO: a .txt for each image with box centers and sizes relative to it."""

import re
from math import isfinite
from pathlib import Path

from retinanet.annotations.files import SourceFiles, read_lines
from retinanet.annotations.pairing import MASK_FOLDERS, image_folders, same_named_images
from retinanet.annotations.records import Box, Finding, SourceDataset, SourceImage, split_of_folders
from retinanet.annotations.shapes import hull
from retinanet.annotations.yolo_settings import class_names, find_class_file, key_point_numbers, official_splits
from retinanet.errors import AnnotationError
from retinanet.images.reading import upright_size

# Coordinates of outlines further outside of the image than this share of it are key points with visibilities.
MAX_OUTSIDE = 0.5
# Pixels. Coordinates with fewer digits do not tell which whole pixel was meant.
MAX_ROUNDING = 0.25


def find_yolo_files(files: SourceFiles) -> list[Path]:
    """The label files: .txt files with the base name of an image, if there is a class file. Raises AnnotationError."""
    return _label_files(files) if find_class_file(files) else []


def read_yolo(files: SourceFiles, group_column: str = "") -> SourceDataset:
    """Read the images with their label files, which have the same base name.

    An image without a label file has no objects. A polygon becomes its bounding box; key points (`kpt_shape` in the
    data.yaml) are not used. Coordinates within the rounding error of a whole pixel are rounded to it. group_column is
    unused: label files have no columns. Raises AnnotationError.
    """
    class_file = find_class_file(files)
    if class_file is None:
        raise AnnotationError(f"{files.root}: no data.yaml or classes.txt with the names of the YOLO classes; add one")
    names = class_names(class_file)
    key_points = key_point_numbers(class_file)
    splits = official_splits(class_file, files)
    source = SourceDataset("yolo", class_names=names, remarks=list(splits.remarks))
    source.skipped = [Finding(name, "listed in a split, but missing") for name in splits.missing]
    images = [image for image in files.images() if image.parent.name.lower() not in MASK_FOLDERS]
    label_of = _label_of_images(files, images)
    unlabeled = left_out = 0
    for image in images:
        if splits.split_of and image not in splits.split_of:
            left_out += 1
            continue
        split = splits.split_of.get(image) or split_of_folders(_folder_words(files.parts(image.parent)))
        label = label_of.get(image)
        # An image without a size cannot be read; prepare's check reports it.
        boxes = _boxes(label, names, upright_size(image) or (1, 1), key_points) if label else ()
        unlabeled += label is None
        source.images.append(SourceImage(image, boxes, split=split))
    if left_out:
        source.remarks.append(f"{left_out} images are in no split of {class_file} and are left out")
    if unlabeled:
        source.remarks.append(f"{unlabeled} images have no label file and count as images without objects")
    used = set(label_of.values())
    label_folders = {path.parent for path in used}
    for path in files.with_suffix(".txt"):
        in_labels = path.parent in label_folders or "labels" in files.parts(path.parent)
        if in_labels and path not in used and not splits.split_of and _looks_like_label(path):
            source.skipped.append(Finding(str(path), "its image is missing"))
    return source


def _folder_words(parts: tuple[str, ...]) -> list[str]:
    """The names of folders; of CVAT's obj_train_data the middle word."""
    return [re.sub(r"^obj_(\w+)_data$", r"\1", part, flags=re.IGNORECASE) for part in parts]


def _label_files(files: SourceFiles) -> list[Path]:
    stems = {image.stem for image in files.images()}
    return [path for path in files.with_suffix(".txt") if path.stem in stems]


def _label_of_images(files: SourceFiles, images: list[Path]) -> dict[Path, Path]:
    """{image: its label file}."""
    labels = _label_files(files)
    same_named = same_named_images(image_folders(files, labels, images), labels, images)
    return {image: label for label, labeled in same_named.items() for image in labeled}


def _looks_like_label(path: Path) -> bool:
    words = next((line.split() for line in read_lines(path) if line.strip()), [])
    try:
        return len([float(word) for word in words]) >= 5
    except ValueError:
        return False


def _boxes(label: Path, names: list[str], size: tuple[int, int], key_points: int) -> tuple[Box, ...]:
    boxes = []
    for number, line in enumerate(read_lines(label), start=1):
        words = line.split()
        if not words:
            continue
        location = f"{label}: line {number}"
        try:
            category, sides = float(words[0]), [float(word) for word in words[1:]]
        except ValueError as error:
            raise AnnotationError(f"{location} is {line!r}; it needs a class and four numbers") from error
        if category not in range(len(names)):
            raise AnnotationError(f"{location} has class {words[0]}; it must be 0 to {len(names) - 1}")
        if key_points and len(sides) == 4 + key_points:
            sides = sides[:4]
        if len(sides) == 4:
            x, y, width, height = sides
            relative = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        elif len(sides) >= 6 and len(sides) % 2 == 0:
            relative = hull(list(zip(sides[::2], sides[1::2], strict=True)))
            if min(relative) < -MAX_OUTSIDE or max(relative) > 1 + MAX_OUTSIDE:
                raise AnnotationError(
                    f"{location} has coordinates far outside of the image; if they are key points, add kpt_shape "
                    "([number of points, 2 or 3]) to the data.yaml"
                )
        else:
            raise AnnotationError(
                f"{location} has {len(sides)} numbers after the class; it needs four, or the corners of a polygon"
            )
        digits = max(len(word.partition(".")[2].partition("e")[0]) for word in words[1 : 1 + len(sides)])
        left, top, right, bottom = (_pixel(edge, side, digits) for edge, side in zip(relative, size * 2, strict=True))
        boxes.append(Box(names[int(category)], (left, top, right, bottom)))
    return tuple(boxes)


def _pixel(relative: float, side: int, digits: int) -> float:
    edge = relative * side
    # The center and half the size are each rounded by up to half a unit of the last digit.
    rounding = max(side * 10.0**-digits, 1e-6)
    is_rounded = rounding <= MAX_ROUNDING and isfinite(edge) and abs(edge - round(edge)) < rounding
    return float(round(edge)) if is_rounded else edge

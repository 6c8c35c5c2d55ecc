"""Reader of labelme: a JSON file for each image, with shapes."""

from math import dist
from pathlib import Path
from typing import Any

from retinanet.annotations.files import SourceFiles, check_listed_name, read_json
from retinanet.annotations.pairing import image_folders, same_named_images
from retinanet.annotations.records import (
    Box,
    Finding,
    SourceDataset,
    SourceImage,
    Xyxy,
    group_name,
    image_size,
)
from retinanet.annotations.shapes import hull, is_points
from retinanet.dataset.coco_file import check_class_name
from retinanet.errors import AnnotationError


def find_labelme_files(files: SourceFiles) -> list[Path]:
    return files.json_files("shapes", "imagePath")


def read_labelme(files: SourceFiles, group_column: str = "") -> SourceDataset:
    """Read the boxes around the shapes of each image.

    The image has the base name of the JSON file, or is found by imagePath. group_column is a key of the file's
    `flags`. Raises AnnotationError.
    """
    source = SourceDataset("labelme")
    paths = find_labelme_files(files)
    folders = image_folders(files, paths, files.images())
    same_named = same_named_images(folders, paths, files.images())
    used: dict[Path, Path] = {}
    for path in paths:
        content = read_json(path)
        check_listed_name(content["imagePath"], str(path))
        near = [path.parent, *folders[path.parent]]
        if path in same_named:
            image: Path | None = same_named[path][0]
        else:
            image = files.locate([content["imagePath"]], near, path, used).get(content["imagePath"])
        if image is None:
            source.skipped.append(Finding(content["imagePath"], f"listed in {path}, but the image is missing"))
            continue
        if image in used:
            raise AnnotationError(f"{path}: {image} has two annotations, also in {used[image]}; remove one")
        used[image] = path
        flags = content.get("flags")
        group = flags.get(group_column) if isinstance(flags, dict) else None
        source.images.append(
            SourceImage(
                image,
                _boxes(content, path),
                image_size(content.get("imageWidth"), content.get("imageHeight")),
                files.split_of_folder(path) or files.split_of_folder(image),
                group=group_name(group),
            )
        )
    unannotated = len(files.images()) - len(used)
    if unannotated:
        source.remarks.append(f"{unannotated} images have no JSON file and are left out")
    return source


def _boxes(content: dict[str, Any], path: Path) -> tuple[Box, ...]:
    shapes = content["shapes"]
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise AnnotationError(f"{path}: shapes is not a list of objects; write the file again")
    boxes = []
    for number, shape in enumerate(shapes, start=1):
        location = f"{path}: shape {number}"
        check_class_name(shape.get("label"), location)
        boxes.append(Box(shape["label"], _xyxy(shape, location)))
    return tuple(boxes)


def _xyxy(shape: dict[str, Any], location: str) -> Xyxy:
    points = shape.get("points")
    if not is_points(points):
        raise AnnotationError(f"{location} has points {points!r}; they must be a list of [x, y]")
    if shape.get("shape_type") == "circle" and len(points) == 2:  # the center and a point of the circle
        (x, y), radius = points[0], dist(*points)
        return x - radius, y - radius, x + radius, y + radius
    return hull(points)

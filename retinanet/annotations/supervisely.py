"""Reader of Supervisely projects: meta.json, and in each dataset `ann` with a JSON file for each image of `img`."""

import base64
import binascii
import io
import zlib
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.Image import DecompressionBombError

from retinanet.annotations.files import SourceFiles, read_json
from retinanet.annotations.records import (
    Box,
    Finding,
    SourceDataset,
    SourceImage,
    Xyxy,
    group_name,
    image_size,
    split_of_folders,
)
from retinanet.annotations.shapes import hull, is_points
from retinanet.dataset.coco_file import check_class_name
from retinanet.errors import AnnotationError


def find_supervisely_files(files: SourceFiles) -> list[Path]:
    """The annotations: JSON files with objects and a size in folders called `ann`."""
    return [path for path in files.json_files("objects", "size") if path.parent.name == "ann"]


def read_supervisely(files: SourceFiles, group_column: str = "") -> SourceDataset:
    """Read the boxes around the objects; a split is a tag of the image or a folder called like one.

    group_column is the name of a tag with a value. Raises AnnotationError.
    """
    source = SourceDataset("supervisely")
    annotation_of: dict[Path, Path] = {}
    for path in find_supervisely_files(files):
        content = read_json(path)
        folder = path.parent.parent / "img"
        # a.jpg.json belongs to a.jpg; older exports write a.json.
        image = files.find([folder], path.stem) or next(
            (image for image in files.images() if image.parent == folder and image.stem == path.stem), None
        )
        if image is None:
            source.skipped.append(Finding(str(path), f"its image is missing: {folder / path.stem}"))
            continue
        if image in annotation_of:
            raise AnnotationError(f"{path}: {image} has two annotations, also in {annotation_of[image]}; remove one")
        annotation_of[image] = path
        objects = content["objects"]
        if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
            raise AnnotationError(f"{path}: objects is not a list of objects; export it again")
        boxes = tuple(_box(one, f"{path}: object {number}") for number, one in enumerate(objects, start=1))
        rows = content.get("tags")
        rows = [tag for tag in rows if isinstance(tag, dict)] if isinstance(rows, list) else []
        tags = {str(tag.get("name")): tag.get("value") for tag in rows}
        split = split_of_folders(tags) or files.split_of_folder(path)
        stated = content["size"] if isinstance(content["size"], dict) else {}
        size = image_size(stated.get("width"), stated.get("height"))
        source.images.append(SourceImage(image, boxes, size, split, group=group_name(tags.get(group_column))))
    return source


def _box(row: dict[str, Any], location: str) -> Box:
    check_class_name(row.get("classTitle"), location)
    return Box(row["classTitle"], _xyxy(row, location))


def _xyxy(row: dict[str, Any], location: str) -> Xyxy:
    if isinstance(row.get("bitmap"), dict):
        return _bitmap_xyxy(row["bitmap"], location)
    points = row["points"].get("exterior") if isinstance(row.get("points"), dict) else None
    if not is_points(points):
        raise AnnotationError(f"{location} ({row.get('geometryType')}) has no points.exterior; remove it")
    return hull(points)


def _bitmap_xyxy(bitmap: dict[str, Any], location: str) -> Xyxy:
    """The box of a mask: a PNG, compressed by zlib, in base64, and its top left corner."""
    try:
        left, top = (float(side) for side in bitmap["origin"])
        with Image.open(io.BytesIO(zlib.decompress(base64.b64decode(bitmap["data"])))) as mask:
            return left, top, left + mask.width, top + mask.height
    except (KeyError, TypeError, ValueError, OSError, zlib.error, binascii.Error, DecompressionBombError) as error:
        raise AnnotationError(f"{location} has a damaged bitmap ({error}); export it again") from error

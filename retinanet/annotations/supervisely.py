"""Reader of Supervisely projects: meta.json, and in each dataset `ann` with a JSON file for each image of `img`."""

import base64
import binascii
import io
import zlib
from pathlib import Path
from typing import Any

from PIL import Image

from retinanet.annotations.files import SourceFiles, parse_json, read_text
from retinanet.annotations.records import Box, Finding, SourceDataset, SourceImage, Xyxy, hull, split_of_folders
from retinanet.dataset.coco_file import check_class_name, is_number
from retinanet.errors import AnnotationError

KEYS = frozenset({"objects", "size"})


def find_supervisely_files(files: SourceFiles) -> list[Path]:
    """The annotations: JSON files with objects and a size in folders called `ann`."""
    candidates = [path for path in files.with_suffix(".json") if path.parent.name == "ann"]
    return [path for path in candidates if (outline := files.json_outline(path)) and outline.keys >= KEYS]


def read_supervisely(files: SourceFiles, group_column: str = "") -> SourceDataset:
    """Read the boxes around the objects; a split is a tag of the image or a folder called like one.

    group_column is the name of a tag with a value. Raises AnnotationError.
    """
    source = SourceDataset("supervisely")
    for path in find_supervisely_files(files):
        content: Any = parse_json(read_text(path), str(path))
        folder = path.parent.parent / "img"
        # a.jpg.json belongs to a.jpg; older exports write a.json.
        image = files.find([folder], path.stem) or next(
            (image for image in files.images() if image.parent == folder and image.stem == path.stem), None
        )
        if image is None:
            source.skipped.append(Finding(str(path), f"its image is missing: {folder / path.stem}"))
            continue
        objects = content["objects"]
        if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
            raise AnnotationError(f"{path}: objects is not a list of objects; export it again")
        boxes = tuple(_box(one, f"{path}: object {number}") for number, one in enumerate(objects, start=1))
        tags = {tag.get("name"): tag.get("value") for tag in content.get("tags") or [] if isinstance(tag, dict)}
        split = split_of_folders([str(name) for name in tags]) or split_of_folders(files.parts(path.parent))
        group = tags.get(group_column)
        source.images.append(
            SourceImage(image, boxes, _size(content["size"]), split, group=None if group is None else str(group))
        )
    return source


def _size(size: Any) -> tuple[int, int] | None:
    width, height = (size.get("width"), size.get("height")) if isinstance(size, dict) else (None, None)
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _box(row: dict[str, Any], location: str) -> Box:
    check_class_name(row.get("classTitle"), location)
    return Box(row["classTitle"], _xyxy(row, location))


def _xyxy(row: dict[str, Any], location: str) -> Xyxy:
    if isinstance(row.get("bitmap"), dict):
        return _bitmap_xyxy(row["bitmap"], location)
    points = row["points"].get("exterior") if isinstance(row.get("points"), dict) else None
    if (
        not isinstance(points, list)
        or not points
        or not all(isinstance(point, list) and len(point) == 2 and all(map(is_number, point)) for point in points)
    ):
        raise AnnotationError(f"{location} ({row.get('geometryType')}) has no points.exterior; remove it")
    return hull(points)


def _bitmap_xyxy(bitmap: dict[str, Any], location: str) -> Xyxy:
    """The box of a mask: a PNG, compressed by zlib, in base64, and its top left corner."""
    try:
        left, top = (float(side) for side in bitmap["origin"])
        with Image.open(io.BytesIO(zlib.decompress(base64.b64decode(bitmap["data"])))) as mask:
            return left, top, left + mask.width, top + mask.height
    except (KeyError, TypeError, ValueError, OSError, zlib.error, binascii.Error) as error:
        raise AnnotationError(f"{location} has a damaged bitmap ({error}); export it again") from error

"""Reader of Datumaro: annotations/SUBSET.json with items, and images in images/SUBSET."""

from math import radians
from pathlib import Path
from typing import Any

from retinanet.annotations.files import SourceFiles, check_listed_name, read_json
from retinanet.annotations.listing import Listed, add_listed
from retinanet.annotations.records import SPLIT_NAMES, Box, SourceDataset, Xyxy, group_name, image_size
from retinanet.annotations.shapes import hull, rotated_hull
from retinanet.dataset.coco_file import check_class_name, is_number
from retinanet.errors import AnnotationError

POINTS = ("polygon", "polyline")
SHAPES = ("bbox", "rotated_bbox", "ellipse", *POINTS)
NOT_READ = ("mask", "cuboid_3d", "cuboid_2d", "points", "skeleton")


def find_datumaro_files(files: SourceFiles) -> list[Path]:
    return files.json_files("items", "categories")


def read_datumaro(files: SourceFiles, group_column: str = "") -> SourceDataset:
    """Read the boxes, and the boxes around polygons; the name of the file is the split if it is called like one.

    group_column is an attribute of an item. Raises AnnotationError.
    """
    source = SourceDataset("datumaro")
    listed_in: dict[Path, str] = {}
    paths = find_datumaro_files(files)
    for path in paths:
        content = read_json(path)
        names = _class_names(content, path)
        source.class_names += [name for name in names if name not in source.class_names]
        items = _items(content, path)
        listed = [_listed(item, names, path, group_column) for item in items]
        kinds = [row["type"] for item in items for row in item.get("annotations", []) if row.get("type") in NOT_READ]
        if kinds:
            source.remarks.append(f"{path}: {len(kinds)} annotations are not read: {', '.join(sorted(set(kinds)))}")
        above = path.parent.parent
        folders = [above / "images" / path.stem, above / "images", path.parent, path.parent / "images"]
        add_listed(source, files, path, folders, listed, listed_in)
    return source


def _class_names(content: dict[str, Any], path: Path) -> list[str]:
    try:
        names = [label["name"] for label in content["categories"]["label"]["labels"]]
    except (KeyError, TypeError) as error:
        raise AnnotationError(f"{path}: has no categories.label.labels with names; export it again") from error
    for number, name in enumerate(names):
        check_class_name(name, f"{path}: label {number}")
    return names


def _items(content: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    items = content["items"]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise AnnotationError(f"{path}: items is not a list of objects; export it again")
    return items


def _listed(item: dict[str, Any], names: list[str], path: Path, group_column: str) -> Listed:
    image = item.get("image")
    image = image if isinstance(image, dict) else {}
    name = image.get("path") or item.get("id")
    check_listed_name(name, f"{path}: item {item.get('id')!r}")
    location = f"{path}: item {item.get('id')!r}"
    annotations = item.get("annotations", [])
    if not isinstance(annotations, list) or not all(isinstance(row, dict) for row in annotations):
        raise AnnotationError(f"{location} has annotations {annotations!r}; they must be a list of objects")
    boxes = [_box(row, names, location) for row in annotations if row.get("type") in SHAPES]
    size = image.get("size")
    height, width = size if isinstance(size, list) and len(size) == 2 else (None, None)
    attributes = item.get("attr") or item.get("attributes")
    group = attributes.get(group_column) if isinstance(attributes, dict) else None
    return Listed(
        str(name),
        tuple(boxes),
        image_size(width, height),
        SPLIT_NAMES.get(path.stem.lower()),
        group_name(group),
    )


def _box(row: dict[str, Any], names: list[str], location: str) -> Box:
    label = row.get("label_id")
    if not isinstance(label, int) or not 0 <= label < len(names):
        raise AnnotationError(f"{location} has label_id {label!r}; it must be 0 to {len(names) - 1}")
    attributes = row.get("attributes")
    is_crowd = isinstance(attributes, dict) and bool(attributes.get("is_crowd") or attributes.get("difficult"))
    return Box(names[label], _xyxy(row, location), is_crowd)


def _xyxy(row: dict[str, Any], location: str) -> Xyxy:
    kind = row["type"]
    numbers: Any = row.get("bbox" if kind in ("bbox", "rotated_bbox") else "points")
    count = {"bbox": 4, "rotated_bbox": 5, "ellipse": 4}.get(kind)
    if (
        not isinstance(numbers, list)
        or not all(map(is_number, numbers))
        or len(numbers) < 4
        or len(numbers) != (count or len(numbers) // 2 * 2)
    ):
        raise AnnotationError(f"{location} has a {kind} {numbers!r}; it needs {count or 'an even count of'} numbers")
    if kind == "bbox":
        x, y, width, height = numbers
        return x, y, x + width, y + height
    if kind == "rotated_bbox":
        x, y, width, height, degrees = numbers
        return rotated_hull(x, y, width, height, radians(degrees))
    return hull(list(zip(numbers[::2], numbers[1::2], strict=True)))

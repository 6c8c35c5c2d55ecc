"""Reader of Hugging Face image folders: a metadata.jsonl has a line with file_name and objects for each image."""

import json
from pathlib import Path

from retinanet.annotations.paths import find_file, read_lines
from retinanet.annotations.records import Box, SourceDataset, SourceImage, listed_image, split_of_folders
from retinanet.dataset.coco_file import check_class_name, check_file_name, is_number
from retinanet.errors import AnnotationError

CATEGORY_KEYS = ("categories", "category", "labels", "label")


def find_metadata_files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("metadata.jsonl") if path.is_file())


def read_metadata_source(root: Path, group_column: str = "") -> SourceDataset:
    """Read every metadata.jsonl under `root`.

    objects has bbox, a list of [x, y, width, height] in pixels, and categories, a name or number for each. The split
    is the name of the innermost folder called like one. Raises AnnotationError.
    """
    source = SourceDataset("metadata")
    listed_in: dict[Path, str] = {}
    for path in find_metadata_files(root):
        for number, line in enumerate(read_lines(path), start=1):
            if not line.strip():
                continue
            location = f"{path}: line {number}"
            row = _parse(line, location)
            check_file_name(row.get("file_name"), location)
            located = find_file([path.parent], row["file_name"])
            file = listed_image(source, listed_in, located, row["file_name"], location)
            if file is None:
                continue
            split = split_of_folders(file.parent.relative_to(root).parts)
            group = row.get(group_column)
            source.images.append(
                SourceImage(file, _boxes(row, location), split=split, group=None if group is None else str(group))
            )
    return source


def _parse(line: str, location: str) -> dict:
    try:
        row = json.loads(line)
    # ValueError includes JSONDecodeError and integers with too many digits.
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{location}: broken JSON ({error}); write it again") from error
    if not isinstance(row, dict):
        raise AnnotationError(f"{location} is {line[:40]!r}; it must be an object with file_name and objects")
    return row


def _boxes(row: dict, location: str) -> tuple[Box, ...]:
    objects = row.get("objects") or {}
    if isinstance(objects, list) and all(isinstance(item, dict) for item in objects):
        objects = {
            key: [item.get(key) for item in objects]
            for key in ("bbox", *CATEGORY_KEYS)
            if any(key in item for item in objects)
        }
    if not isinstance(objects, dict):
        raise AnnotationError(f"{location} has objects {objects!r}; it needs bbox and categories")
    boxes = objects.get("bbox", [])
    names: object = next((objects[key] for key in CATEGORY_KEYS if key in objects), [])
    if not isinstance(boxes, list) or not isinstance(names, list) or len(boxes) != len(names):
        raise AnnotationError(f"{location} has bbox and categories of different lengths; each object needs both")
    parsed = []
    for box, name in zip(boxes, names, strict=True):
        if not isinstance(box, list) or len(box) != 4 or not all(is_number(side) for side in box):
            raise AnnotationError(f"{location} has bbox {box!r}; it must be [x, y, width, height]")
        name = str(name) if isinstance(name, int) else name
        check_class_name(name, location)
        x, y, width, height = (float(side) for side in box)
        parsed.append(Box(name, (x, y, x + width, y + height)))
    return tuple(parsed)

"""Reader of Hugging Face image folders: a metadata.jsonl has a line with file_name and objects for each image."""

from collections.abc import Iterator
from pathlib import Path

from retinanet.annotations.files import SourceFiles, check_listed_name, read_lines
from retinanet.annotations.listing import Listed, add_listed
from retinanet.annotations.records import Box, SourceDataset, group_name
from retinanet.dataset.coco_file import check_class_name, is_number, parse_json
from retinanet.errors import AnnotationError

CATEGORY_KEYS = ("categories", "category", "labels", "label")


def find_metadata_files(files: SourceFiles) -> list[Path]:
    """The files called metadata.jsonl whose first row has a file_name."""
    return [path for path in files.named("metadata.jsonl") if '"file_name"' in next(iter(read_lines(path)), "")]


def read_metadata_source(files: SourceFiles, group_column: str = "") -> SourceDataset:
    """Read every metadata.jsonl.

    objects has bbox, a list of [x, y, width, height] in pixels, and categories, a name or number for each. The split
    is the name of the innermost folder called like one. Raises AnnotationError.
    """
    source = SourceDataset("metadata")
    listed_in: dict[Path, str] = {}
    for path in find_metadata_files(files):
        listed = []
        for location, line in _lines(path):
            row = _row(line, location)
            group = group_name(row.get(group_column))
            listed.append(Listed(row["file_name"], _boxes(row, location), group=group, location=location))
        add_listed(source, files, path, [path.parent], listed, listed_in)
    return source


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            yield f"{path}: line {number}", line


def _row(line: str, location: str) -> dict:
    row = parse_json(line, location)
    if not isinstance(row, dict):
        raise AnnotationError(f"{location} is {line[:40]!r}; it must be an object with file_name and objects")
    check_listed_name(row.get("file_name"), location)
    return row


def _boxes(row: dict, location: str) -> tuple[Box, ...]:
    objects = row.get("objects") or {}
    if "objects" not in row and {"bbox", "bboxes", "boxes"} & row.keys():
        raise AnnotationError(f"{location} has boxes outside of objects; it needs objects with bbox and categories")
    if isinstance(objects, list) and all(isinstance(item, dict) for item in objects):
        objects = {
            key: [item.get(key) for item in objects]
            for key in ("bbox", *CATEGORY_KEYS)
            if any(key in item for item in objects)
        }
    if not isinstance(objects, dict):
        raise AnnotationError(f"{location} has objects {objects!r}; it needs bbox and categories")
    if objects and "bbox" not in objects:
        raise AnnotationError(
            f"{location} has objects with {', '.join(sorted(objects))}; they need bbox and categories"
        )
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

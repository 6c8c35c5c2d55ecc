"""Image folders as Hugging Face has them: a metadata.jsonl with a line of file_name and objects for each image."""

import json
from pathlib import Path

from retinanet.annotations.paths import find_file, read_lines
from retinanet.annotations.records import Box, SourceDataset, SourceImage, split_of_folders, take_listed
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
    found = SourceDataset("metadata")
    listed_in: dict[Path, str] = {}
    for path in find_metadata_files(root):
        for number, line in enumerate(read_lines(path), start=1):
            if not line.strip():
                continue
            who = f"{path}: line {number}"
            row = _parse(line, who)
            check_file_name(row.get("file_name"), who)
            there = find_file([path.parent], row["file_name"])
            file = take_listed(found, listed_in, there, row["file_name"], who)
            if file is None:
                continue
            split = split_of_folders(file.parent.relative_to(root).parts)
            group = row.get(group_column)
            found.images.append(
                SourceImage(file, _boxes(row, who), split=split, group=None if group is None else str(group))
            )
    return found


def _parse(line: str, who: str) -> dict:
    try:
        row = json.loads(line)
    # JSONDecodeError and numbers of too many digits are ValueErrors.
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{who}: broken JSON ({error}); write it again") from error
    if not isinstance(row, dict):
        raise AnnotationError(f"{who} is {line[:40]!r}; it must be an object with file_name and objects")
    return row


def _boxes(row: dict, who: str) -> tuple[Box, ...]:
    objects = row.get("objects") or {}
    if isinstance(objects, list) and all(isinstance(one, dict) for one in objects):
        objects = {key: [one.get(key) for one in objects] for key in ("bbox", *CATEGORY_KEYS) if _any_has(objects, key)}
    if not isinstance(objects, dict):
        raise AnnotationError(f"{who} has objects {objects!r}; they need bbox and categories")
    boxes = objects.get("bbox", [])
    names: object = next((objects[key] for key in CATEGORY_KEYS if key in objects), [])
    if not isinstance(boxes, list) or not isinstance(names, list) or len(boxes) != len(names):
        raise AnnotationError(f"{who} has bbox and categories of different lengths; each object needs both")
    found = []
    for box, name in zip(boxes, names, strict=True):
        if not isinstance(box, list) or len(box) != 4 or not all(is_number(side) for side in box):
            raise AnnotationError(f"{who} has bbox {box!r}; it must be [x, y, width, height]")
        name = str(name) if isinstance(name, int) else name
        check_class_name(name, who)
        x, y, width, height = (float(side) for side in box)
        found.append(Box(name, (x, y, x + width, y + height)))
    return tuple(found)


def _any_has(objects: list[dict], key: str) -> bool:
    return any(key in one for one in objects)

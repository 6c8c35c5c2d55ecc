"""Checks of JSON and of a COCO file's structure: sections, ids, references, and the names of images and classes."""

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeGuard

from retinanet.errors import AnnotationError


def check_coco_content(content: object, path: Path, check_name: Callable[[object, str], None]) -> dict:
    """The sections of a COCO file, with ids, references and names checked, but not the values of boxes.

    check_name(file_name, location) checks the name of an image. Raises AnnotationError.
    """
    if not isinstance(content, dict):
        content = {}  # the check of the first section fails
    for section in ("images", "annotations", "categories"):
        rows = content.get(section)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise AnnotationError(
                f'{path}: "{section}" is not a list of objects; a COCO file needs images, annotations and categories'
            )
    image_ids = _distinct_ids(content["images"], "image", path)
    category_ids = _distinct_ids(content["categories"], "category", path)
    _distinct_ids(content["annotations"], "annotation", path)
    for image in content["images"]:
        check_name(image.get("file_name"), f"{path}: image {image['id']}")
    for category in content["categories"]:
        check_class_name(category.get("name"), f"{path}: category {category['id']}")
    for annotation in content["annotations"]:
        location = f"{path}: annotation {annotation['id']}"
        if not _is_one_of(annotation.get("image_id"), image_ids):
            raise AnnotationError(f"{location} is for image {annotation.get('image_id')!r}; the file has no such image")
        if not _is_one_of(annotation.get("category_id"), category_ids):
            raise AnnotationError(
                f"{location} has category {annotation.get('category_id')!r}; the file's ids are {sorted(category_ids)}"
            )
        if annotation.get("iscrowd", 0) not in (0, 1, None):
            raise AnnotationError(f"{location} has iscrowd {annotation['iscrowd']!r}; it must be 0 or 1")
        box = annotation.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(is_number(side) for side in box):
            raise AnnotationError(f"{location} has bbox {box!r}; it must be [x, y, width, height]")
    return content


def parse_json(text: str, location: str, object_hook: Callable[[dict], Any] | None = None) -> Any:
    """The content of a JSON text. Raises AnnotationError on broken JSON."""
    try:
        return json.loads(text, object_hook=object_hook)
    # ValueError includes JSONDecodeError and integers with too many digits.
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{location}: broken JSON ({error}); write the file again") from error


def is_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a number that fits a float; NaN and inf are left to the check of boxes."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300)


def _is_one_of(value: object, ids: set[int]) -> bool:
    return isinstance(value, int) and value in ids


def _distinct_ids(rows: list[dict], kind: str, path: Path) -> set[int]:
    seen: set[int] = set()
    for row in rows:
        row_id = row.get("id")
        if not isinstance(row_id, int) or isinstance(row_id, bool):
            raise AnnotationError(f"{path}: {kind} id {row_id!r} is not an integer")
        if row_id in seen:
            raise AnnotationError(f"{path}: {kind} id {row_id} occurs twice; ids must be unique")
        seen.add(row_id)
    return seen


def check_file_name(file_name: object, location: str) -> None:
    """Raise AnnotationError if an image's file name is not a relative path inside the data's folder."""
    if not isinstance(file_name, str) or not file_name or "\0" in file_name or not is_text(file_name):
        raise AnnotationError(f"{location} has file name {file_name!r}; it must be a path")
    windows = PureWindowsPath(file_name)
    if ".." in windows.parts or windows.drive or windows.root or PurePosixPath(file_name).is_absolute():
        raise AnnotationError(f"{location} has file name {file_name!r}; it must be relative and stay inside the folder")


def check_class_name(name: object, location: str) -> None:
    """Raise AnnotationError if a class name is not a non-empty string that UTF-8 can encode."""
    if not isinstance(name, str) or not name or not is_text(name):
        raise AnnotationError(f"{location} has class name {name!r}; it must be a non-empty UTF-8 string")


def is_text(text: str) -> bool:
    """Whether UTF-8 can encode a string: JSON may contain lone surrogates, and file names any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

"""COCO files as converters write them, brought to the form that cocodataset.org describes."""

from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from retinanet.annotations.files import check_listed_name, read_json
from retinanet.annotations.shapes import hull
from retinanet.dataset.coco_file import check_coco_content, is_number

MAX_DIGITS = 19  # of an id
# Sections and the keys of their rows that hold ids, each with the section it refers to.
ID_KEYS = {
    "images": {"id": "images"},
    "categories": {"id": "categories"},
    "annotations": {"id": "annotations", "image_id": "images", "category_id": "categories"},
}


def read_coco_export(path: Path) -> dict[str, Any]:
    """The sections of a COCO file, with integer ids and a box for each annotation.

    Ids may be strings or start at 0. A missing box is that of the segmentation: polygons or a mask (RLE), which is
    dropped, as it is large. Raises AnnotationError.
    """
    content = read_json(path, _with_box)
    if isinstance(content, dict):
        _make_ids_integers(content)
    return check_coco_content(content, path, check_listed_name)


def _with_box(row: dict) -> dict:
    if "segmentation" in row:
        segmentation = row.pop("segmentation")
        if "image_id" in row and not row.get("bbox"):
            row["bbox"] = _box_around(segmentation)
    return row


def _box_around(segmentation: object) -> list[float] | None:
    """[x, y, width, height] around polygons [[x, y, ...], ...] or a mask; None if it is neither."""
    if isinstance(segmentation, list):
        polygons = segmentation if any(isinstance(polygon, list) for polygon in segmentation) else [segmentation]
        if not all(isinstance(polygon, list) for polygon in polygons):
            return None
        numbers = [number for polygon in polygons for number in polygon]
        if not numbers or len(numbers) % 2 or not all(is_number(number) for number in numbers):
            return None
        left, top, right, bottom = hull(list(zip(numbers[::2], numbers[1::2], strict=True)))
        return [left, top, right - left, bottom - top]
    if isinstance(segmentation, dict):
        mask: Any = segmentation
        size = mask.get("size")
        # pycocotools divides by the sides.
        if not isinstance(size, list) or len(size) != 2 or not all(isinstance(n, int) and 0 < n < 1e6 for n in size):
            return None
        try:
            if isinstance(mask["counts"], list):
                mask = coco_mask.frPyObjects(mask, *mask["size"])
            x, y, width, height = (float(side) for side in coco_mask.toBbox(mask))
            return [x, y, width, height] if x + width <= size[1] and y + height <= size[0] else None
        # For masks that it cannot read, pycocotools raises plain Exception, or whatever its C code meets.
        except Exception:
            return None
    return None


def _make_ids_integers(content: dict[str, Any]) -> None:
    """Turn ids that are strings or whole floats into integers: their value, or their position if one is no number."""
    rows = {section: [row for row in _rows(content, section) if isinstance(row, dict)] for section in ID_KEYS}
    new_ids = {section: _integers([row.get("id") for row in section_rows]) for section, section_rows in rows.items()}
    for section, keys in ID_KEYS.items():
        for row in rows[section]:
            for key, referred in keys.items():
                value = row.get(key)
                if isinstance(value, str | float):
                    row[key] = new_ids[referred].get(str(value), value)


def _rows(content: dict[str, Any], section: str) -> list:
    rows = content.get(section)
    return rows if isinstance(rows, list) else []


def _integers(ids: list[object]) -> dict[str, int]:
    """{id as text: integer} for the ids of a section."""
    texts = [str(one) for one in ids]
    numbers = [_integer(one) for one in ids]
    if None not in numbers:
        return {text: number for text, number in zip(texts, numbers, strict=True) if number is not None}
    return {text: position for position, text in enumerate(dict.fromkeys(texts), start=1)} if numbers else {}


def _integer(value: object) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < MAX_DIGITS:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None

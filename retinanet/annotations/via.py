"""Reader of the VGG Image Annotator (VIA): a project or export as JSON, or a CSV with JSON in its cells."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retinanet.annotations.csv_table import first_row
from retinanet.annotations.files import SourceFiles, check_listed_name, read_json, read_text
from retinanet.annotations.listing import Listed, add_listed
from retinanet.annotations.records import Box, SourceDataset, Xyxy, group_name
from retinanet.annotations.shapes import ellipse_hull, hull
from retinanet.dataset.coco_file import check_class_name, is_number, parse_json
from retinanet.errors import AnnotationError

IMAGE_KEYS = frozenset({"filename", "regions"})
CSV_COLUMNS = ("filename", "region_shape_attributes", "region_attributes")
# The attribute with the class, if regions have several.
CLASS_ATTRIBUTES = ("class", "label", "name", "type", "category", "object")


def find_via_files(files: SourceFiles) -> list[Path]:
    """The projects and exports."""
    return [path for path in files.with_suffix(".json") if _is_via(files, path)] + [
        path for path in files.with_suffix(".csv") if set(CSV_COLUMNS) <= set(_header(path))
    ]


def read_via(files: SourceFiles, group_column: str = "") -> SourceDataset:
    """Read the boxes around the regions; group_column is a file attribute.

    The class is the value of the attribute `class` (`label`, `name` ...), or of the only attribute. Raises
    AnnotationError.
    """
    source = SourceDataset("via")
    listed_in: dict[Path, str] = {}
    for path in find_via_files(files):
        listed = []
        for number, image in enumerate(_csv_images(path) if path.suffix.lower() == ".csv" else _json_images(path)):
            check_listed_name(image.get("filename"), f"{path}: image {number + 1}")
            location = f"{path}: {image['filename']}"
            regions = image["regions"].values() if isinstance(image["regions"], dict) else image["regions"]
            boxes = tuple(_box(region, location) for region in regions)
            attributes = image.get("file_attributes") or {}
            group = attributes.get(group_column) if isinstance(attributes, dict) else None
            listed.append(Listed(image["filename"], boxes, group=group_name(group)))
        add_listed(source, files, path, [path.parent, path.parent / "images", files.root], listed, listed_in)
    return source


def _is_via(files: SourceFiles, path: Path) -> bool:
    outline = files.json_outline(path)
    if outline is None or outline.is_list:
        return False
    return "_via_img_metadata" in outline.keys or (outline.first is not None and outline.first.keys >= IMAGE_KEYS)


def _json_images(path: Path) -> list[dict[str, Any]]:
    content = read_json(path)
    content = content.get("_via_img_metadata", content)
    images = list(content.values()) if isinstance(content, dict) else [content]
    if not all(isinstance(image, dict) and isinstance(image.get("regions"), list | dict) for image in images):
        raise AnnotationError(f"{path}: an image has no list of regions; export it again")
    return images


def _header(path: Path) -> list[str]:
    return [cell.strip().lstrip("#") for cell in first_row(path)]


def _csv_images(path: Path) -> Iterator[dict[str, Any]]:
    images: dict[str, dict[str, Any]] = {}
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), _header(path), strict=True)
    try:
        next(reader, None)  # the header
        for row in reader:
            location = f"{path}: line {reader.line_num}"
            name = row.get("filename") or ""
            attributes = parse_json(row.get("file_attributes") or "{}", location)
            image = images.setdefault(name, {"filename": name, "regions": [], "file_attributes": attributes})
            shape = parse_json(row.get("region_shape_attributes") or "{}", location)
            if shape:
                region = {"shape_attributes": shape}
                region["region_attributes"] = parse_json(row.get("region_attributes") or "{}", location)
                image["regions"].append(region)
    except csv.Error as error:
        raise AnnotationError(f"{path}: line {reader.line_num}: broken CSV ({error}); export it again") from error
    yield from images.values()


def _box(region: Any, location: str) -> Box:
    if not isinstance(region, dict) or not isinstance(region.get("shape_attributes"), dict):
        raise AnnotationError(f"{location} has a region without shape_attributes; export it again")
    attributes = region.get("region_attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    attributes = {key: value for key, value in attributes.items() if value != "not_defined"}
    keys = [key for key in CLASS_ATTRIBUTES if key in attributes] or (list(attributes) if len(attributes) == 1 else [])
    if not keys:
        raise AnnotationError(
            f"{location} has a region with attributes {sorted(attributes)}; name the one with the class `class`"
        )
    name = attributes[keys[0]]
    if isinstance(name, dict):  # check boxes: {"cat": true}
        checked = [option for option, is_checked in name.items() if is_checked]
        if len(checked) > 1:
            raise AnnotationError(f"{location} has a region of the classes {', '.join(checked)}; check one")
        name = checked[0] if checked else ""
    name = name.strip() if isinstance(name, str) else name
    check_class_name(name, location)
    return Box(name, _xyxy(region["shape_attributes"], location))


def _xyxy(shape: dict[str, Any], location: str) -> Xyxy:
    xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
    if isinstance(xs, list) and isinstance(ys, list) and len(xs) == len(ys) > 0 and all(map(is_number, xs + ys)):
        return hull(list(zip(xs, ys, strict=True)))
    if all(is_number(shape.get(key)) for key in ("x", "y", "width", "height")):
        return shape["x"], shape["y"], shape["x"] + shape["width"], shape["y"] + shape["height"]
    radius_x, radius_y = shape.get("rx", shape.get("r")), shape.get("ry", shape.get("r"))
    if is_number(shape.get("cx")) and is_number(shape.get("cy")) and is_number(radius_x) and is_number(radius_y):
        x, y = shape["cx"], shape["cy"]
        angle = shape.get("theta", 0)
        return ellipse_hull(x, y, radius_x, radius_y, float(angle) if is_number(angle) else 0.0)
    raise AnnotationError(f"{location} has a region of shape {shape.get('name')!r}, which has no box; remove it")

"""Reader of Label Studio's JSON and JSON_MIN: tasks with results in percent of the image."""

from collections.abc import Iterator
from math import cos, radians, sin
from pathlib import Path
from typing import Any

from retinanet.annotations.files import SourceFiles, check_listed_name, parse_json, read_text
from retinanet.annotations.listing import Listed, add_listed
from retinanet.annotations.records import Box, SourceDataset, Xyxy, hull
from retinanet.dataset.coco_file import check_class_name, is_number
from retinanet.errors import AnnotationError
from retinanet.images.reading import IMAGE_SUFFIXES, upright_size

LABEL_KEYS = ("rectanglelabels", "polygonlabels", "ellipselabels")
# Keys of a task in the export as JSON, and in JSON_MIN, whose labels have the shapes.
TASK_KEYS = frozenset({"data"})
RESULT_KEYS = ("annotations", "completions", "predictions")


def find_label_studio_files(files: SourceFiles) -> list[Path]:
    return [path for path in files.with_suffix(".json") if _is_tasks(files, path)]


def read_label_studio(files: SourceFiles, group_column: str = "") -> SourceDataset:
    """Read the boxes around the labeled shapes of each task.

    The annotations count, or the predictions of a task without annotations; canceled annotations do not. group_column
    is a key of a task's data. Raises AnnotationError.
    """
    source = SourceDataset("label-studio")
    listed_in: dict[Path, str] = {}
    for path in find_label_studio_files(files):
        folders = [path.parent, path.parent / "images", files.root, files.root / "images"]
        listed = []
        for number, task in enumerate(_tasks(path), start=1):
            location = f"{path}: task {task.get('id', number)}"
            data = task["data"] if isinstance(task.get("data"), dict) else task
            name = _image_name(data, location)
            image = files.locate([name], folders, path).get(name)
            size = (upright_size(image) if image else None) or (1, 1)
            boxes = tuple(_box(shape, size, location) for shape in _shapes(task))
            group = data.get(group_column)
            listed.append(Listed(name, boxes, group=None if group is None else str(group)))
        add_listed(source, files, path, folders, listed, listed_in)
    return source


def _is_tasks(files: SourceFiles, path: Path) -> bool:
    """Whether the first object is a task with results, or one of JSON_MIN."""
    outline = files.json_outline(path)
    if outline is None:
        return False
    is_min = bool({"label", "bbox"} & outline.keys) and bool({"annotator", "annotation_id", "lead_time"} & outline.keys)
    return is_min or ("data" in outline.keys and any(key in outline.keys for key in RESULT_KEYS))


def _tasks(path: Path) -> list[dict[str, Any]]:
    content: Any = parse_json(read_text(path), str(path))
    tasks = content if isinstance(content, list) else [content]
    if not all(isinstance(task, dict) for task in tasks):
        raise AnnotationError(f"{path}: is not a list of tasks; export it again")
    return tasks


def _image_name(data: dict[str, Any], location: str) -> str:
    """The value that is the path of an image: of `image`, else of any key."""
    values = [data.get("image"), *data.values()]
    name = next(
        (value for value in values if isinstance(value, str) and Path(value).suffix.lower() in IMAGE_SUFFIXES), None
    )
    check_listed_name(name, location)
    return str(name)


def _shapes(task: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """(shape in percent, its labels) of a task."""
    lists = [task.get(key) for key in RESULT_KEYS]
    chosen = next((results for results in lists if isinstance(results, list) and results), [])
    rows = [row for one in chosen if isinstance(one, dict) and not one.get("was_cancelled") for row in _rows(one)]
    if not any(key in task for key in RESULT_KEYS):
        rows = [{"value": row} for key in ("label", "bbox") for row in task.get(key) or [] if isinstance(row, dict)]
    for row in rows:
        value = row.get("value")
        labels = [label for key in LABEL_KEYS for label in value.get(key, [])] if isinstance(value, dict) else []
        if isinstance(value, dict) and labels:
            yield value, labels


def _rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in results.get("result") or [] if isinstance(row, dict)]


def _box(shape: tuple[dict[str, Any], list[Any]], size: tuple[int, int], location: str) -> Box:
    value, labels = shape
    check_class_name(labels[0], location)
    return Box(labels[0], _xyxy(value, size, location))


def _xyxy(value: dict[str, Any], size: tuple[int, int], location: str) -> Xyxy:
    scale_x, scale_y = (side / 100 for side in size)
    points = value.get("points")
    if isinstance(points, list) and points and all(isinstance(p, list) and len(p) == 2 for p in points):
        return hull([(x * scale_x, y * scale_y) for x, y in points])
    keys = ("x", "y", "width", "height") if "width" in value else ("x", "y", "radiusX", "radiusY")
    if not all(is_number(value.get(key)) for key in keys):
        raise AnnotationError(f"{location} has a shape {value!r}; it needs {', '.join(keys)}")
    x, width = float(value["x"]) * scale_x, float(value[keys[2]]) * scale_x
    y, height = float(value["y"]) * scale_y, float(value[keys[3]]) * scale_y
    if keys[2] == "radiusX":
        return x - width, y - height, x + width, y + height
    angle = radians(float(value.get("rotation") or 0))
    # The rotation is clockwise around the top left corner.
    corners = [(0.0, 0.0), (width, 0.0), (0.0, height), (width, height)]
    return hull([(x + u * cos(angle) - v * sin(angle), y + u * sin(angle) + v * cos(angle)) for u, v in corners])

"""Reader of Label Studio's JSON and JSON_MIN: tasks with results in percent of the image."""

from math import cos, isfinite, radians, sin
from pathlib import Path
from typing import Any

from retinanet.annotations.files import SourceFiles, check_listed_name, path_parts, read_json
from retinanet.annotations.listing import Listed, add_listed
from retinanet.annotations.records import Box, SourceDataset, Xyxy, group_name
from retinanet.annotations.shapes import NAN_BOX, ellipse_hull, hull, is_points, rotated_hull
from retinanet.dataset.coco_file import check_class_name, is_number
from retinanet.errors import AnnotationError
from retinanet.images.reading import IMAGE_SUFFIXES, upright_size

# Values with the labels of a shape; `labels` belongs to shapes of a Labels tag.
LABEL_KEYS = ("rectanglelabels", "polygonlabels", "ellipselabels", "labels")
NOT_READ = ("brushlabels", "keypointlabels", "bitmask", "vectorlabels")
# Keys of a task with its results in the export as JSON; in JSON_MIN, `label` or `bbox` have the shapes.
RESULT_KEYS = ("annotations", "completions", "predictions")


def find_label_studio_files(files: SourceFiles) -> list[Path]:
    return [path for path in files.with_suffix(".json") if _is_tasks(files, path)]


def read_label_studio(files: SourceFiles, group_column: str = "") -> SourceDataset:
    """Read the boxes around the labeled shapes of each task, one for each label of a shape.

    The annotation marked as ground truth counts, else the first, else the first prediction; canceled annotations do
    not. Tasks without any are left out. group_column is a key of a task's data. Raises AnnotationError.
    """
    source = SourceDataset("label-studio")
    listed_in: dict[Path, str] = {}
    for path in find_label_studio_files(files):
        folders = [path.parent, path.parent / "images", files.root, files.root / "images"]
        listed: list[Listed] = []
        unlabeled = several = not_read = 0
        tasks = _tasks(path)
        names = [_image_name(task, location) for location, task in tasks]
        located = files.locate(names, folders, path, listed_in)
        for (location, task), name in zip(tasks, names, strict=True):
            results = _results(task)
            unlabeled += not results
            several += len(results) > 1
            if not results:
                continue
            size = (upright_size(located[name]) if name in located else None) or (1, 1)
            not_read += sum(any(key in value for key in NOT_READ) for value in results[0])
            boxes = tuple(box for value in results[0] for box in _boxes(value, size, location))
            listed.append(Listed(name, boxes, group=group_name(_data(task).get(group_column))))
        add_listed(source, files, path, folders, listed, listed_in)
        counts = {
            "tasks without an annotation are left out": unlabeled,
            "tasks have several annotations; the one marked as ground truth, or the first, is read": several,
            "brush strokes and key points are not read": not_read,
        }
        source.remarks += [f"{path}: {count} {text}" for text, count in counts.items() if count]
    return source


def _is_tasks(files: SourceFiles, path: Path) -> bool:
    """Whether the first object is a task with results, or one of JSON_MIN."""
    outline = files.json_outline(path)
    if outline is None:
        return False
    is_min = bool({"label", "bbox"} & outline.keys) and bool({"annotator", "annotation_id", "lead_time"} & outline.keys)
    return is_min or ("data" in outline.keys and any(key in outline.keys for key in RESULT_KEYS))


def _tasks(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(location for messages, task) of each task."""
    content = read_json(path)
    tasks = content if isinstance(content, list) else [content]
    if not all(isinstance(task, dict) for task in tasks):
        raise AnnotationError(f"{path}: is not a list of tasks; export it again")
    return [(f"{path}: task {task.get('id', number)}", task) for number, task in enumerate(tasks, start=1)]


def _data(task: dict[str, Any]) -> dict[str, Any]:
    """The values of a task; in JSON_MIN they are its own."""
    return task["data"] if isinstance(task.get("data"), dict) else task


def _image_name(task: dict[str, Any], location: str) -> str:
    """The value of a task that is the path or URL of an image."""
    texts = [value for value in _data(task).values() if isinstance(value, str)]
    names = {text for text in texts if Path("/".join(path_parts(text))).suffix.lower() in IMAGE_SUFFIXES}
    if len(names) > 1:
        raise AnnotationError(f"{location} has several images: {', '.join(sorted(names))}; only one can be read")
    name = next(iter(names), None)
    check_listed_name(name, location)
    return str(name)


def _results(task: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The values of the shapes of each annotation that counts, the best first; of predictions if there is none."""
    if not any(key in task for key in RESULT_KEYS):
        rows = [row for key in ("label", "bbox") for row in _dicts(task.get(key))]
        return [rows] if "label" in task or "bbox" in task else []
    for key in RESULT_KEYS:
        counted = [one for one in _dicts(task.get(key)) if not one.get("was_cancelled")]
        counted.sort(key=lambda one: not one.get("ground_truth"))
        if counted:
            return [[v for row in _dicts(one.get("result")) for v in _dicts([row.get("value")])] for one in counted]
    return []


def _dicts(rows: object) -> list[dict[str, Any]]:
    """The objects of a JSON list; empty for other content."""
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _boxes(value: dict[str, Any], size: tuple[int, int], location: str) -> list[Box]:
    """A box for each label of a shape; none for what is no shape with labels."""
    found = [value[key] for key in LABEL_KEYS if key in value]
    if not found or not {"width", "radiusX", "points"} & value.keys():
        return []
    labels = found[0]
    if not isinstance(labels, list) or not labels:
        raise AnnotationError(f"{location} has a shape with labels {labels!r}; they must be a list")
    for label in labels:
        check_class_name(label, location)
    return [Box(label, _xyxy(value, size, location)) for label in labels]


def _xyxy(value: dict[str, Any], size: tuple[int, int], location: str) -> Xyxy:
    scale_x, scale_y = (side / 100 for side in size)
    points = value.get("points")
    if isinstance(points, list) and points:
        if not is_points(points):
            raise AnnotationError(f"{location} has points {points!r}; they must be a list of [x, y]")
        return hull([(x * scale_x, y * scale_y) for x, y in points])
    keys = ("x", "y", "width", "height") if "width" in value else ("x", "y", "radiusX", "radiusY")
    rotation = value.get("rotation") or 0
    if not all(is_number(value.get(key)) for key in keys) or not is_number(rotation):
        raise AnnotationError(
            f"{location} has a shape {value!r}; it needs {', '.join(keys)}, and a rotation in degrees"
        )
    x, width = float(value["x"]) * scale_x, float(value[keys[2]]) * scale_x
    y, height = float(value["y"]) * scale_y, float(value[keys[3]]) * scale_y
    if not isfinite(rotation):
        return NAN_BOX
    angle = radians(rotation)
    if keys[2] == "radiusX":
        return ellipse_hull(x, y, width, height, angle)
    if angle == 0:
        return x, y, x + width, y + height
    # The rotation is clockwise around the top left corner.
    center_x, center_y = width / 2, height / 2
    x += center_x * cos(angle) - center_y * sin(angle)
    y += center_x * sin(angle) + center_y * cos(angle)
    return rotated_hull(x, y, width, height, angle)

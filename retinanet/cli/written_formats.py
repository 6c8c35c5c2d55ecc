"""Detections as annotations that labeling tools import, so that people correct boxes instead of drawing them."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from retinanet.annotations.records import Box
from retinanet.errors import AnnotationError
from retinanet.files import write_json, write_text


class PredictedImage(NamedTuple):
    """An image with detected boxes, and a score for each. name: the path of the file, with forward slashes."""

    name: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    scores: tuple[float, ...]


class WrittenFormat(NamedTuple):
    """A format: the file or folder that is written, and write(images, class_names, path)."""

    file_name: str
    write: Callable[[Sequence[PredictedImage], Sequence[str], Path], None]


def write_coco_annotations(images: Sequence[PredictedImage], class_names: Sequence[str], path: Path) -> None:
    """One COCO file; annotations have a `score`."""
    category_ids = {name: number for number, name in enumerate(class_names, start=1)}
    annotations: list[dict] = []
    for number, image in enumerate(images, start=1):
        for box, score in zip(image.boxes, image.scores, strict=True):
            left, top, right, bottom = box.xyxy
            bbox = [_rounded(side) for side in (left, top, right - left, bottom - top)]
            ids = {"id": len(annotations) + 1, "image_id": number, "category_id": category_ids[box.class_name]}
            area = _rounded(bbox[2] * bbox[3])
            annotations.append(ids | {"bbox": bbox, "area": area, "iscrowd": 0, "score": round(score, 4)})
    rows = [
        {"id": number, "file_name": image.name, "width": image.width, "height": image.height}
        for number, image in enumerate(images, start=1)
    ]
    categories = [{"id": number, "name": name} for name, number in category_ids.items()]
    write_json(path, {"images": rows, "annotations": annotations, "categories": categories})


def write_voc_annotations(images: Sequence[PredictedImage], class_names: Sequence[str], path: Path) -> None:
    """A folder with an XML file for each image."""
    for image, xml in _files_of(images, path, ".xml"):
        root = ElementTree.Element("annotation")
        _add(root, "filename", Path(image.name).name)
        size = ElementTree.SubElement(root, "size")
        for tag, value in (("width", image.width), ("height", image.height), ("depth", 3)):
            _add(size, tag, value)
        for box in image.boxes:
            element = ElementTree.SubElement(root, "object")
            _add(element, "name", box.class_name)
            _add(element, "difficult", 0)
            corners = ElementTree.SubElement(element, "bndbox")
            for tag, side in zip(("xmin", "ymin", "xmax", "ymax"), box.xyxy, strict=True):
                _add(corners, tag, _rounded(side))
        _write_xml(root, xml)


def write_yolo_labels(images: Sequence[PredictedImage], class_names: Sequence[str], path: Path) -> None:
    """A folder with a label file for each image, and the class names in data.yaml and classes.txt beside it."""
    for image, label in _files_of(images, path, ".txt"):
        lines = []
        for box in image.boxes:
            left, top, right, bottom = box.xyxy
            center = (left + right) / 2 / image.width, (top + bottom) / 2 / image.height
            sides = (right - left) / image.width, (bottom - top) / image.height
            numbers = " ".join(f"{number:.6f}" for number in (*center, *sides))
            lines.append(f"{list(class_names).index(box.class_name)} {numbers}\n")
        label.parent.mkdir(parents=True, exist_ok=True)
        write_text(label, "".join(lines))
    write_text(path.parent / "data.yaml", f"names: {json.dumps(list(class_names), ensure_ascii=False)}\n")
    write_text(path.parent / "classes.txt", "".join(f"{name}\n" for name in class_names))


def write_csv_table(images: Sequence[PredictedImage], class_names: Sequence[str], path: Path) -> None:
    """A table with a row for each box, and one with empty cells for an image without boxes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "x1", "y1", "x2", "y2", "class", "score"])
    for image in images:
        for box, score in zip(image.boxes, image.scores, strict=True):
            writer.writerow([image.name, *map(_rounded, box.xyxy), box.class_name, round(score, 4)])
        if not image.boxes:
            writer.writerow([image.name, "", "", "", "", "", ""])
    write_text(path, text.getvalue())


def write_label_studio_tasks(images: Sequence[PredictedImage], class_names: Sequence[str], path: Path) -> None:
    """Tasks with predictions, for a project with RectangleLabels; images are found in its local storage."""
    tasks = []
    for image in images:
        results = []
        for box, score in zip(image.boxes, image.scores, strict=True):
            left, top, right, bottom = box.xyxy
            value = {"x": 100 * left / image.width, "y": 100 * top / image.height}
            value |= {"width": 100 * (right - left) / image.width, "height": 100 * (bottom - top) / image.height}
            result = {"type": "rectanglelabels", "from_name": "label", "to_name": "image", "score": round(score, 4)}
            result |= {"original_width": image.width, "original_height": image.height, "image_rotation": 0}
            results.append(result | {"value": value | {"rotation": 0, "rectanglelabels": [box.class_name]}})
        data = {"image": f"/data/local-files/?d={image.name}"}
        tasks.append({"data": data, "predictions": [{"model_version": "retinanet", "result": results}]})
    write_json(path, tasks)


def write_cvat_images(images: Sequence[PredictedImage], class_names: Sequence[str], path: Path) -> None:
    """One file of the kind "CVAT for images 1.1"."""
    root = ElementTree.Element("annotations")
    _add(root, "version", "1.1")
    for number, image in enumerate(images):
        size = {"width": str(image.width), "height": str(image.height)}
        element = ElementTree.SubElement(root, "image", {"id": str(number), "name": image.name} | size)
        for box in image.boxes:
            sides = zip(("xtl", "ytl", "xbr", "ybr"), box.xyxy, strict=True)
            attributes = {"label": box.class_name, "occluded": "0", "source": "auto"}
            ElementTree.SubElement(element, "box", attributes | {name: str(_rounded(side)) for name, side in sides})
    _write_xml(root, path)


# By the names that `retinanet predict --format` accepts.
WRITTEN_FORMATS = {
    "coco": WrittenFormat("annotations.json", write_coco_annotations),
    "voc": WrittenFormat("Annotations", write_voc_annotations),
    "yolo": WrittenFormat("labels", write_yolo_labels),
    "csv": WrittenFormat("annotations.csv", write_csv_table),
    "label-studio": WrittenFormat("tasks.json", write_label_studio_tasks),
    "cvat": WrittenFormat("annotations.xml", write_cvat_images),
}


def _files_of(images: Sequence[PredictedImage], folder: Path, suffix: str) -> list[tuple[PredictedImage, Path]]:
    """Each image with its file. Raises AnnotationError if two images, a.jpg and a.png, would have the same one."""
    image_of: dict[Path, PredictedImage] = {}
    for image in images:
        file = (folder / image.name).with_suffix(suffix)
        if image_of.setdefault(file, image) is not image:
            raise AnnotationError(f"{image_of[file].name} and {image.name} would both have {file}; rename one")
    return [(image, file) for file, image in image_of.items()]


def _rounded(pixels: float) -> float:
    return round(float(pixels), 2)


def _add(parent: ElementTree.Element, tag: str, value: object) -> None:
    ElementTree.SubElement(parent, tag).text = str(value)


def _write_xml(root: ElementTree.Element, path: Path) -> None:
    ElementTree.indent(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, ElementTree.tostring(root, encoding="unicode") + "\n")

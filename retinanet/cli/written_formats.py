"""Detections as annotations that labeling tools import, so that people correct boxes instead of drawing them."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol
from xml.etree import ElementTree

from retinanet.annotations.records import Box
from retinanet.cli.growing_files import GrowingJson, GrowingText, json_text
from retinanet.errors import AnnotationError


class PredictedImage(NamedTuple):
    """An image with detected boxes, and a score for each. name: the path of the file, with forward slashes."""

    name: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    scores: tuple[float, ...]


class AnnotationWriter(Protocol):
    """Writes image after image; each is complete when `add` returns, except where the class says otherwise."""

    def add(self, image: PredictedImage) -> None: ...

    def close(self) -> None: ...


class WrittenFormat(NamedTuple):
    """A format: open(folder, class_names), and the suffix of its files if each image has one."""

    open: Callable[[Path, Sequence[str]], AnnotationWriter]
    file_suffix: str = ""


def check_names(names: Iterable[str], formats: Iterable[str]) -> None:
    """Raise AnnotationError if two images, a.jpg and a.png, would have the same file in one of the formats."""
    if not any(WRITTEN_FORMATS[name].file_suffix for name in formats):
        return
    image_of: dict[str, str] = {}
    for name in names:
        stem = str(PurePosixPath(name).with_suffix(""))
        other = image_of.setdefault(stem, name)
        if other != name:
            raise AnnotationError(f"{other} and {name} would both have the label file of {stem}; rename one")


class CocoAnnotations:
    """One COCO file; annotations have a `score`. The list of images is added when it is closed."""

    def __init__(self, out: Path, class_names: Sequence[str]):
        self._category_ids = {name: number for number, name in enumerate(class_names, start=1)}
        categories = [{"id": number, "name": name} for name, number in self._category_ids.items()]
        self._file = GrowingJson(out / "annotations.json", {"categories": categories}, ["annotations", "images"])
        self._images = self._annotations = 0

    def add(self, image: PredictedImage) -> None:
        self._images += 1
        rows: list[dict] = []
        for box, score in zip(image.boxes, image.scores, strict=True):
            left, top, right, bottom = box.xyxy
            bbox = [_rounded(side) for side in (left, top, right - left, bottom - top)]
            self._annotations += 1
            ids = {"id": self._annotations, "image_id": self._images, "category_id": self._category_ids[box.class_name]}
            area = _rounded(bbox[2] * bbox[3])
            rows.append(ids | {"bbox": bbox, "area": area, "iscrowd": 0, "score": round(score, 4)})
        self._file.add("annotations", rows)
        row = {"id": self._images, "file_name": image.name, "width": image.width, "height": image.height}
        self._file.add("images", [row])

    def close(self) -> None:
        self._file.close()


class _OneFile:
    """One text file for all images."""

    def __init__(self, file: GrowingText, text_of: Callable[[PredictedImage, int], str]):
        self._file, self._text_of, self._count = file, text_of, 0

    def add(self, image: PredictedImage) -> None:
        self._file.add(self._text_of(image, self._count))
        self._count += 1

    def close(self) -> None:
        self._file.close()


class _FilePerImage:
    """A folder with a text file for each image."""

    def __init__(self, folder: Path, suffix: str, text_of: Callable[[PredictedImage], str]):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._suffix, self._text_of = folder, suffix, text_of

    def add(self, image: PredictedImage) -> None:
        path = (self._folder / image.name).with_suffix(self._suffix)
        GrowingText(path, self._text_of(image)).close()

    def close(self) -> None: ...


def _csv_table(out: Path, class_names: Sequence[str]) -> AnnotationWriter:
    header = _csv_rows([["path", "x1", "y1", "x2", "y2", "class", "score"]])
    return _OneFile(GrowingText(out / "annotations.csv", header), _csv_text)


def _label_studio_tasks(out: Path, class_names: Sequence[str]) -> AnnotationWriter:
    return _OneFile(GrowingText(out / "tasks.json", "[\n", ",\n", "\n]\n"), _label_studio_task)


def _cvat_images(out: Path, class_names: Sequence[str]) -> AnnotationWriter:
    head, tail = "<annotations>\n  <version>1.1</version>\n", "</annotations>\n"
    return _OneFile(GrowingText(out / "annotations.xml", head, tail=tail), _cvat_image)


def _voc_annotations(out: Path, class_names: Sequence[str]) -> AnnotationWriter:
    return _FilePerImage(out / "Annotations", ".xml", _voc_annotation)


def _yolo_labels(out: Path, class_names: Sequence[str]) -> AnnotationWriter:
    GrowingText(out / "data.yaml", f"names: {json.dumps(list(class_names), ensure_ascii=False)}\n").close()
    GrowingText(out / "classes.txt", "".join(f"{name}\n" for name in class_names)).close()
    return _FilePerImage(out / "labels", ".txt", lambda image: _yolo_lines(image, list(class_names)))


# By the names that `retinanet predict --format` accepts.
WRITTEN_FORMATS = {
    "coco": WrittenFormat(CocoAnnotations),
    "voc": WrittenFormat(_voc_annotations, ".xml"),
    "yolo": WrittenFormat(_yolo_labels, ".txt"),
    "csv": WrittenFormat(_csv_table),
    "label-studio": WrittenFormat(_label_studio_tasks),
    "cvat": WrittenFormat(_cvat_images),
}


def _csv_text(image: PredictedImage, number: int) -> str:
    """A row for each box, and one with empty cells for an image without boxes."""
    rows = [
        [image.name, *map(_rounded, box.xyxy), box.class_name, round(score, 4)]
        for box, score in zip(image.boxes, image.scores, strict=True)
    ]
    return _csv_rows(rows or [[image.name, "", "", "", "", "", ""]])


def _csv_rows(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _label_studio_task(image: PredictedImage, number: int) -> str:
    """A task with predictions, for a project with RectangleLabels; images are found in its local storage."""
    results = []
    for box, score in zip(image.boxes, image.scores, strict=True):
        left, top, right, bottom = box.xyxy
        value = {"x": 100 * left / image.width, "y": 100 * top / image.height}
        value |= {"width": 100 * (right - left) / image.width, "height": 100 * (bottom - top) / image.height}
        result = {"type": "rectanglelabels", "from_name": "label", "to_name": "image", "score": round(score, 4)}
        result |= {"original_width": image.width, "original_height": image.height, "image_rotation": 0}
        results.append(result | {"value": value | {"rotation": 0, "rectanglelabels": [box.class_name]}})
    data = {"image": f"/data/local-files/?d={image.name}"}
    return json_text({"data": data, "predictions": [{"model_version": "retinanet", "result": results}]})


def _cvat_image(image: PredictedImage, number: int) -> str:
    """An image of a file of the kind "CVAT for images 1.1"."""
    size = {"width": str(image.width), "height": str(image.height)}
    element = ElementTree.Element("image", {"id": str(number), "name": image.name} | size)
    for box in image.boxes:
        sides = zip(("xtl", "ytl", "xbr", "ybr"), box.xyxy, strict=True)
        attributes = {"label": box.class_name, "occluded": "0", "source": "auto"}
        ElementTree.SubElement(element, "box", attributes | {name: str(_rounded(side)) for name, side in sides})
    return _xml_text(element, level=1)


def _voc_annotation(image: PredictedImage) -> str:
    root = ElementTree.Element("annotation")
    _add(root, "filename", PurePosixPath(image.name).name)
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
    return _xml_text(root, level=0)


def _yolo_lines(image: PredictedImage, class_names: list[str]) -> str:
    lines = []
    for box in image.boxes:
        left, top, right, bottom = box.xyxy
        center = (left + right) / 2 / image.width, (top + bottom) / 2 / image.height
        sides = (right - left) / image.width, (bottom - top) / image.height
        numbers = " ".join(f"{number:.6f}" for number in (*center, *sides))
        lines.append(f"{class_names.index(box.class_name)} {numbers}\n")
    return "".join(lines)


def _rounded(pixels: float) -> float:
    return round(float(pixels), 2)


def _add(parent: ElementTree.Element, tag: str, value: object) -> None:
    ElementTree.SubElement(parent, tag).text = str(value)


def _xml_text(root: ElementTree.Element, level: int) -> str:
    ElementTree.indent(root, level=level)
    return "  " * level + ElementTree.tostring(root, encoding="unicode") + "\n"

"""Prepared splits as COCO JSON: the dataset in memory, its checked reader and its deterministic writer."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from retinanet.dataset.coco_file import check_coco_content, check_file_name, parse_json
from retinanet.errors import AnnotationError
from retinanet.files import write_text
from retinanet.images.reading import STANDARD_READING, Reading


@dataclass(frozen=True)
class ImageInfo:
    """An image of an annotation file; width and height in pixels.

    group is the scene, patient, video or large image that this image is a part of; None if it is alone.
    """

    id: int
    file_name: str
    width: int
    height: int
    group: str | None = None

    @property
    def unit(self) -> str:
        """Images of one unit are not independent of each other: the name of the group or, without one, of the file."""
        return f"group {self.group}" if self.group is not None else f"file {self.file_name}"


@dataclass(frozen=True)
class Objects:
    """The G objects of one image.

    boxes_xyxy (G, 4) float32 in pixels, labels (G,) int64 in 0..K-1, iscrowd (G,) bool: ignored regions, in which
    detections are neither right nor wrong; areas (G,) float32 in square pixels are the file's (of the segmentation, if
    it had one), or those of the boxes if not given.
    """

    boxes_xyxy: np.ndarray
    labels: np.ndarray
    iscrowd: np.ndarray
    areas: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    def __post_init__(self) -> None:
        if not len(self.areas):
            sides = self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2]
            object.__setattr__(self, "areas", sides[:, 0] * sides[:, 1])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_single(self) -> np.ndarray:
        """(G,) bool: which rows are single objects, not crowds."""
        return ~self.iscrowd

    @property
    def count(self) -> int:
        """Number of single objects."""
        return int(self.is_single.sum())


@dataclass(frozen=True)
class CocoDataset:
    """Images and their objects. Label k is class_names[k] and category_ids[k]; ids ascend and may have gaps.

    objects has an entry for every image id, with zero rows for an image without objects. reading says how the image
    files become arrays.
    """

    images: tuple[ImageInfo, ...]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    objects: dict[int, Objects]
    reading: Reading = STANDARD_READING


def read_coco(path: Path | str) -> CocoDataset:
    """Read a split file as `prepare` writes it. Raises AnnotationError for content that it does not write."""
    content = check_coco_content(_read_json(Path(path)), Path(path), check_file_name)
    if any(annotation["id"] == 0 for annotation in content["annotations"]):
        raise AnnotationError(f"{path}: annotation id 0 makes evaluation miss that object; number them from 1")
    categories = sorted(content["categories"], key=lambda category: category["id"])
    category_ids = tuple(category["id"] for category in categories)
    label_of = {category_id: label for label, category_id in enumerate(category_ids)}
    images = tuple(_image(row, path) for row in content["images"])
    size_of = {image.id: (image.width, image.height) for image in images}
    rows: dict[int, list[tuple]] = {image.id: [] for image in images}
    for annotation in content["annotations"]:
        box = _box_inside(annotation, size_of[annotation["image_id"]], path)
        area = annotation.get("area", (box[2] - box[0]) * (box[3] - box[1]))
        row = (box, label_of[annotation["category_id"]], bool(annotation.get("iscrowd", 0)), area)
        rows[annotation["image_id"]].append(row)
    return CocoDataset(
        images,
        tuple(category["name"] for category in categories),
        category_ids,
        {image_id: _objects(image_rows) for image_id, image_rows in rows.items()},
        _reading(content.get("info", {}), path),
    )


def write_coco(dataset: CocoDataset, path: Path | str) -> None:
    """Write a split file atomically; the same dataset gives the same bytes. Boxes are rounded to 1/1000 px."""
    images: list[dict] = []
    annotations: list[dict] = []
    for image in dataset.images:
        row = {"id": image.id, "file_name": image.file_name, "width": image.width, "height": image.height}
        images.append(row | ({} if image.group is None else {"group": image.group}))
        objects = dataset.objects[image.id]
        for box, label, iscrowd, area in zip(
            objects.boxes_xyxy, objects.labels, objects.iscrowd, objects.areas, strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image.id,
                    "category_id": dataset.category_ids[int(label)],
                    "bbox": _xywh(box),
                    "area": round(float(area), 3),
                    "iscrowd": int(iscrowd),
                }
            )
    categories = [
        {"id": category_id, "name": name}
        for category_id, name in zip(dataset.category_ids, dataset.class_names, strict=True)
    ]
    sections = {"images": images, "annotations": annotations, "categories": categories}
    # One row per line, for readable diffs.
    text = ",\n".join(f'"{name}": [\n{_lines(rows)}\n]' for name, rows in sections.items())
    write_text(Path(path), f'{{\n"info": {json.dumps(dataset.reading._asdict())},\n{text}\n}}\n')


def _read_json(path: Path) -> object:
    try:
        return parse_json(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise AnnotationError(f"{path}: {error.strerror}; run the stage before this one") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: broken JSON ({error}); write the file again") from error


def _reading(info: object, path: Path | str) -> Reading:
    values = {name: info[name] for name in Reading._fields if name in info} if isinstance(info, dict) else {}
    if not all(isinstance(value, int) and value > 0 for value in values.values()):
        raise AnnotationError(f"{path}: info has {values}; both must be positive; run `dvc repro prepare`")
    return Reading(**values)


def _image(image: dict, path: Path | str) -> ImageInfo:
    width, height = image.get("width"), image.get("height")
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
        raise AnnotationError(f"{path}: image {image['id']} has size {width!r} x {height!r}; both must be at least 1")
    group = image.get("group")
    if group is not None and not isinstance(group, str):
        raise AnnotationError(f"{path}: image {image['id']} has group {group!r}; it must be a name")
    return ImageInfo(image["id"], image["file_name"], width, height, group)


def _box_inside(annotation: dict, size: tuple[int, int], path: Path | str) -> tuple[float, float, float, float]:
    x, y, width, height = annotation["bbox"]
    slack = 0.01  # rounding
    inside = x >= -slack and y >= -slack and x + width <= size[0] + slack and y + height <= size[1] + slack
    if not (inside and width > 0 and height > 0):
        raise AnnotationError(
            f"{path}: annotation {annotation['id']} has bbox {annotation['bbox']}; it must have a size and lie inside "
            f"the {size[0]} x {size[1]} image; run `dvc repro prepare`, which clips boxes"
        )
    return x, y, x + width, y + height


def _objects(rows: list[tuple]) -> Objects:
    return Objects(
        np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], bool),
        np.array([row[3] for row in rows], np.float32),
    )


def _xywh(box_xyxy: np.ndarray) -> list[float]:
    left, top, right, bottom = (float(side) for side in box_xyxy)
    return [round(value, 3) for value in (left, top, right - left, bottom - top)]


def _lines(rows: list[dict]) -> str:
    return ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)

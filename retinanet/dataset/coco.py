"""The one annotation format on disk: COCO JSON, read with every check and written always the same."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

import numpy as np

from retinanet.annotations.paths import check_class_name, check_file_name
from retinanet.errors import AnnotationError
from retinanet.files import write_text
from retinanet.inference.detections import Detections


@dataclass(frozen=True)
class Picture:
    """A picture that an annotation file names; width and height in pixels."""

    id: int
    file_name: str
    width: int
    height: int


@dataclass(frozen=True)
class Objects:
    """The G objects of one picture.

    boxes_xyxy (G, 4) float32 in pixels, labels (G,) int64 in 0..K-1, iscrowd (G,) bool: regions in which objects are
    neither to be found nor faults; areas (G,) float32 in square pixels are the file's (of the outline, where it had
    one), or the boxes' own when not given.
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

    def rows(self, chosen: np.ndarray) -> "Objects":
        """Some of them, by a mask or by numbers."""
        return Objects(self.boxes_xyxy[chosen], self.labels[chosen], self.iscrowd[chosen], self.areas[chosen])

    @property
    def is_single(self) -> np.ndarray:
        """(G,) bool: which are objects and no crowds."""
        return ~self.iscrowd

    @property
    def count(self) -> int:
        """How many there are to be found."""
        return int(self.is_single.sum())


@dataclass(frozen=True)
class CocoDataset:
    """Pictures and their objects. Label k is class_names[k] and category_ids[k]; ids ascend and may have gaps.

    objects has an entry for every picture's id, of zero rows where nothing is on it.
    """

    pictures: tuple[Picture, ...]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    objects: dict[int, Objects]


def read_coco(path: Path | str) -> CocoDataset:
    """Read a split file as `prepare` writes it. Raises AnnotationError on anything that it would not write."""
    content = read_coco_content(Path(path))
    categories = sorted(content["categories"], key=lambda category: category["id"])
    category_ids = tuple(category["id"] for category in categories)
    label_of = {category_id: label for label, category_id in enumerate(category_ids)}
    pictures = tuple(_picture(image, path) for image in content["images"])
    size_of = {picture.id: (picture.width, picture.height) for picture in pictures}
    rows: dict[int, list[tuple]] = {picture.id: [] for picture in pictures}
    for annotation in content["annotations"]:
        box = _box_inside(annotation, size_of[annotation["image_id"]], path)
        area = annotation.get("area", (box[2] - box[0]) * (box[3] - box[1]))
        row = (box, label_of[annotation["category_id"]], bool(annotation.get("iscrowd", 0)), area)
        rows[annotation["image_id"]].append(row)
    return CocoDataset(
        pictures,
        tuple(category["name"] for category in categories),
        category_ids,
        {picture_id: _objects(of_picture) for picture_id, of_picture in rows.items()},
    )


def write_coco(dataset: CocoDataset, path: Path | str) -> None:
    """Write a split file in one step; the same dataset gives the same bytes. Boxes are rounded to 1/1000 px."""
    images: list[dict] = []
    annotations: list[dict] = []
    for picture in dataset.pictures:
        image = {"id": picture.id, "file_name": picture.file_name, "width": picture.width, "height": picture.height}
        images.append(image)
        objects = dataset.objects[picture.id]
        for box, label, iscrowd, area in zip(
            objects.boxes_xyxy, objects.labels, objects.iscrowd, objects.areas, strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": picture.id,
                    "category_id": dataset.category_ids[int(label)],
                    "bbox": _xywh(box, 3),
                    "area": round(float(area), 3),
                    "iscrowd": int(iscrowd),
                }
            )
    categories = [
        {"id": category_id, "name": name}
        for category_id, name in zip(dataset.category_ids, dataset.class_names, strict=True)
    ]
    sections = {"images": images, "annotations": annotations, "categories": categories}
    # One row a line: readable, and a diff shows what changed.
    text = ",\n".join(f'"{name}": [\n{_lines(rows)}\n]' for name, rows in sections.items())
    write_text(Path(path), f"{{\n{text}\n}}\n")


def coco_results(picture_id: int, detections: Detections, category_ids: tuple[int, ...]) -> list[dict]:
    """Detections on one picture as rows of a COCO results file."""
    return [
        {
            "image_id": picture_id,
            "category_id": category_ids[int(label)],
            "bbox": _xywh(box, 2),
            "score": round(float(score), 6),
        }
        for box, score, label in zip(detections.boxes_xyxy, detections.scores, detections.labels, strict=True)
    ]


def read_coco_content(path: Path) -> dict:
    """A COCO file's sections, checked for what no reader can mend: ids, references and paths, but not the boxes."""
    content = read_json(path)
    if not isinstance(content, dict):
        content = {}  # has no section, which the first one's check says
    for section in ("images", "annotations", "categories"):
        rows = content.get(section)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise AnnotationError(
                f'{path}: "{section}" is no list of objects; a COCO file needs images, annotations and categories'
            )
    image_ids = _distinct_ids(content["images"], "image", path)
    category_ids = _distinct_ids(content["categories"], "category", path)
    annotation_ids = _distinct_ids(content["annotations"], "annotation", path)
    if 0 in annotation_ids:
        raise AnnotationError(f"{path}: annotation id 0 makes evaluation miss that object; number them from 1")
    for image in content["images"]:
        check_file_name(image.get("file_name"), f"{path}: image {image['id']}")
    for category in content["categories"]:
        check_class_name(category.get("name"), f"{path}: category {category['id']}")
    for annotation in content["annotations"]:
        who = f"{path}: annotation {annotation['id']}"
        if not _is_one_of(annotation.get("image_id"), image_ids):
            raise AnnotationError(f"{who} is for image {annotation.get('image_id')!r}, which the file does not list")
        if not _is_one_of(annotation.get("category_id"), category_ids):
            raise AnnotationError(
                f"{who} has category {annotation.get('category_id')!r}; the file knows {sorted(category_ids)}"
            )
        if annotation.get("iscrowd", 0) not in (0, 1, None):
            raise AnnotationError(f"{who} has iscrowd {annotation['iscrowd']!r}; it must be 0 or 1")
        box = annotation.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(is_number(side) for side in box):
            raise AnnotationError(f"{who} has bbox {box!r}; it must be [x, y, width, height]")
    return content


def read_json(path: Path) -> object:
    """A JSON file's content without the outlines of objects, which are most of it and of no use here.

    Raises AnnotationError.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_hook=_without_outline)
    except OSError as error:
        raise AnnotationError(f"{path}: {error.strerror}; run the stage before this one") from error
    # UnicodeDecodeError, JSONDecodeError and numbers of too many digits are all ValueErrors.
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: broken JSON ({error}); fetch or write the file again") from error


def is_number(value: object) -> TypeGuard[float]:
    """Whether JSON says a number that a float can hold; NaN and inf are left to the check of boxes."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300)


def _without_outline(row: dict) -> dict:
    row.pop("segmentation", None)
    return row


def _is_one_of(value: object, ids: set[int]) -> bool:
    return isinstance(value, int) and value in ids


def _distinct_ids(rows: list[dict], kind: str, path: Path) -> set[int]:
    seen: set[int] = set()
    for row in rows:
        row_id = row.get("id")
        if not isinstance(row_id, int) or isinstance(row_id, bool):
            raise AnnotationError(f"{path}: {kind} id {row_id!r} is no whole number")
        if row_id in seen:
            raise AnnotationError(f"{path}: {kind} id {row_id} is there twice; ids must be distinct")
        seen.add(row_id)
    return seen


def _picture(image: dict, path: Path | str) -> Picture:
    width, height = image.get("width"), image.get("height")
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
        raise AnnotationError(f"{path}: image {image['id']} has size {width!r} x {height!r}; both must be at least 1")
    return Picture(image["id"], image["file_name"], width, height)


def _box_inside(annotation: dict, size: tuple[int, int], path: Path | str) -> tuple[float, float, float, float]:
    x, y, width, height = annotation["bbox"]
    slack = 0.01  # rounding
    inside = x >= -slack and y >= -slack and x + width <= size[0] + slack and y + height <= size[1] + slack
    if not (inside and width > 0 and height > 0):
        raise AnnotationError(
            f"{path}: annotation {annotation['id']} has bbox {annotation['bbox']}; it must have a size and lie inside "
            f"the {size[0]} x {size[1]} picture; the prepare stage mends that"
        )
    return x, y, x + width, y + height


def _objects(rows: list[tuple]) -> Objects:
    return Objects(
        np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], bool),
        np.array([row[3] for row in rows], np.float32),
    )


def _xywh(box_xyxy: np.ndarray, digits: int) -> list[float]:
    left, top, right, bottom = (float(side) for side in box_xyxy)
    return [round(left, digits), round(top, digits), round(right - left, digits), round(bottom - top, digits)]


def _lines(rows: list[dict]) -> str:
    return ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)

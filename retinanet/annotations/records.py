"""Annotations in memory, the same for every format: images with boxes, not yet checked against the image files."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

TRAIN, VAL, TEST = SPLITS = ("train", "val", "test")
# A thinner box could have no width after rounding to float32 and 1/1000 px. Pixels.
MIN_BOX_SIDE = 0.01
# Names of the splits in folders and columns.
SPLIT_NAMES = {"train": TRAIN, "training": TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "dev": VAL}
SPLIT_NAMES |= {"test": TEST, "testing": TEST}


Xyxy = tuple[float, float, float, float]


class Box(NamedTuple):
    """An object. xyxy are edges in pixels: the right one may equal the image width. area None: the area of the box."""

    class_name: str
    xyxy: Xyxy
    iscrowd: bool = False
    area: float | None = None

    @property
    def width(self) -> float:
        return self.xyxy[2] - self.xyxy[0]

    @property
    def height(self) -> float:
        return self.xyxy[3] - self.xyxy[1]

    @property
    def side(self) -> float:
        """The side of a square of the same area."""
        return math.sqrt(self.width * self.height)


class Finding(NamedTuple):
    """An image or box that was skipped or changed, and why; xyxy is the box as annotated, None for an image."""

    file: str
    reason: str
    xyxy: Xyxy | None = None


@dataclass(frozen=True)
class SourceImage:
    """An image file with its boxes, and the size, official split and id that the annotations state, if any.

    Images of one group (a scene, a patient, a video; by default the image alone) stay in one split.
    """

    file: Path
    boxes: tuple[Box, ...]
    size: tuple[int, int] | None = None  # width, height
    split: str | None = None
    source_id: int | None = None
    group: str | None = None


@dataclass
class SourceDataset:
    """Everything under one source folder.

    category_ids is empty if the format has no ids; then class_names has the declared classes, with or without objects.
    """

    format: str
    images: list[SourceImage] = field(default_factory=list)
    category_ids: dict[str, int] = field(default_factory=dict)
    class_names: list[str] = field(default_factory=list)
    skipped: list[Finding] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def all_class_names(self) -> set[str]:
        """Declared classes and those of boxes."""
        used = {box.class_name for image in self.images for box in image.boxes}
        return used | self.category_ids.keys() | set(self.class_names)


def rename_classes(source: SourceDataset, names: dict[str, str]) -> SourceDataset:
    """Rename classes and merge those with the same new name; a merged class keeps its lowest category id."""
    class_names = source.all_class_names()
    remarks = [f"prepare.rename_classes: there is no class {name}" for name in names if name not in class_names]
    category_ids: dict[str, int] = {}
    for name, category_id in source.category_ids.items():
        new = names.get(name, name)
        category_ids[new] = min(category_id, category_ids.get(new, category_id))
    images = [
        replace(
            image,
            boxes=tuple(box._replace(class_name=names.get(box.class_name, box.class_name)) for box in image.boxes),
        )
        for image in source.images
    ]
    return replace(
        source,
        images=images,
        category_ids=category_ids,
        class_names=[names.get(name, name) for name in source.class_names],
        remarks=source.remarks + remarks,
    )


def group_name(value: object) -> str | None:
    """The group that a value of the annotations names; None if there is no value."""
    return None if value is None else str(value)


def image_size(width: object, height: object) -> tuple[int, int] | None:
    """(width, height) as annotations state it; None if they are not positive integers."""
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None


def splits_agree(first: str | None, second: str | None) -> bool:
    """Whether two files may be of one split: None is no official split."""
    return None in (first, second) or first == second


def split_of_folders(parts: Iterable[str]) -> str | None:
    """The split named by the innermost folder that is called like one; None if there is none."""
    return next((SPLIT_NAMES[part.lower()] for part in reversed(tuple(parts)) if part.lower() in SPLIT_NAMES), None)

"""Annotations in memory, the same for every format: images with boxes, not yet checked against the image files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import cos, hypot, isfinite, nan, sin
from pathlib import Path
from typing import NamedTuple

TRAIN, VAL, TEST = SPLITS = ("train", "val", "test")
# A thinner box could have no width after rounding to float32 and 1/1000 px. Pixels.
MIN_BOX_SIDE = 0.01
# Names of the splits in folders and columns.
SPLIT_NAMES = {"train": TRAIN, "training": TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "dev": VAL}
SPLIT_NAMES |= {"test": TEST, "testing": TEST}


Xyxy = tuple[float, float, float, float]
# Skipped by the check of boxes.
NAN_BOX = (nan, nan, nan, nan)


class Box(NamedTuple):
    """An object. xyxy are edges in pixels: the right one may equal the image width. area None: the area of the box."""

    class_name: str
    xyxy: Xyxy
    iscrowd: bool = False
    area: float | None = None


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


def hull(points: Sequence[Sequence[float]]) -> Xyxy:
    """The box around points (x, y); NaN if a coordinate is not finite."""
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    if not all(map(isfinite, xs + ys)):
        return NAN_BOX
    return min(xs), min(ys), max(xs), max(ys)


def rotated_hull(x: float, y: float, width: float, height: float, angle: float) -> Xyxy:
    """The box around a box with center (x, y), rotated by an angle in radians; NaN if that is not finite."""
    if not isfinite(angle):
        return NAN_BOX
    half_width = (abs(width * cos(angle)) + abs(height * sin(angle))) / 2
    half_height = (abs(width * sin(angle)) + abs(height * cos(angle))) / 2
    return x - half_width, y - half_height, x + half_width, y + half_height


def ellipse_hull(x: float, y: float, radius_x: float, radius_y: float, angle: float) -> Xyxy:
    """The box around an ellipse with center (x, y), rotated by an angle in radians; NaN if that is not finite."""
    if not isfinite(angle):
        return NAN_BOX
    half_width = hypot(radius_x * cos(angle), radius_y * sin(angle))
    half_height = hypot(radius_x * sin(angle), radius_y * cos(angle))
    return x - half_width, y - half_height, x + half_width, y + half_height


def split_of_folders(parts: Iterable[str]) -> str | None:
    """The split named by the innermost folder that is called like one; None if there is none."""
    return next((SPLIT_NAMES[part.lower()] for part in reversed(tuple(parts)) if part.lower() in SPLIT_NAMES), None)

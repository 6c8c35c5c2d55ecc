"""What a source says, whatever its format: pictures with named objects, unchecked against the pictures' pixels."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

TRAIN, VAL, TEST = SPLITS = ("train", "val", "test")


class Box(NamedTuple):
    """One object: xyxy in pixels as written (edges, the right one may equal the width); area None: the box's own."""

    class_name: str
    xyxy: tuple[float, float, float, float]
    iscrowd: bool = False
    area: float | None = None


class Skipped(NamedTuple):
    """Something left out, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class AnnotatedPicture:
    """A picture's file, its size where the source says it, its official split and id where it has them."""

    file: Path
    boxes: tuple[Box, ...]
    size: tuple[int, int] | None = None  # width, height
    split: str | None = None
    source_id: int | None = None


@dataclass
class AnnotatedSet:
    """Everything under one source folder. category_ids is empty where the format has only names."""

    format: str
    pictures: list[AnnotatedPicture] = field(default_factory=list)
    category_ids: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def rename_classes(source: AnnotatedSet, names: dict[str, str]) -> AnnotatedSet:
    """The set with classes renamed, those of one new name merged; a merged class keeps its lowest category id."""
    known = source.category_ids.keys() | {box.class_name for picture in source.pictures for box in picture.boxes}
    remarks = [f"rename_classes: no class is called {name}" for name in names if name not in known]
    category_ids: dict[str, int] = {}
    for name, category_id in source.category_ids.items():
        new = names.get(name, name)
        category_ids[new] = min(category_id, category_ids.get(new, category_id))
    pictures = [
        AnnotatedPicture(
            picture.file,
            tuple(box._replace(class_name=names.get(box.class_name, box.class_name)) for box in picture.boxes),
            picture.size,
            picture.split,
            picture.source_id,
        )
        for picture in source.pictures
    ]
    return AnnotatedSet(source.format, pictures, category_ids, source.skipped, source.remarks + remarks)

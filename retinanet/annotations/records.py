"""What a source says, whatever its format: images with named objects, unchecked against the images' pixels."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from retinanet.errors import AnnotationError

TRAIN, VAL, TEST = SPLITS = ("train", "val", "test")
# A thinner box would be none once it is float32 and rounded to 1/1000 px.
MIN_BOX_SIDE = 0.01
# What folders and columns call the splits.
SPLIT_NAMES = {"train": TRAIN, "training": TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "dev": VAL}
SPLIT_NAMES |= {"test": TEST, "testing": TEST}


Xyxy = tuple[float, float, float, float]


class Box(NamedTuple):
    """One object: xyxy in pixels as written (edges, the right one may equal the width); area None: the box's own."""

    class_name: str
    xyxy: Xyxy
    iscrowd: bool = False
    area: float | None = None


class Finding(NamedTuple):
    """Something left out or changed, and why; xyxy is the box as written where it is about one."""

    file: str
    reason: str
    xyxy: Xyxy | None = None


@dataclass(frozen=True)
class SourceImage:
    """An image's file, its size where the source says it, its official split and id where it has them.

    Images of one group (a scene, a patient, a video; by default the image alone) are never divided between splits.
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

    category_ids is empty where the format has only names; class_names are those that the source declares without ids,
    whether or not there is an object of them.
    """

    format: str
    images: list[SourceImage] = field(default_factory=list)
    category_ids: dict[str, int] = field(default_factory=dict)
    class_names: list[str] = field(default_factory=list)
    skipped: list[Finding] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def all_class_names(self) -> set[str]:
        """Declared or used."""
        used = {box.class_name for image in self.images for box in image.boxes}
        return used | self.category_ids.keys() | set(self.class_names)


def take_listed(
    found: SourceDataset, listed_in: dict[Path, str], file: Path | None, name: str, who: str
) -> Path | None:
    """The image that an annotation file names, if it is there; a missing one goes to what was skipped.

    listed_in says where each image was named, and is filled. Raises AnnotationError for one that was named before.
    """
    if file is None:
        found.skipped.append(Finding(name, f"named by {who}, but the image is missing"))
        return None
    if file in listed_in:
        raise AnnotationError(f"{who}: {name!r} is listed twice, first in {listed_in[file]}")
    listed_in[file] = who
    return file


def rename_classes(source: SourceDataset, names: dict[str, str]) -> SourceDataset:
    """The set with classes renamed, those of one new name merged; a merged class keeps its lowest category id."""
    known = source.all_class_names()
    remarks = [f"rename_classes: no class is called {name}" for name in names if name not in known]
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


def split_of_folders(parts: Iterable[str]) -> str | None:
    """The split that the innermost folder called like one names."""
    return next((SPLIT_NAMES[part.lower()] for part in reversed(tuple(parts)) if part.lower() in SPLIT_NAMES), None)

"""Reader of YOLO: a .txt for each image with box centers and sizes relative to it; classes, splits in a data.yaml."""

import re
from math import isfinite
from pathlib import Path

import yaml

from retinanet.annotations.paths import find_file, find_folder, read_lines
from retinanet.annotations.records import (
    SPLIT_NAMES,
    SPLITS,
    Box,
    Finding,
    SourceDataset,
    SourceImage,
    split_of_folders,
)
from retinanet.dataset.coco_file import check_class_name, check_file_name
from retinanet.errors import AnnotationError
from retinanet.images.reading import IMAGE_SUFFIXES, upright_size

CLASS_LISTS = ("classes.txt", "obj.names")


def find_class_file(root: Path) -> Path | None:
    """The YAML file with `names`, or the class list, nearest to `root`; None if there is none.

    Raises AnnotationError if two at the same depth declare different classes.
    """
    settings = [path for suffix in ("yaml", "yml") for path in root.rglob(f"*.{suffix}") if _has_names(path)]
    files = settings or [path for name in CLASS_LISTS for path in root.rglob(name)]
    files = sorted(files, key=lambda path: (len(path.parts), path))
    if len(files) > 1 and len(files[0].parts) == len(files[1].parts) and _names(files[0]) != _names(files[1]):
        raise AnnotationError(f"{files[0]} and {files[1]} declare different classes; keep one")
    return files[0] if files else None


def read_yolo(root: Path, group_column: str = "") -> SourceDataset:
    """Read the images with their label files, beside them or in `labels` if the images are in `images`.

    An image without a label file has no objects. A polygon becomes its bounding box. Coordinates within the rounding
    error of a whole pixel are rounded to it. group_column is unused: label files have no columns.
    Raises AnnotationError.
    """
    class_file = find_class_file(root)
    if class_file is None:
        raise AnnotationError(f"{root}: no data.yaml or classes.txt with the names of the YOLO classes; add one")
    names = _names(class_file)
    source = SourceDataset("yolo", class_names=names)
    split_of = _official_splits(class_file, root)
    images = sorted(split_of) or sorted(p for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    used: set[Path] = set()
    unlabeled = 0
    for image in images:
        split = split_of.get(image) or split_of_folders(image.parent.relative_to(root).parts)
        if not image.is_file():
            source.skipped.append(Finding(str(image), "listed in a split, but missing"))
            continue
        label = _label_file(image, root)
        boxes: tuple[Box, ...] = ()
        if label:
            used.add(label)
            # An image without a size cannot be read; prepare's check reports it.
            boxes = _boxes(label, names, upright_size(image) or (1, 1))
        unlabeled += label is None
        source.images.append(SourceImage(image, boxes, split=split))
    if unlabeled:
        source.remarks.append(f"{unlabeled} images have no label file and count as images without objects")
    for path in sorted(root.rglob("labels/**/*.txt")):
        if path not in used and path.name not in CLASS_LISTS and not split_of:
            source.skipped.append(Finding(str(path), "its image is missing"))
    return source


def _load(path: Path) -> dict:
    """The mapping in a YAML file; empty if it has no mapping."""
    try:
        content = yaml.safe_load("\n".join(read_lines(path)))
    # ValueError: invalid dates and integers with too many digits.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: broken YAML ({' '.join(str(error).split())}); write it again") from error
    return content if isinstance(content, dict) else {}


def _has_names(path: Path) -> bool:
    if not path.is_file() or not re.search(rb"^\s*[\"']?names[\"']?\s*:", path.read_bytes(), re.MULTILINE):
        return False
    return "names" in _load(path)


def _names(path: Path) -> list[str]:
    names: object
    if path.name in CLASS_LISTS:
        names = [line.strip() for line in read_lines(path) if line.strip()]
    else:
        names = _load(path)["names"]
        if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
            names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise AnnotationError(f"{path}: names is {names!r}; it must be a list, or map 0, 1, 2 … to names")
    names = [str(name) if isinstance(name, int | float) else name for name in names]
    for number, name in enumerate(names):
        check_class_name(name, f"{path}: class {number}")
        if name in names[:number]:
            raise AnnotationError(f"{path}: classes {names.index(name)} and {number} are both {name!r}; rename one")
    return names


def _official_splits(class_file: Path, root: Path) -> dict[Path, str]:
    """{image: split}, from the folders and image lists in a data.yaml. Raises AnnotationError."""
    if class_file.name in CLASS_LISTS:
        return {}
    content = _load(class_file)
    base = content.get("path")
    splits: dict[Path, str] = {}
    for split in SPLITS:
        values = (content[key] for key, value in SPLIT_NAMES.items() if value == split and content.get(key))
        entries: object = next(values, [])
        for entry in entries if isinstance(entries, list) else [entries]:
            for image in _images_at(entry, base, class_file, root):
                if splits.setdefault(image, split) != split:
                    raise AnnotationError(
                        f"{class_file}: {image} is in {splits[image]} and in {split}; remove it from one"
                    )
    return splits


def _images_at(entry: object, base: object, class_file: Path, root: Path) -> list[Path]:
    """The images of a folder or image list.

    A path from another computer is matched by its longest suffix that exists.
    """
    if not isinstance(entry, str) or not entry:
        raise AnnotationError(f"{class_file}: {entry!r} is not a folder or list of images; correct the path in it")
    parts = [part for part in Path(entry).parts if part not in ("..", "/", ".")]
    if isinstance(base, str):
        parts = [part for part in Path(base).parts if part not in ("..", "/", ".")] + parts
    bases = dict.fromkeys((class_file.parent, root))
    for start in range(max(1, len(parts))):
        end = "/".join(parts[start:])
        if folder := find_folder(bases, end):
            return [path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES]
        if path := find_file(bases, end):
            return [_listed(line.strip(), path, root) for line in read_lines(path) if line.strip()]
    raise AnnotationError(f"{class_file}: {entry!r} does not exist; name a folder or list of images inside {root}")


def _listed(line: str, path: Path, root: Path) -> Path:
    line = line.removeprefix("./")
    check_file_name(line, str(path))
    return find_file(dict.fromkeys((path.parent, root)), line) or path.parent / line


def _label_file(image: Path, root: Path) -> Path | None:
    parts = image.relative_to(root).with_suffix(".txt").parts
    for index in reversed(range(len(parts) - 1)):
        if parts[index].lower() == "images":
            label = root.joinpath(*parts[:index], "labels", *parts[index + 1 :])
            if label.is_file():
                return label
    beside = image.with_suffix(".txt")
    return beside if beside.is_file() else None


def _boxes(label: Path, names: list[str], size: tuple[int, int]) -> tuple[Box, ...]:
    boxes = []
    for number, line in enumerate(read_lines(label), start=1):
        words = line.split()
        if not words:
            continue
        location = f"{label}: line {number}"
        try:
            category, sides = float(words[0]), [float(word) for word in words[1:]]
        except ValueError as error:
            raise AnnotationError(f"{location} is {line!r}; it needs a class and four numbers") from error
        if category not in range(len(names)):
            raise AnnotationError(f"{location} has class {words[0]}; it must be 0 to {len(names) - 1}")
        if len(sides) == 4:
            x, y, width, height = sides
            relative = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        elif len(sides) >= 6 and len(sides) % 2 == 0:
            relative = (min(sides[::2]), min(sides[1::2]), max(sides[::2]), max(sides[1::2]))
        else:
            raise AnnotationError(
                f"{location} has {len(sides)} numbers after the class; it needs four, or the corners of a polygon"
            )
        digits = max(len(word.partition(".")[2].partition("e")[0]) for word in words[1:])
        left, top, right, bottom = (_pixel(edge, side, digits) for edge, side in zip(relative, size * 2, strict=True))
        boxes.append(Box(names[int(category)], (left, top, right, bottom)))
    return tuple(boxes)


def _pixel(relative: float, side: int, digits: int) -> float:
    edge = relative * side
    # The center and half the size are each rounded by up to half a unit of the last digit.
    rounding = max(side * 10.0**-digits, 1e-6)
    return float(round(edge)) if isfinite(edge) and abs(edge - round(edge)) < min(rounding, 0.25) else edge

"""The settings beside YOLO labels: class names, official splits and key points of a data.yaml, or darknet's lists."""

import re
from pathlib import Path
from typing import NamedTuple

import yaml

from retinanet.annotations.files import SourceFiles, path_parts, read_lines
from retinanet.annotations.records import SPLIT_NAMES, SPLITS, split_of_folders
from retinanet.dataset.coco_file import check_class_name
from retinanet.errors import AnnotationError
from retinanet.images.reading import IMAGE_SUFFIXES

CLASS_LISTS = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt")


class OfficialSplits(NamedTuple):
    """The split of each listed image, lists of images that are missing, and remarks."""

    split_of: dict[Path, str]
    missing: list[str]
    remarks: list[str]


def find_class_file(files: SourceFiles) -> Path | None:
    """The YAML file with `names`, or the class list, nearest to the root; None if there is none.

    Of lists of which one begins like the other (labelImg writes classes as they occur), it is the longest. Raises
    AnnotationError if two lists of one depth or one name contradict each other.
    """
    candidates = [path for path in files.with_suffix(".yaml", ".yml") if _has_names(path)]
    candidates = candidates or files.named(*CLASS_LISTS) or files.with_suffix(".names")
    candidates.sort(key=lambda path: (len(path.parts), path))
    chosen = candidates[0] if candidates else None
    for other in candidates[1:]:
        if len(other.parts) == len(candidates[0].parts) or other.name == candidates[0].name:
            chosen = _longer(chosen or other, other)
    return chosen


def _longer(first: Path, second: Path) -> Path:
    """The class file with more classes. Raises AnnotationError if the shorter one is not its beginning."""
    names, other_names = class_names(first), class_names(second)
    common = min(len(names), len(other_names))
    if names[:common] != other_names[:common]:
        raise AnnotationError(f"{first} and {second} declare different classes; keep one")
    return second if len(other_names) > common else first


def class_names(path: Path) -> list[str]:
    """The names in a class file, by number. Raises AnnotationError."""
    names: object
    if path.suffix.lower() in (".yaml", ".yml"):
        names = _load(path)["names"]
        if isinstance(names, dict) and set(names) == {str(number) for number in range(len(names))}:
            names = [names[str(number)] for number in range(len(names))]
    else:
        names = [line.strip() for line in read_lines(path) if line.strip()]
    if not isinstance(names, list) or not names:
        raise AnnotationError(f"{path}: names is {names!r}; it must be a list, or map 0, 1, 2 … to names")
    for number, name in enumerate(names):
        check_class_name(name, f"{path}: class {number}")
        if name in names[:number]:
            raise AnnotationError(f"{path}: classes {names.index(name)} and {number} are both {name!r}; rename one")
    return names


def key_point_numbers(path: Path) -> int:
    """How many numbers of key points follow each box in the labels, by `kpt_shape`; 0 without it."""
    shape = _load(path).get("kpt_shape") if path.suffix.lower() in (".yaml", ".yml") else None
    if shape is None:
        return 0
    if not (isinstance(shape, list) and len(shape) == 2 and all(str(size).isdecimal() for size in shape)):
        raise AnnotationError(f"{path}: kpt_shape is {shape!r}; it must be [number of points, 2 or 3]")
    return int(shape[0]) * int(shape[1])


def official_splits(class_file: Path, files: SourceFiles) -> OfficialSplits:
    """The splits of a data.yaml, or of darknet's lists (train.txt, valid.txt, test.txt) beside a class list.

    A split that has the same images as another is none. Raises AnnotationError if two splits overlap otherwise.
    """
    is_yaml = class_file.suffix.lower() in (".yaml", ".yml")
    entries = _yaml_entries(class_file) if is_yaml else _darknet_entries(class_file, files)
    images: dict[str, set[Path]] = {}
    missing: list[str] = []
    remarks = []
    for split, names in entries.items():
        found: set[Path] = set()
        for name in names:
            located = _images_at(name, class_file, files)
            if located is None and len(entries) > 1:
                remarks.append(f"{class_file}: {split} is {name!r}, which does not exist")
                continue
            if located is None:
                raise AnnotationError(
                    f"{class_file}: {name!r} does not exist; name a folder or list of images inside {files.root}"
                )
            found |= located[0]
            missing += located[1]
        same = next((other for other, others in images.items() if others == found), None)
        if found and same:
            remarks.append(f"{class_file}: {split} has the same images as {same}, so it is not an official split")
        elif found:
            images[split] = found
    split_of: dict[Path, str] = {}
    for split, paths in images.items():
        for path in sorted(paths):
            if split_of.setdefault(path, split) != split:
                raise AnnotationError(f"{class_file}: {path} is in {split_of[path]} and in {split}; remove it from one")
    return OfficialSplits(split_of, missing, remarks)


def _yaml_entries(path: Path) -> dict[str, list[str]]:
    """{split: its folders and lists of images}, with the `path` of a data.yaml before them."""
    content = _load(path)
    base = content.get("path")
    entries: dict[str, list[str]] = {}
    for split in SPLITS:
        values = (content[key] for key in content if SPLIT_NAMES.get(str(key).lower()) == split and content[key])
        value: object = next(values, [])
        for entry in value if isinstance(value, list) else [value]:
            if not isinstance(entry, str) or not entry:
                raise AnnotationError(f"{path}: {entry!r} is not a folder or list of images; correct the path in it")
            entries.setdefault(split, []).append(f"{base}/{entry}" if isinstance(base, str) else entry)
    return entries


def _darknet_entries(class_file: Path, files: SourceFiles) -> dict[str, list[str]]:
    """{split: its lists of images}: the *.txt named like a split beside the class list or at the root."""
    folders = (class_file.parent, files.root)
    lists = [path for path in files.with_suffix(".txt") if path.parent in folders]
    entries: dict[str, list[str]] = {}
    for path in lists:
        if (split := SPLIT_NAMES.get(path.stem.lower())) and _lists_images(path):
            entries.setdefault(split, []).append("/".join(files.parts(path)))
    return {split: entries[split] for split in SPLITS if split in entries} if len(entries) > 1 else {}


def _lists_images(path: Path) -> bool:
    first = next((line.strip() for line in read_lines(path) if line.strip()), "")
    return Path(first).suffix.lower() in IMAGE_SUFFIXES


def _images_at(entry: str, class_file: Path, files: SourceFiles) -> tuple[set[Path], list[str]] | None:
    """The images of a folder or list, and the listed names that are missing; None if it does not exist.

    A path from another computer is matched by its longest end that exists, but `train/images` not by `images` alone.
    """
    parts = path_parts(entry)
    ends = len(parts) - (len(parts) > 1 and split_of_folders(parts[-2:-1]) is not None)
    bases = tuple(dict.fromkeys((class_file.parent, files.root)))
    for start in range(max(1, ends)):
        end = "/".join(parts[start:])
        for base in bases:
            if base / end in files.folders and end:
                return {path for path in files.images() if base / end in path.parents}, []
        if path := files.find(bases, end):
            names = [line.strip() for line in read_lines(path) if line.strip()]
            located = files.locate(names, (path.parent, *bases), path)
            return set(located.values()), [name for name in names if name not in located]
    return None


def _load(path: Path) -> dict:
    """The mapping in a YAML file, its scalars as text, so that yes and 007 stay; empty if it has no mapping."""
    try:
        content = yaml.load("\n".join(read_lines(path)), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise AnnotationError(f"{path}: broken YAML ({' '.join(str(error).split())}); write it again") from error
    return content if isinstance(content, dict) else {}


def _has_names(path: Path) -> bool:
    lines = read_lines(path) if path.stat().st_size < 10_000_000 else []
    return any(re.match(r"\s*[\"']?names[\"']?\s*:", line) for line in lines) and "names" in _load(path)

"""The annotation formats, and the reader that finds out which of them a folder has."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from retinanet.annotations.coco_json import find_coco_files, read_coco_source
from retinanet.annotations.csv_table import find_csv_files, read_csv_source
from retinanet.annotations.metadata_jsonl import find_metadata_files, read_metadata_source
from retinanet.annotations.records import SourceDataset
from retinanet.annotations.voc import find_voc_files, read_voc
from retinanet.annotations.yolo import find_class_file, read_yolo
from retinanet.errors import AnnotationError

AUTO = "auto"


class Format(NamedTuple):
    """An annotation format.

    find(root) is truthy if files under root look like this format. read(root, group_column) reads them. Files that
    match fallback_pattern are read as this format if no format is recognized, so that the error names the bad file.
    """

    title: str
    find: Callable[[Path], object]
    read: Callable[[Path, str], SourceDataset]
    fallback_pattern: str = ""


# By the names that prepare.format accepts. If several are recognized, the first is read.
FORMATS = {
    "voc": Format("Pascal VOC annotations (.xml)", find_voc_files, read_voc, fallback_pattern="*.xml"),
    "metadata": Format(
        "image folder (metadata.jsonl with file_name and objects)", find_metadata_files, read_metadata_source
    ),
    "coco": Format(
        "COCO annotations (.json with images, annotations and categories)", find_coco_files, read_coco_source
    ),
    "yolo": Format("YOLO labels (.txt, with class names in a data.yaml or classes.txt)", find_class_file, read_yolo),
    "csv": Format("table of boxes (.csv with path,x1,y1,x2,y2,class)", find_csv_files, read_csv_source),
}


def read_source(root: Path, name: str = AUTO, group_column: str = "", group_pattern: str = "") -> SourceDataset:
    """Read the annotations under `root`; name is a key of FORMATS, or auto to recognize the format.

    The images of a group stay in one split. An image's group is its value of group_column (a column or key of the
    annotations), else the first group of the regular expression group_pattern in its path under `root`, else the
    image alone. Raises AnnotationError.
    """
    if not root.is_dir():
        raise AnnotationError(f"{root}: no such folder; run the download stage first")
    name = _recognized(root) if name == AUTO else name
    source = FORMATS[name].read(root, group_column) if name else None
    if source is None or not (source.images or source.skipped):
        titles = [FORMATS[name].title] if name else [entry.title for entry in FORMATS.values()]
        raise AnnotationError(
            f"{root}: no annotations found; expected {' or '.join(titles)}; "
            "check download.* and prepare.format in params.yaml"
        )
    return _grouped(source, root, group_column, group_pattern)


def _recognized(root: Path) -> str:
    """A key of FORMATS, or an empty string."""
    for name, entry in FORMATS.items():
        if entry.find(root):
            return name
    fallbacks = {name: entry.fallback_pattern for name, entry in FORMATS.items() if entry.fallback_pattern}
    return next((name for name, pattern in fallbacks.items() if any(root.rglob(pattern))), "")


def _grouped(source: SourceDataset, root: Path, column: str, pattern: str) -> SourceDataset:
    if column and source.images and all(image.group is None for image in source.images):
        raise AnnotationError(f"{root}: no image has {column!r}; correct prepare.group_column")
    paths = [image.file.relative_to(root).as_posix() for image in source.images]
    images = []
    for image, path in zip(source.images, paths, strict=True):
        match = re.search(pattern, path) if pattern and image.group is None else None
        images.append(replace(image, group=image.group or (match and match[1]) or path))
    # Without any image the pattern is not to blame: prepare reports the missing images.
    if pattern and paths and all(image.group == path for image, path in zip(images, paths, strict=True)):
        raise AnnotationError(
            f"{root}: prepare.group_pattern {pattern!r} matches no path, for example {paths[-1]!r}; correct it"
        )
    return replace(source, images=images)

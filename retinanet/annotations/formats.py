"""Which annotation format a folder holds, and what it says."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from retinanet.annotations.coco_json import find_coco_files, read_coco_source
from retinanet.annotations.csv_table import find_csv_files, read_csv_source
from retinanet.annotations.metadata_jsonl import find_metadata_files, read_metadata_source
from retinanet.annotations.records import SourceDataset
from retinanet.annotations.voc import looks_like_voc, read_voc
from retinanet.annotations.yolo import find_class_file, read_yolo
from retinanet.errors import AnnotationError

WHAT = {
    "voc": "Pascal VOC annotations (.xml)",
    "metadata": "image folder (metadata.jsonl with file_name and objects)",
    "coco": "COCO annotations (.json with images, annotations and categories)",
    "yolo": "YOLO labels (.txt, their class names in a data.yaml or classes.txt)",
    "csv": "table of boxes (.csv with path,x1,y1,x2,y2,class)",
}
# A folder of images can hold a thousand .xml of another kind; one that is an annotation comes soon if any does.
XML_LOOKED_AT = 100


def read_source(root: Path, name: str = "auto", group_column: str = "", group_pattern: str = "") -> SourceDataset:
    """Read the images' annotations under `root`; name is a key of WHAT, or auto to look.

    Groups, which stay in one split, are what group_column says (a column or key of the annotations), or the first
    group of the pattern in the image's path under `root`, or each image alone. Raises AnnotationError.
    """
    if not root.is_dir():
        raise AnnotationError(f"{root}: there is no such folder; run the download stage first")
    name = _recognized(root) if name == "auto" else name
    match name:
        case "voc":
            source = read_voc(root, group_column)
        case "metadata":
            source = read_metadata_source(root, find_metadata_files(root), group_column)
        case "coco":
            source = read_coco_source(root, find_coco_files(root), group_column)
        case "yolo":
            source = read_yolo(root)
        case "csv":
            source = read_csv_source(root, find_csv_files(root), group_column)
        case _:
            raise AnnotationError(
                f"{root}: holds no {', no '.join(WHAT.values())}; check download.* and prepare.format in params.yaml"
            )
    if not source.images and not source.skipped:
        raise AnnotationError(f"{root}: holds no {WHAT[name]}; check download.* and prepare.format in params.yaml")
    return _grouped(source, root, group_column, group_pattern)


def _recognized(root: Path) -> str:
    """A key of WHAT, or an empty text."""
    xml_files = sorted(islice(root.rglob("*.xml"), XML_LOOKED_AT))
    if any(looks_like_voc(path) for path in xml_files):
        return "voc"
    return next(_other_formats(root), "voc" if xml_files else "")


def _other_formats(root: Path) -> Iterator[str]:
    if find_metadata_files(root):
        yield "metadata"
    if find_coco_files(root):
        yield "coco"
    if find_class_file(root):
        yield "yolo"
    if find_csv_files(root):
        yield "csv"


def _grouped(source: SourceDataset, root: Path, column: str, pattern: str) -> SourceDataset:
    if column and source.images and all(image.group is None for image in source.images):
        raise AnnotationError(f"{root}: no image has {column!r}, which prepare.group_column names")
    paths = [image.file.relative_to(root).as_posix() for image in source.images]
    images = []
    for image, path in zip(source.images, paths, strict=True):
        match = re.search(pattern, path) if pattern and image.group is None else None
        images.append(replace(image, group=image.group or (match and match[1]) or path))
    # A source may name none but missing images, which is for the stage to say.
    if pattern and paths and all(image.group == path for image, path in zip(images, paths, strict=True)):
        raise AnnotationError(f"{root}: prepare.group_pattern {pattern!r} fits no path, as {paths[-1]!r}")
    return replace(source, images=images)

"""The annotation formats, and the reader that finds out which of them a folder has."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from retinanet.annotations.coco_json import find_coco_files, read_coco_source
from retinanet.annotations.csv_table import find_csv_files, read_csv_source
from retinanet.annotations.cvat_xml import find_cvat_files, read_cvat
from retinanet.annotations.datumaro import find_datumaro_files, read_datumaro
from retinanet.annotations.files import SourceFiles
from retinanet.annotations.label_studio import find_label_studio_files, read_label_studio
from retinanet.annotations.labelme import find_labelme_files, read_labelme
from retinanet.annotations.metadata_jsonl import find_metadata_files, read_metadata_source
from retinanet.annotations.other_kinds import recognize_other_kind
from retinanet.annotations.records import SourceDataset
from retinanet.annotations.supervisely import find_supervisely_files, read_supervisely
from retinanet.annotations.via import find_via_files, read_via
from retinanet.annotations.voc import find_voc_files, read_voc
from retinanet.annotations.vott import find_vott_files, read_vott
from retinanet.annotations.yolo import find_yolo_files, read_yolo
from retinanet.errors import AnnotationError

AUTO = "auto"


class Format(NamedTuple):
    """An annotation format.

    find(files) are the files that look like this format. read(files, group_column) reads them. Files with the
    fallback_suffix are read as this format if no format is recognized, so that the error names the bad file.
    is_in_pixels: coordinates are written in pixels, if not by mistake as shares of the image's sides.
    """

    title: str
    find: Callable[[SourceFiles], Sequence[Path]]
    read: Callable[[SourceFiles, str], SourceDataset]
    fallback_suffix: str = ""
    is_in_pixels: bool = False


# By the names that prepare.format accepts. If several are recognized, the first is read.
FORMATS = {
    "voc": Format("Pascal VOC annotations (.xml)", find_voc_files, read_voc, ".xml", is_in_pixels=True),
    "metadata": Format(
        "image folder (metadata.jsonl with file_name and objects)",
        find_metadata_files,
        read_metadata_source,
        is_in_pixels=True,
    ),
    "coco": Format(
        "COCO annotations (.json with images, annotations and categories)",
        find_coco_files,
        read_coco_source,
        is_in_pixels=True,
    ),
    "yolo": Format("YOLO labels (.txt, with class names in a data.yaml or classes.txt)", find_yolo_files, read_yolo),
    "csv": Format(
        "table of boxes (.csv with path,x1,y1,x2,y2,class)", find_csv_files, read_csv_source, is_in_pixels=True
    ),
    "cvat": Format("CVAT for images (.xml with all images)", find_cvat_files, read_cvat),
    "labelme": Format("labelme (.json with shapes for each image)", find_labelme_files, read_labelme),
    "via": Format("VGG Image Annotator (.json or .csv with regions)", find_via_files, read_via),
    "vott": Format("VoTT (.json with assets and regions)", find_vott_files, read_vott),
    "supervisely": Format("Supervisely project (ann/*.json and img)", find_supervisely_files, read_supervisely),
    "datumaro": Format("Datumaro (annotations/*.json with items)", find_datumaro_files, read_datumaro),
    "label-studio": Format("Label Studio tasks (.json or JSON_MIN)", find_label_studio_files, read_label_studio),
}


def read_source(root: Path, name: str = AUTO, group_column: str = "", group_pattern: str = "") -> SourceDataset:
    """Read the annotations under `root`; name is a key of FORMATS, or auto to recognize the format.

    The images of a group stay in one split. An image's group is its value of group_column (a column or key of the
    annotations), else the first group of the regular expression group_pattern in its path under `root`, else the
    image alone. Raises AnnotationError.
    """
    if not root.is_dir():
        raise AnnotationError(f"{root}: no such folder; run the download stage first")
    files = SourceFiles(root)
    recognized = _recognize(files) if name == AUTO else {}
    chosen = next(iter(recognized), name)
    source = FORMATS[chosen].read(files, group_column) if chosen != AUTO else None
    if source is None or not (source.images or source.skipped):
        if other_kind := recognize_other_kind(files):
            raise AnnotationError(other_kind)
        titles = [FORMATS[name].title] if name != AUTO else [entry.title for entry in FORMATS.values()]
        raise AnnotationError(
            f"{root}: no annotations found; expected {' or '.join(titles)}; "
            "check download.* and prepare.format in params.yaml"
        )
    corners = [box.xyxy for image in source.images for box in image.boxes]
    if corners and FORMATS[chosen].is_in_pixels and all(max(xyxy) <= 1 for xyxy in corners):
        raise AnnotationError(
            f"{root}: all boxes lie within one pixel, so their coordinates are shares of the images' sides; multiply "
            "them by the width and height"
        )
    if len(recognized) > 1:
        others = ", ".join(f"{other} ({path})" for other, path in recognized.items() if other != chosen)
        remark = f"annotations in several formats: {chosen} is read, not {others}; prepare.format names another"
        source.remarks.append(remark)
    return _grouped(source, root, group_column, group_pattern)


def _recognize(files: SourceFiles) -> dict[str, Path]:
    """The recognized formats, each with one of its files. Raises AnnotationError on a broken file if there is none."""
    found: dict[str, Path] = {}
    errors = []
    for name, entry in FORMATS.items():
        try:
            paths = entry.find(files)
        except AnnotationError as error:
            errors.append(error)
            continue
        if paths:
            found[name] = paths[0]
    if errors and not found:
        raise errors[0]
    fallbacks = {name: files.with_suffix(entry.fallback_suffix) for name, entry in FORMATS.items()}
    return found or {name: paths[0] for name, paths in fallbacks.items() if paths}


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

"""Annotations of kinds that are not read: they are recognized, so that the error says what they are and what helps."""

import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from retinanet.annotations.cvat_xml import is_cvat_video
from retinanet.annotations.files import SourceFiles, read_start
from retinanet.errors import AnnotationError

MAX_INSPECTED = 20  # files of one extension
NUMBER = r"-?\d+(\.\d+)?"


class OtherKind(NamedTuple):
    """A kind of annotations: the extensions of its files, a test of one, and how to convert them."""

    title: str
    suffixes: tuple[str, ...]
    is_kind: Callable[[SourceFiles, Path], bool]
    conversion: str


def _json_keys(*keys: str) -> Callable[[SourceFiles, Path], bool]:
    def test(files: SourceFiles, path: Path) -> bool:
        try:
            outline = files.json_outline(path)
        except AnnotationError:
            return False
        return outline is not None and set(keys) <= outline.keys

    return test


def _first_line(pattern: str) -> Callable[[SourceFiles, Path], bool]:
    """A test of the first line that is not empty and not one of DOTA's headers."""

    def test(_: SourceFiles, path: Path) -> bool:
        lines = [line.strip() for line in read_start(path).splitlines() if line.strip()]
        lines = [line for line in lines if not line.startswith(("imagesource:", "gsd:"))]
        return bool(lines) and re.fullmatch(pattern, lines[0]) is not None

    return test


def _any_file(_: SourceFiles, __: Path) -> bool:
    return True


COCO = "convert it to COCO"
OTHER_KINDS = (
    OtherKind("KITTI labels", (".txt",), _first_line(rf"[A-Za-z_]+ {NUMBER} {NUMBER}( {NUMBER}){{12,13}}"), COCO),
    OtherKind("DOTA labels", (".txt",), _first_line(rf"({NUMBER} ){{8}}[^\s]+ [012]"), COCO),
    OtherKind("VisDrone labels", (".txt",), _first_line(rf"{NUMBER}(,{NUMBER}){{7}},?"), COCO),
    OtherKind("WIDER FACE's list of boxes", (".txt",), _first_line(r"\S+--\S+\.jpg"), COCO),
    OtherKind("an Open Images table", (".csv",), _first_line(r"ImageID,.*LabelName.*XMin.*"), COCO),
    OtherKind("CreateML annotations", (".json",), _json_keys("image", "annotations"), COCO),
    OtherKind("BDD100K labels", (".json",), _json_keys("name", "labels"), "convert it with bdd100k.label.to_coco"),
    OtherKind("a SageMaker manifest", (".manifest", ".jsonl"), _first_line(r'\{.*"source-ref".*'), COCO),
    OtherKind("a Labelbox export", (".ndjson", ".jsonl"), _first_line(r'\{.*"data_row".*'), COCO),
    OtherKind("a Labelbox export", (".json",), _json_keys("Labeled Data"), COCO),
    OtherKind("a Labelbox export", (".json",), _json_keys("data_row"), COCO),
    OtherKind("a TFRecord file", (".tfrecord", ".tfrecords", ".record"), _any_file, "export as COCO or VOC instead"),
    OtherKind("CVAT for video", (".xml",), lambda _, path: is_cvat_video(path), 'export as "CVAT for images" or COCO'),
    OtherKind(
        "YOLO labels without class names",
        (".txt",),
        _first_line(rf"\d+( {NUMBER}(e-?\d+)?){{4,}}"),
        "add a classes.txt with one class name per line",
    ),
)


def recognize_other_kind(files: SourceFiles) -> str:
    """What the annotations are and how to convert them, for an error; empty if they are not recognized."""
    for kind in OTHER_KINDS:
        for path in islice(files.with_suffix(*kind.suffixes), MAX_INSPECTED):
            if kind.is_kind(files, path):
                return f"{path} is {kind.title}, which is not read; {kind.conversion}"
    return ""

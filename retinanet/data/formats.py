"""Which annotation format a folder holds, and what it says."""

from pathlib import Path

from retinanet.data.annotated import AnnotatedSet
from retinanet.data.coco_source import find_coco_files, read_coco_source
from retinanet.data.voc import read_voc
from retinanet.errors import AnnotationError


def read_source(root: Path, name: str = "auto") -> AnnotatedSet:
    """Read the pictures' annotations under `root`; name is voc, coco, or auto to look. Raises AnnotationError."""
    if not root.is_dir():
        raise AnnotationError(f"{root}: there is no such folder; run the download stage first")
    has_xml = next(root.rglob("*.xml"), None) is not None
    files = find_coco_files(root) if name == "coco" or (name == "auto" and not has_xml) else []
    if name == "voc" or (name == "auto" and has_xml):
        source = read_voc(root)
        what = "Pascal VOC annotations (.xml)"
    else:
        source = read_coco_source(root, files)
        what = "COCO annotations (.json with images, annotations and categories)"
    if not source.pictures and not source.skipped:
        raise AnnotationError(f"{root}: holds no {what}; check download.* and prepare.format in params.yaml")
    return source

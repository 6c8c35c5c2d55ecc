"""Reader of Pascal VOC: an XML file for each image."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from retinanet.annotations.files import SourceFiles, path_parts
from retinanet.annotations.pairing import image_folders, same_named_images
from retinanet.annotations.records import Box, Finding, SourceDataset, SourceImage, Xyxy, split_of_folders, splits_agree
from retinanet.annotations.shapes import hull, rotated_hull
from retinanet.annotations.voc_splits import official_splits
from retinanet.annotations.xml_file import parse_xml, starts_with_element, text_at
from retinanet.errors import AnnotationError

MAX_XML_INSPECTED = 100


def find_voc_files(files: SourceFiles) -> list[Path]:
    """The annotations among the first 100 XML files, as there may be many XML files of another kind."""
    return [path for path in files.with_suffix(".xml")[:MAX_XML_INSPECTED] if starts_with_element(path, "annotation")]


class VocAnnotation(NamedTuple):
    """What an XML file says of its image; path is that of the computer where it was labeled."""

    file_name: str
    path: str
    boxes: tuple[Box, ...]
    size: tuple[int, int] | None
    group: str | None


def read_voc(files: SourceFiles, group_column: str = "") -> SourceDataset:
    """Read every VOC annotation. Raises AnnotationError on invalid content.

    group_column is the path of an element of the annotation, for example source/database. An image is looked up by the
    name of its XML file, then by <filename>, which is often wrong in copied annotations. Coordinates are kept as
    written and taken as edges counted from 0. `difficult` objects become ignored regions (iscrowd). Splits are those
    of ImageSets, else of folders called like a split.
    """
    source = SourceDataset("voc")
    read = {path: _read_file(path, group_column) for path in files.with_suffix(".xml")}
    annotations = {path: annotation for path, annotation in read.items() if annotation}
    located = _locate_images(files, annotations)
    split_of, missing = official_splits(files, annotations)
    annotation_of: dict[Path, Path] = {}
    for xml, annotation in annotations.items():
        image = located.get(xml)
        if image is None:
            file_name = annotation.file_name or "a <filename>"
            source.skipped.append(Finding(str(xml), f"its image is missing: neither {xml.stem}.* nor {file_name}"))
            continue
        if image in annotation_of:
            raise AnnotationError(f"{xml}: {image} has two annotations, also in {annotation_of[image]}; remove one")
        annotation_of[image] = xml
        split = split_of.get(xml) if split_of else files.split_of_folder(xml) or files.split_of_folder(image)
        source.images.append(SourceImage(image, annotation.boxes, annotation.size, split, group=annotation.group))
    source.skipped += missing
    unannotated = sum(image not in annotation_of for image in files.images())
    if unannotated:
        source.remarks.append(f"{unannotated} images have no XML file and are left out")
    return source


def _read_file(xml: Path, group_column: str) -> VocAnnotation | None:
    """None for XML of another kind."""
    root = parse_xml(xml)
    if root.tag != "annotation":
        return None
    file_name, path = ((root.findtext(tag) or "").strip() for tag in ("filename", "path"))
    return VocAnnotation(file_name, path, _boxes(root, xml), _size(root), text_at(root, group_column))


def _locate_images(files: SourceFiles, annotations: Mapping[Path, VocAnnotation]) -> dict[Path, Path]:
    """{XML file: image}, by the name of the XML file, then by <filename> or the end of <path>."""
    folders = image_folders(files, annotations, files.images())
    located = {}
    for xml, same_named in same_named_images(folders, annotations, files.images()).items():
        suffix = Path(annotations[xml].file_name).suffix
        located[xml] = next((image for image in same_named if image.suffix == suffix), same_named[0])
    for xml, annotation in annotations.items():
        if xml in located:
            continue
        near = [xml.parent, *folders[xml.parent], *_siblings(files, xml.parent)]
        taken = set(located.values())
        # <filename> may lack the extension that <path> has.
        for name in (annotation.file_name, *path_parts(annotation.path)[-1:]):
            if name and xml not in located:
                # Without a folder of images to look in, the name may be anywhere.
                found = (
                    files.find(near, name) if folders[xml.parent] else files.locate([name], near, xml, taken).get(name)
                )
                located |= {} if found is None else {xml: found}
    return located


def _siblings(files: SourceFiles, folder: Path) -> list[Path]:
    """The folders beside a folder, unless both are called like different splits."""
    split = split_of_folders(files.parts(folder))
    beside = sorted(other for other in files.folders if other.parent == folder.parent and folder != files.root)
    return [other for other in beside if splits_agree(split, split_of_folders(files.parts(other)))]


def _size(annotation: ElementTree.Element) -> tuple[int, int] | None:
    try:
        width, height = (int(float(annotation.findtext(f"size/{side}") or 0)) for side in ("width", "height"))
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None  # some tools write 0


def _boxes(annotation: ElementTree.Element, xml: Path) -> tuple[Box, ...]:
    boxes = []
    for number, element in enumerate(annotation.iter("object"), start=1):
        if (element.findtext("deleted") or "0").strip() == "1":  # LabelMe keeps them
            continue
        name = (element.findtext("name") or "").strip()
        if not name:
            raise AnnotationError(f"{xml}: object {number} has no name; give it its class")
        difficult = (element.findtext("difficult") or "0").strip() == "1"
        boxes.append(Box(name, _xyxy(element, f"{xml}: object {number}"), difficult))
    return tuple(boxes)


def _xyxy(element: ElementTree.Element, location: str) -> Xyxy:
    """The box of an object: <bndbox>, else the box around its rotated box or polygon."""
    if element.find("bndbox") is None and element.find("robndbox") is not None:
        x, y, width, height, angle = _numbers(element, "robndbox", ("cx", "cy", "w", "h", "angle"), location)
        return rotated_hull(x, y, width, height, angle)
    if element.find("bndbox") is None and (polygon := element.find("polygon")) is not None:
        points = [node for node in polygon.iter() if len(node) == 0 and node.tag[:1] in "xy"]
        try:
            sides = {axis: [float(node.text or "") for node in points if node.tag[0] == axis] for axis in "xy"}
        except ValueError as error:
            raise AnnotationError(f"{location} has a polygon with a corner that is not a number; correct it") from error
        if points and len(sides["x"]) == len(sides["y"]):
            return hull(list(zip(sides["x"], sides["y"], strict=True)))
    left, top, right, bottom = _numbers(element, "bndbox", ("xmin", "ymin", "xmax", "ymax"), location)
    return left, top, right, bottom


def _numbers(element: ElementTree.Element, tag: str, sides: tuple[str, ...], location: str) -> list[float]:
    texts = [element.findtext(f"{tag}/{side}") for side in sides]
    try:
        return [float(text or "") for text in texts]
    except ValueError as error:
        count = {4: "four", 5: "five"}[len(sides)]
        raise AnnotationError(f"{location} has {tag} {texts}; it needs {count} numbers") from error

"""Reader of "CVAT for images": one XML file lists all images with their shapes."""

from math import radians
from pathlib import Path
from xml.etree import ElementTree

from retinanet.annotations.files import SourceFiles
from retinanet.annotations.listing import Listed, add_listed
from retinanet.annotations.records import SPLIT_NAMES, Box, SourceDataset, Xyxy
from retinanet.annotations.shapes import ellipse_hull, hull, rotated_hull
from retinanet.annotations.xml_file import parse_xml, starts_with_element
from retinanet.errors import AnnotationError

SHAPES = ("box", "polygon", "polyline", "ellipse", "mask")
NOT_READ = ("points", "cuboid", "skeleton")


def find_cvat_files(files: SourceFiles) -> list[Path]:
    """The XML files with an <annotations> element that has images."""
    return [path for path in files.with_suffix(".xml") if starts_with_element(path, "annotations") and _images(path)]


def read_cvat(files: SourceFiles, group_column: str = "") -> SourceDataset:
    """Read the images and the boxes around their shapes; an image's `subset` is its split.

    group_column is an attribute of <image>, for example task_id. Raises AnnotationError.
    """
    source = SourceDataset("cvat")
    listed_in: dict[Path, str] = {}
    for path in find_cvat_files(files):
        listed, not_read = [], []
        images = _images(path)
        for image in images:
            name = image.get("name", "")
            if not name:
                raise AnnotationError(f"{path}: image {image.get('id')} has no name; export it again")
            boxes = tuple(_box(shape, f"{path}: image {name!r}") for shape in image if shape.tag in SHAPES)
            split = SPLIT_NAMES.get(image.get("subset", "").lower())
            listed.append(Listed(name, boxes, _size(image), split, image.get(group_column)))
            not_read += [shape.tag for shape in image if shape.tag in NOT_READ]
        subsets = {image.get("subset", "") for image in images}
        folders = [path.parent, path.parent / "images", path.parent / "data", path.parent.parent / "data"]
        folders += [path.parent / "images" / subset for subset in sorted(subsets)]
        add_listed(source, files, path, folders, listed, listed_in)
        if not_read:
            source.remarks.append(f"{path}: {len(not_read)} shapes are not read: {', '.join(sorted(set(not_read)))}")
    return source


def is_cvat_video(path: Path) -> bool:
    """Whether an XML file is of the kind "CVAT for video": tracks over frames, without images."""
    return starts_with_element(path, "annotations") and parse_xml(path).find("track") is not None


def _images(path: Path) -> list[ElementTree.Element]:
    return parse_xml(path).findall("image")


def _size(image: ElementTree.Element) -> tuple[int, int] | None:
    width, height = image.get("width", ""), image.get("height", "")
    is_size = all(side.isdecimal() and len(side) < 9 for side in (width, height))
    return (int(width), int(height)) if is_size else None


def _box(shape: ElementTree.Element, location: str) -> Box:
    label = shape.get("label", "")
    if not label:
        raise AnnotationError(f"{location} has a {shape.tag} without a label; give it its class")
    try:
        return Box(label, _xyxy(shape))
    except (KeyError, ValueError) as error:
        raise AnnotationError(f"{location} has a {shape.tag} with a coordinate that is not a number") from error


def _xyxy(shape: ElementTree.Element) -> Xyxy:
    def number(name: str) -> float:
        return float(shape.attrib[name])

    if shape.tag == "box":
        left, top, right, bottom = (number(side) for side in ("xtl", "ytl", "xbr", "ybr"))
        if float(shape.get("rotation", 0)) == 0:
            return left, top, right, bottom
        center = (left + right) / 2, (top + bottom) / 2
        return rotated_hull(*center, right - left, bottom - top, radians(float(shape.attrib["rotation"])))
    if shape.tag == "ellipse":
        x, y, radius_x, radius_y = (number(name) for name in ("cx", "cy", "rx", "ry"))
        return ellipse_hull(x, y, radius_x, radius_y, radians(float(shape.get("rotation", 0))))
    if shape.tag == "mask":
        left, top = number("left"), number("top")
        return left, top, left + number("width"), top + number("height")
    points = [[float(side) for side in point.split(",")] for point in shape.attrib["points"].split(";")]
    if any(len(point) != 2 for point in points):
        raise ValueError
    return hull(points)

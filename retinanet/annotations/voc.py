"""Reader of Pascal VOC: an XML file for each image, official splits as lists of names."""

from collections import defaultdict
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from retinanet.annotations.paths import read_lines
from retinanet.annotations.records import SPLITS, Box, Finding, SourceDataset, SourceImage
from retinanet.dataset.coco_file import check_file_name
from retinanet.errors import AnnotationError
from retinanet.images.reading import IMAGE_SUFFIXES

IMAGE_FOLDERS = ("JPEGImages", "images", "Images")
MAX_XML_INSPECTED = 100


def find_voc_files(root: Path) -> list[Path]:
    """The annotations among the first 100 XML files under `root`, which may have many XML files of another kind."""
    return [path for path in islice(root.rglob("*.xml"), MAX_XML_INSPECTED) if looks_like_voc(path)]


def looks_like_voc(xml: Path) -> bool:
    """Whether the start of the file has an <annotation> element."""
    with open(xml, "rb") as file:
        return b"<annotation" in file.read(4096).replace(b"\0", b"")  # UTF-16 has zeros between the letters


def read_voc(root: Path, group_column: str = "") -> SourceDataset:
    """Read every VOC annotation under `root`. Raises AnnotationError on invalid content.

    group_column is the path of an element of the annotation, for example source/database. An image is looked up by the
    name of its XML file, then by <filename>, which is often wrong in copied annotations. Coordinates are kept as
    written and taken as edges counted from 0. `difficult` objects become ignored regions (iscrowd).
    """
    source = SourceDataset("voc")
    files = _files_by_folder(root)
    split_of = _official_splits(files)
    used: set[Path] = set()
    for xml in sorted(path for names in files.values() for path in names.values() if path.suffix.lower() == ".xml"):
        annotation = _parse(xml)
        if annotation.tag != "annotation":
            continue
        image = _locate(xml, annotation, files)
        split = split_of.get((xml.parent, xml.stem))
        if image is None:
            file_name = annotation.findtext("filename") or "a <filename>"
            source.skipped.append(Finding(str(xml), f"its image is missing: neither {xml.stem}.* nor {file_name}"))
        else:
            if image in used:
                raise AnnotationError(f"{xml}: {image} has two annotations; remove one")
            used.add(image)
            group = _text_at(annotation, group_column)
            source.images.append(SourceImage(image, _boxes(annotation, xml), _size(annotation), split, group=group))
    source.skipped += [
        Finding(str(folder / f"{stem}.xml"), f"listed in the official {split} split, but missing")
        for (folder, stem), split in split_of.items()
        if f"{stem}.xml" not in files.get(folder, {})
    ]
    unannotated = sum(
        path.suffix.lower() in IMAGE_SUFFIXES and path not in used
        for names in files.values()
        for path in names.values()
    )
    if unannotated:
        source.remarks.append(f"{unannotated} images have no XML file and are left out")
    return source


def _files_by_folder(root: Path) -> dict[Path, dict[str, Path]]:
    files: dict[Path, dict[str, Path]] = defaultdict(dict)
    for path in sorted(root.rglob("*")):
        if path.is_file():
            files[path.parent][path.name] = path
    return files


def _official_splits(files: dict[Path, dict[str, Path]]) -> dict[tuple[Path, str], str]:
    """{(folder of the XML file, stem): split}, from ImageSets/Main/*.txt beside Annotations."""
    splits: dict[tuple[Path, str], str] = {}
    for folder, names in files.items():
        if folder.parts[-2:] != ("ImageSets", "Main"):
            continue
        annotations = folder.parent.parent / "Annotations"
        present = [split for split in SPLITS if f"{split}.txt" in names]
        if present == ["test"] and "trainval.txt" in names:
            present = ["trainval", "test"]
        for split in present:
            for line in read_lines(names[f"{split}.txt"]):
                if not line.strip():
                    continue
                key = (annotations, line.strip())
                if key not in splits and f"{key[1]}.xml" not in files.get(annotations, {}):
                    key = (annotations, line.split()[0])  # lists of a class have a 1 or -1 after the name
                # prepare holds out val from trainval, as from an official train split without val.
                name = "train" if split == "trainval" else split
                if splits.setdefault(key, name) != name:
                    raise AnnotationError(
                        f"{folder}: {key[1]} is in the {splits[key]} and the {name} split; remove it from one"
                    )
    return splits


def _parse(xml: Path) -> ElementTree.Element:
    """The root element. Entity declarations are refused in any encoding: nested ones expand to gigabytes."""

    def refuse_entity(*_: object) -> None:
        raise AnnotationError(f"{xml}: has XML entities, which no annotation needs; remove them")

    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = refuse_entity
    parser.SkippedEntityHandler = refuse_entity
    try:
        parser.Parse(xml.read_bytes(), True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise AnnotationError(f"{xml}: broken XML ({error}); download or write the file again") from error


def _text_at(annotation: ElementTree.Element, element: str) -> str | None:
    """The text of the element at a path of tags; unlike findtext, any path is valid."""
    node: ElementTree.Element | None = annotation
    for tag in element.split("/"):
        node = next((child for child in node if child.tag == tag), None) if node is not None else None
    return node.text if node is not None else None


def _locate(xml: Path, annotation: ElementTree.Element, files: dict[Path, dict[str, Path]]) -> Path | None:
    folders = [xml.parent.parent / name for name in IMAGE_FOLDERS] + [xml.parent]
    file_name = (annotation.findtext("filename") or "").strip()
    same_stem = [
        names[xml.stem + suffix]
        for names in (files.get(folder, {}) for folder in folders)
        for suffix in _suffixes(file_name)
        if xml.stem + suffix in names
    ]
    if same_stem:
        return same_stem[0]
    if file_name:
        check_file_name(file_name, str(xml))
        for folder in folders:
            path = folder / file_name
            if path.name in files.get(path.parent, {}):
                return path
    return None


def _suffixes(file_name: str) -> list[str]:
    """Suffixes to try: first that of <filename>."""
    lower_case = sorted(IMAGE_SUFFIXES)
    return [Path(file_name).suffix, *lower_case, *(suffix.upper() for suffix in lower_case)]


def _size(annotation: ElementTree.Element) -> tuple[int, int] | None:
    try:
        width, height = (int(float(annotation.findtext(f"size/{side}") or 0)) for side in ("width", "height"))
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None  # some tools write 0


def _boxes(annotation: ElementTree.Element, xml: Path) -> tuple[Box, ...]:
    boxes = []
    for number, element in enumerate(annotation.iter("object"), start=1):
        name = (element.findtext("name") or "").strip()
        if not name:
            raise AnnotationError(f"{xml}: object {number} has no name; give it its class")
        sides = [element.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
        try:
            left, top, right, bottom = (float(side or "") for side in sides)
        except ValueError as error:
            raise AnnotationError(f"{xml}: object {number} has bndbox {sides}; it needs four numbers") from error
        difficult = (element.findtext("difficult") or "0").strip() == "1"
        boxes.append(Box(name, (left, top, right, bottom), difficult))
    return tuple(boxes)

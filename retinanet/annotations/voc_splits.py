"""Official splits of Pascal VOC: lists of names in ImageSets."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from retinanet.annotations.files import SourceFiles, read_lines
from retinanet.annotations.records import SPLIT_NAMES, SPLITS, TRAIN, Finding
from retinanet.errors import AnnotationError
from retinanet.images.reading import IMAGE_SUFFIXES


def official_splits(files: SourceFiles, annotations: Iterable[Path]) -> tuple[dict[Path, str], list[Finding]]:
    """The split of each XML file that is in a list, and a finding for each listed name without an XML file.

    Lists are ImageSets/Main/*.txt, or ImageSets/*.txt if there is no such folder, named like a split or, if there are
    none, like a class and a split (VoTT's cat_train.txt). Lists of other names (CVAT's default.txt) are not read.
    Raises AnnotationError if a name is in two splits.
    """
    lists = {folder.parent: folder for folder in files.folders if folder.name.lower() == "imagesets"}
    by_base: dict[Path, dict[str, Path]] = {}
    for xml in annotations:
        for base in xml.parents:
            if base in lists:
                by_base.setdefault(base, {})[_name(xml, base)] = xml
    splits: dict[Path, str] = {}
    missing: dict[Path, str] = {}
    for base, xmls in by_base.items():
        main = [folder for folder in files.folders if folder.parent == lists[base] and folder.name.lower() == "main"]
        for split, path in _lists(files, main or [lists[base]]):
            for line in filter(str.strip, read_lines(path)):
                # Lists of a class have a 1 or -1 after the name; VoTT writes the name with its extension.
                first = line.split()[0]
                names = line.strip(), first, first.removesuffix(_image_suffix(first))
                name = next((name for name in names if name in xmls), first)
                xml = xmls.get(name, base / "Annotations" / f"{name}.xml")
                if splits.setdefault(xml, split) != split:
                    raise AnnotationError(
                        f"{path.parent}: {name} is in the {splits[xml]} and the {split} split; remove it from one"
                    )
                if name not in xmls:
                    missing[xml] = split
    reasons = {xml: f"listed in the official {split} split, but missing" for xml, split in missing.items()}
    return splits, [Finding(str(xml), reason) for xml, reason in reasons.items()]


def _lists(files: SourceFiles, folders: Sequence[Path]) -> list[tuple[str, Path]]:
    """(split, list file) in the folders. trainval counts as train, from which prepare holds out val."""
    lists = [path for path in files.with_suffix(".txt") if path.parent in folders]
    found = [(SPLIT_NAMES[path.stem.lower()], path) for path in lists if path.stem.lower() in SPLIT_NAMES]
    if TRAIN not in {split for split, _ in found}:
        found += [(TRAIN, path) for path in lists if path.stem.lower() == "trainval"]
    if not found:
        of_classes = [(path.stem.lower().rpartition("_")[2], path) for path in lists]
        found = [(SPLIT_NAMES[name], path) for name, path in of_classes if name in SPLIT_NAMES]
    return sorted(found, key=lambda entry: SPLITS.index(entry[0]))


def _image_suffix(name: str) -> str:
    suffix = Path(name).suffix
    return suffix if suffix.lower() in IMAGE_SUFFIXES else ""


def _name(xml: Path, base: Path) -> str:
    """The name in a list: the path in its folder of annotations, without extension."""
    parts = xml.relative_to(base).with_suffix("").parts
    return "/".join(parts[1:] or parts)

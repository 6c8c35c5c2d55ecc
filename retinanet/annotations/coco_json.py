"""Reader of COCO JSON: any number of files, images near them, splits in the names of files or folders."""

from collections.abc import Iterable
from math import isfinite
from pathlib import Path

from retinanet.annotations.coco_normal import read_coco_export
from retinanet.annotations.files import SourceFiles
from retinanet.annotations.listing import Listed, add_listed
from retinanet.annotations.records import Box, SourceDataset, group_name, image_size
from retinanet.dataset.coco_file import is_number
from retinanet.errors import AnnotationError, first_of

SECTIONS = ("images", "annotations", "categories")


def find_coco_files(files: SourceFiles) -> list[Path]:
    """The JSON files with COCO's sections; beside instances_*.json no others (captions, key points) of the folder.

    Raises AnnotationError on broken JSON.
    """
    found = files.json_files(*SECTIONS)
    with_instances = {path.parent for path in found if path.name.startswith("instances_")}
    return [path for path in found if path.parent not in with_instances or path.name.startswith("instances_")]


def read_coco_source(files: SourceFiles, group_column: str = "") -> SourceDataset:
    """Read the COCO files; group_column is a key of an image's row.

    Categories that only group others and have no objects are left out. Raises AnnotationError on invalid or
    contradictory content.
    """
    contents = {path: read_coco_export(path) for path in find_coco_files(files)}
    source = SourceDataset("coco")
    grouping = _grouping_categories(contents.values())
    if grouping:
        names = first_of(sorted({name for _, name in grouping}))
        source.remarks.append(f"categories that only group others and have no objects are left out: {names}")
    category_ids: dict[str, int] = {}
    conflicts: list[str] = []
    listed_in: dict[Path, str] = {}
    splits = {path: files.split_named_by(path) if len(contents) > 1 else None for path in contents}
    for path, content in contents.items():
        categories = [category for category in content["categories"] if _key(category) not in grouping]
        conflicts += _merge_categories(category_ids, categories, path)
        class_names = {category["id"]: category["name"] for category in categories}
        boxes: dict[int, list[Box]] = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            boxes[annotation["image_id"]].append(_box(annotation, class_names))
        listed = [
            Listed(
                image["file_name"],
                tuple(boxes[image["id"]]),
                image_size(image.get("width"), image.get("height")),
                splits[path],
                group_name(image.get(group_column)),
                image["id"],
            )
            for image in content["images"]
        ]
        add_listed(source, files, path, _image_folders(files, path), listed, listed_in, not any(splits.values()))
    if conflicts:
        source.class_names = sorted(category_ids)
        source.remarks.append(
            f"classes are numbered by name, because files contradict each other: {first_of(conflicts)}"
        )
    else:
        source.category_ids = category_ids
    return source


def _key(category: dict) -> tuple[int, str]:
    return category["id"], category["name"]


def _grouping_categories(contents: Iterable[dict]) -> set[tuple[int, str]]:
    """(id, name) of the categories without objects whose name is the supercategory of another category."""
    used: set[int] = set()
    supercategories: dict[tuple[int, str], object] = {}
    for content in contents:
        used |= {annotation["category_id"] for annotation in content["annotations"]}
        supercategories |= {_key(category): category.get("supercategory") for category in content["categories"]}
    return {
        key
        for key in supercategories
        if key[0] not in used and any(other != key and above == key[1] for other, above in supercategories.items())
    }


def _merge_categories(category_ids: dict[str, int], categories: list[dict], path: Path) -> list[str]:
    """Add the categories of a file, and return how its ids contradict those of other files. Raises AnnotationError."""
    names = {category_id: name for name, category_id in category_ids.items()}
    conflicts = []
    file_ids: dict[str, int] = {}
    for category in categories:
        name, category_id = category["name"], category["id"]
        if name in file_ids:
            raise AnnotationError(
                f"{path}: categories {file_ids[name]} and {category_id} have the same name {name!r}; rename one"
            )
        file_ids[name] = category_id
        if names.get(category_id, name) != name:
            conflicts.append(f"{category_id} is {name} in {path.name} and {names[category_id]} elsewhere")
        elif category_ids.get(name, category_id) != category_id:
            conflicts.append(f"{name} is {category_id} in {path.name} and {category_ids[name]} elsewhere")
    category_ids |= file_ids
    return conflicts


def _box(annotation: dict, names: dict[int, str]) -> Box:
    x, y, width, height = (float(side) for side in annotation["bbox"])
    area = annotation.get("area")
    if not is_number(area) or not isfinite(area) or area <= 0:
        area = None  # use the area of the box
    return Box(
        names[annotation["category_id"]], (x, y, x + width, y + height), bool(annotation.get("iscrowd", 0)), area
    )


def _image_folders(files: SourceFiles, path: Path) -> list[Path]:
    """Where labeling tools put the images: beside the file, or in a folder named after the split or the subset."""
    folder, above = path.parent, path.parent.parent
    split = path.stem.removeprefix("instances_")
    folders = [folder, folder / "images", folder / "data", folder / split]
    if folder != files.root:
        folders += [above, above / "images", above / "data", above / split, above / "images" / split]
    return folders

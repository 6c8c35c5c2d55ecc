"""Reader of COCO JSON: any number of files, images near them, splits in the names of files or folders."""

from math import isfinite
from pathlib import Path

from retinanet.annotations.paths import find_file
from retinanet.annotations.records import TEST, TRAIN, VAL, Box, SourceDataset, SourceImage, listed_image
from retinanet.dataset.coco_file import is_number, read_coco_content, read_json
from retinanet.errors import AnnotationError


def find_coco_files(root: Path) -> list[Path]:
    """The annotation files under `root`: instances_*.json if there are any, else all JSON with COCO's sections.

    Raises AnnotationError on broken JSON.
    """
    files = sorted(path for path in root.rglob("*.json") if path.is_file())
    instances = [path for path in files if path.name.startswith("instances_")]
    return instances or [path for path in files if _looks_like_coco(path)]


def read_coco_source(root: Path, group_column: str = "") -> SourceDataset:
    """Read the COCO files under `root`; group_column is a key of an image's row.

    Raises AnnotationError on invalid or contradictory content.
    """
    files = find_coco_files(root)
    source = SourceDataset("coco")
    listed_in: dict[Path, str] = {}
    for path in files:
        content = read_coco_content(path)
        split = _split_named_by(path, root) if len(files) > 1 else None
        _merge_categories(source.category_ids, content, path)
        names = {category["id"]: category["name"] for category in content["categories"]}
        boxes: dict[int, list[Box]] = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            boxes[annotation["image_id"]].append(_box(annotation, names))
        for image in content["images"]:
            located = _locate(image["file_name"], path, root)
            file = listed_image(source, listed_in, located, image["file_name"], str(path))
            if file is None:
                continue
            group = image.get(group_column)
            source.images.append(
                SourceImage(
                    file,
                    tuple(boxes[image["id"]]),
                    _size(image),
                    split,
                    image["id"],
                    None if group is None else str(group),
                )
            )
    return source


def _looks_like_coco(path: Path) -> bool:
    content = read_json(path)
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()


def _split_named_by(path: Path, root: Path) -> str | None:
    for text in (path.stem.lower(), *(part.lower() for part in reversed(path.parent.relative_to(root).parts))):
        for split in (TRAIN, VAL, TEST):
            if split in text:
                return split
    return None


def _merge_categories(category_ids: dict[str, int], content: dict, path: Path) -> None:
    names = {category_id: name for name, category_id in category_ids.items()}
    file_ids: dict[str, int] = {}
    for category in content["categories"]:
        name, category_id = category["name"], category["id"]
        if name in file_ids:
            raise AnnotationError(
                f"{path}: categories {file_ids[name]} and {category_id} have the same name {name!r}; rename one"
            )
        file_ids[name] = category_id
        conflicts = []
        if names.get(category_id, name) != name:
            conflicts.append(f"{category_id} is {names[category_id]!r}")
        if category_ids.get(name, category_id) != category_id:
            conflicts.append(f"{name!r} is {category_ids[name]}")
        if conflicts:
            raise AnnotationError(
                f"{path}: category {category_id} is {name!r}, which contradicts another file "
                f"({' and '.join(conflicts)}); use one id for each name"
            )
    category_ids |= file_ids


def _size(image: dict) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None


def _box(annotation: dict, names: dict[int, str]) -> Box:
    x, y, width, height = (float(side) for side in annotation["bbox"])
    area = annotation.get("area")
    if not is_number(area) or not isfinite(area) or area <= 0:
        area = None  # use the area of the box
    return Box(
        names[annotation["category_id"]], (x, y, x + width, y + height), bool(annotation.get("iscrowd", 0)), area
    )


def _locate(file_name: str, path: Path, root: Path) -> Path | None:
    """Find the image beside the file, as labeling tools export it, or in a folder named after the split.

    cocodataset.org has such folders.
    """
    folder, above = path.parent, path.parent.parent
    split = path.stem.removeprefix("instances_")
    bases = [folder, folder / "images", folder / split]
    if folder != root:
        bases += [above, above / "images", above / split, above / "images" / split]
    return find_file(bases, file_name)

"""Reader of VoTT: an export of all assets, or a JSON file for each asset."""

from pathlib import Path
from typing import Any

from retinanet.annotations.files import SourceFiles, check_listed_name, read_json
from retinanet.annotations.listing import Listed, add_listed
from retinanet.annotations.records import Box, SourceDataset, Xyxy, group_name
from retinanet.dataset.coco_file import check_class_name, is_number
from retinanet.errors import AnnotationError


def find_vott_files(files: SourceFiles) -> list[Path]:
    """The exports or, if there are none, the files of single assets."""
    return files.json_files("assets", "tags") or files.json_files("asset", "regions")


def read_vott(files: SourceFiles, group_column: str = "") -> SourceDataset:
    """Read the boxes of each asset. group_column is a key of an asset. Raises AnnotationError."""
    source = SourceDataset("vott")
    listed_in: dict[Path, str] = {}
    for path in find_vott_files(files):
        content = read_json(path)
        assets = list(content["assets"].values()) if isinstance(content.get("assets"), dict) else [content]
        listed = []
        for entry in assets:
            entry = entry if isinstance(entry, dict) else {}
            asset, regions = entry.get("asset"), entry.get("regions", [])
            if not isinstance(asset, dict) or not isinstance(regions, list):
                raise AnnotationError(f"{path}: an asset has no name or no list of regions; export it again")
            check_listed_name(asset.get("name"), str(path))
            location = f"{path}: {asset['name']}"
            boxes = tuple(box for region in regions for box in _boxes(region, location))
            group = asset.get(group_column)
            listed.append(Listed(asset["name"], boxes, group=group_name(group)))
        folders = [path.parent, path.parent.parent, files.root]
        add_listed(source, files, path, folders, listed, listed_in)
    return source


def _boxes(region: Any, location: str) -> list[Box]:
    """A box for each tag of the region."""
    tags = region.get("tags") if isinstance(region, dict) else None
    if not isinstance(tags, list) or not tags:
        raise AnnotationError(f"{location} has a region without tags; give it its class")
    for tag in tags:
        check_class_name(tag, location)
    return [Box(tag, _xyxy(region.get("boundingBox"), location)) for tag in tags]


def _xyxy(box: Any, location: str) -> Xyxy:
    keys = ("left", "top", "width", "height")
    if not isinstance(box, dict) or not all(is_number(box.get(key)) for key in keys):
        raise AnnotationError(f"{location} has boundingBox {box!r}; it needs {', '.join(keys)}")
    left, top, width, height = (float(box[key]) for key in keys)
    return left, top, left + width, top + height

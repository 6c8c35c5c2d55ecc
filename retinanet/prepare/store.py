"""The prepared files: tiles as PNG, and a COCO dataset for each split."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from retinanet.annotations.records import SPLITS, Box, SourceDataset
from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.files import sha256_of
from retinanet.images.reading import STANDARD_READING, Reading, read_image
from retinanet.prepare.placement import Part

# Bytes; the names of tiles add the split and position to the image's base name, and a file name has at most 255.
MAX_STEM_BYTES = 150


@dataclass(frozen=True)
class Stored:
    """A part and the file with its pixels."""

    part: Part
    file_name: str
    sha256: str


def store_tiles(parts: list[Part], folder: Path, final: Path, reading: Reading = STANDARD_READING) -> list[Stored]:
    """Write the tiles as PNG into `folder`, which is renamed to `final` later. Images that are not cut are not copied.

    The order of the parts of an image, and of the images, is kept.
    """
    by_image: dict[str, list[Part]] = {}
    for part in parts:
        by_image.setdefault(part.image.name, []).append(part)
    stems = Counter(Path(name).stem for name in by_image)
    folder.mkdir()

    def store(image_parts: list[Part]) -> list[Stored]:
        image = image_parts[0].image
        tiles = [(part, part.region) for part in image_parts if part.region is not None]
        if not tiles:
            return [Stored(part, image.name, image.facts.sha256) for part in image_parts]
        pixels = read_image(image.source.file, reading)
        stem = image.source.file.stem
        if stems[stem] > 1 or len(os.fsencode(stem)) > MAX_STEM_BYTES:
            digest = hashlib.sha256(os.fsencode(image.name)).hexdigest()
            stem = f"{stem[:30]}-{digest[:8]}"
        stored_tiles = []
        for part, (left, top, right, bottom) in tiles:
            name = f"{stem}_{part.split}_{left:05}_{top:05}.png"
            Image.fromarray(pixels[top:bottom, left:right]).save(folder / name)
            stored_tiles.append(Stored(part, (final / name).as_posix(), sha256_of(folder / name)))
        return stored_tiles

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        results = pool.map(store, by_image.values())
        bar = tqdm(results, "cutting", len(by_image), disable=None)
        return [stored for image_tiles in bar for stored in image_tiles]


def split_datasets(
    stored: list[Stored], category_ids: dict[str, int], reading: Reading = STANDARD_READING
) -> dict[str, CocoDataset]:
    """The three datasets, all with the same categories.

    Image ids are those of the source if every image has a different one, else they count from 1 by file name.
    """
    stored = sorted(stored, key=lambda tile: tile.file_name)
    names = sorted(category_ids, key=category_ids.__getitem__)
    label_of = {name: label for label, name in enumerate(names)}
    sources = [tile.part.image.source for tile in stored]
    source_ids = [source.source_id for source in sources if source.source_id is not None]
    image_ids = source_ids if len(set(source_ids)) == len(stored) else range(1, len(stored) + 1)
    images: dict[str, list[ImageInfo]] = {split: [] for split in SPLITS}
    objects: dict[str, dict[int, Objects]] = {split: {} for split in SPLITS}
    for image_id, tile in zip(image_ids, stored, strict=True):
        facts, region, split = tile.part.image.facts, tile.part.region, tile.part.split
        width, height = (region.width, region.height) if region else (facts.width, facts.height)
        group = tile.part.image.source.group or (tile.part.image.name if region else None)
        images[split].append(ImageInfo(image_id, tile.file_name, width, height, group))
        objects[split][image_id] = _objects(tile.part.boxes, label_of)
    ids = tuple(category_ids[name] for name in names)
    return {split: CocoDataset(tuple(images[split]), tuple(names), ids, objects[split], reading) for split in SPLITS}


def numbered_categories(source: SourceDataset, parts: Iterable[Part]) -> dict[str, int]:
    """The source's category ids or, if it has none, 1..K in the order of the names of declared and used classes."""
    if source.category_ids:
        return source.category_ids
    names = sorted({box.class_name for part in parts for box in part.image.boxes} | set(source.class_names))
    return {name: number for number, name in enumerate(names, start=1)}


def split_statistics(dataset: CocoDataset) -> dict:
    """Numbers of images, negatives (images without an object), boxes per class, and crowds (not among the boxes)."""
    per_image = dataset.objects.values()
    counts = Counter(int(label) for objects in per_image for label in objects.labels[objects.is_single])
    return {
        "images": len(dataset.images),
        "negatives": sum(not objects.count for objects in per_image),
        "boxes": {name: counts[label] for label, name in enumerate(dataset.class_names)},
        "crowds": sum(len(objects) - objects.count for objects in per_image),
    }


def _objects(boxes: tuple[Box, ...], label_of: dict[str, int]) -> Objects:
    sides = np.array([box.xyxy for box in boxes], np.float32).reshape(-1, 4)
    box_areas = (sides[:, 2] - sides[:, 0]) * (sides[:, 3] - sides[:, 1])
    areas = [box_areas[row] if box.area is None else box.area for row, box in enumerate(boxes)]
    labels = np.array([label_of[box.class_name] for box in boxes], np.int64)
    return Objects(sides, labels, np.array([box.iscrowd for box in boxes], bool), np.array(areas, np.float32))

"""From parts in their splits to the three split files: tiles cut, ids given, boxes counted."""

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
from retinanet.images.reading import read_image
from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.placement import Part

# Bytes of a file's name that its tiles' names can hold, with their places added to it.
LONGEST_STEM = 150


@dataclass(frozen=True)
class Stored:
    """A part with the file that holds it."""

    part: Part
    file_name: str
    sha256: str


def store_tiles(parts: list[Part], folder: Path, final: Path) -> list[Stored]:
    """Write the tiles as PNG into `folder`, which will be called `final`. Order is kept; whole images stay put."""
    by_image: dict[str, list[Part]] = {}
    for part in parts:
        by_image.setdefault(_name(part.image), []).append(part)
    stems = Counter(Path(name).stem for name in by_image)
    folder.mkdir()

    def store(of_image: list[Part]) -> list[Stored]:
        image = of_image[0].image
        tiles = [(part, part.region) for part in of_image if part.region is not None]
        if not tiles:
            return [Stored(part, _name(image), image.facts.sha256) for part in of_image]
        pixels = read_image(image.source.file, image.facts.width * image.facts.height)
        stem = image.source.file.stem
        if stems[stem] > 1 or len(os.fsencode(stem)) > LONGEST_STEM:
            digest = hashlib.sha256(os.fsencode(_name(image))).hexdigest()
            stem = f"{stem[:30]}-{digest[:8]}"
        stored = []
        for part, (left, top, right, bottom) in tiles:
            name = f"{stem}_{part.split}_{left:05}_{top:05}.png"
            Image.fromarray(pixels[top:bottom, left:right]).save(folder / name)
            stored.append(Stored(part, (final / name).as_posix(), sha256_of(folder / name)))
        return stored

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        results = pool.map(store, by_image.values())
        bar = tqdm(results, "cutting", len(by_image), disable=None)
        return [stored for of_image in bar for stored in of_image]


def split_datasets(stored: list[Stored], category_ids: dict[str, int]) -> dict[str, CocoDataset]:
    """The three datasets, all with the same categories.

    Image ids are the source's where each image has its own, else counted from 1 in the order of file names.
    """
    stored = sorted(stored, key=lambda one: one.file_name)
    names = sorted(category_ids, key=category_ids.__getitem__)
    label_of = {name: label for label, name in enumerate(names)}
    sources = [one.part.image.source for one in stored]
    source_ids = [source.source_id for source in sources if source.source_id is not None]
    image_ids = source_ids if len(set(source_ids)) == len(stored) else range(1, len(stored) + 1)
    images: dict[str, list[ImageInfo]] = {split: [] for split in SPLITS}
    objects: dict[str, dict[int, Objects]] = {split: {} for split in SPLITS}
    for image_id, one in zip(image_ids, stored, strict=True):
        facts, region, split = one.part.image.facts, one.part.region, one.part.split
        width, height = (region.width, region.height) if region else (facts.width, facts.height)
        images[split].append(ImageInfo(image_id, one.file_name, width, height))
        objects[split][image_id] = _objects(one.part.boxes, label_of)
    ids = tuple(category_ids[name] for name in names)
    return {split: CocoDataset(tuple(images[split]), tuple(names), ids, objects[split]) for split in SPLITS}


def numbered_categories(source: SourceDataset, parts: Iterable[Part]) -> dict[str, int]:
    """The source's category ids, or, where it has none, 1..K by name: those it declares and those of usable boxes."""
    if source.category_ids:
        return source.category_ids
    names = sorted({box.class_name for part in parts for box in part.image.boxes} | set(source.class_names))
    return {name: number for number, name in enumerate(names, start=1)}


def split_statistics(dataset: CocoDataset) -> dict:
    """images, negatives (images without an object), boxes per class, and crowds, which are none of them."""
    everything = dataset.objects.values()
    counts = Counter(int(label) for objects in everything for label in objects.labels[objects.is_single])
    return {
        "images": len(dataset.images),
        "negatives": sum(not objects.count for objects in everything),
        "boxes": {name: counts[label] for label, name in enumerate(dataset.class_names)},
        "crowds": sum(len(objects) - objects.count for objects in everything),
    }


def _objects(boxes: tuple[Box, ...], label_of: dict[str, int]) -> Objects:
    sides = np.array([box.xyxy for box in boxes], np.float32).reshape(-1, 4)
    own = (sides[:, 2] - sides[:, 0]) * (sides[:, 3] - sides[:, 1])
    areas = [own[row] if box.area is None else box.area for row, box in enumerate(boxes)]
    labels = np.array([label_of[box.class_name] for box in boxes], np.int64)
    return Objects(sides, labels, np.array([box.iscrowd for box in boxes], bool), np.array(areas, np.float32))


def _name(image: CheckedImage) -> str:
    return image.source.file.as_posix()

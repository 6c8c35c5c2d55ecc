"""From checked pictures to the three split files: who goes where, tiles cut, ids given, figures counted."""

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from os import cpu_count
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from retinanet.data.annotated import SPLITS, TEST, TRAIN, VAL, Box
from retinanet.data.checks import CheckedPicture, refuse_leaks, same_bytes
from retinanet.data.coco import CocoDataset, Objects, Picture
from retinanet.data.files import sha256_of
from retinanet.data.images import read_picture
from retinanet.data.splits import split_by_name
from retinanet.data.tiles import Region, bands, boxes_inside, tiles


@dataclass(frozen=True)
class Part:
    """A picture, or the region of one that becomes a tile, in its split."""

    picture: CheckedPicture
    split: str
    boxes: tuple[Box, ...]
    region: Region | None = None  # None: whole


@dataclass(frozen=True)
class Stored:
    """A part with the file that holds it."""

    part: Part
    file_name: str
    sha256: str


def settle_official_splits(
    pictures: list[CheckedPicture], val_share: float, seed: int
) -> tuple[list[CheckedPicture], list[str]]:
    """Make what the source says about splits complete, and say how.

    Without a test split val serves as test, without val a share of train does; splits that leave one without training
    or evaluation data are forgotten. Raises AnnotationError when one picture is in two splits.
    """
    present = {picture.source.split for picture in pictures} - {None}
    if not present:
        return pictures, []
    if TRAIN not in present or len(present) == 1:
        remark = f"the source has no split but {', '.join(sorted(present))}: divided anew"
        return [_moved(picture, None) for picture in pictures], [remark]
    refuse_leaks(pictures)
    remarks = []
    without = sum(picture.source.split is None for picture in pictures)
    if without:
        pictures = [picture for picture in pictures if picture.source.split]
        remarks.append(f"{without} pictures are in none of the official splits and are left out")
    if TEST not in present:
        pictures = [_moved(picture, TEST) if picture.source.split == VAL else picture for picture in pictures]
        remarks.append("no official test split: the official val split is the test split")
    if present != {TRAIN, VAL, TEST}:
        ours = [picture for picture in pictures if picture.source.split == TRAIN]
        chosen = split_by_name(_groups(ours), val_share, 0, seed)
        pictures = [_moved(picture, chosen.get(_name(picture), picture.source.split)) for picture in pictures]
        remarks.append(f"no official val split is left: {val_share:.0%} of train are held out as val")
    return pictures, remarks


def assign_splits(
    pictures: list[CheckedPicture],
    val_share: float,
    test_share: float,
    seed: int,
    tile_size: int,
    tile_overlap: float,
    min_visible: float,
) -> list[Part]:
    """Give every picture, or every tile of a picture larger than tile_size (0: none is), its split.

    A large picture without an official split is divided among the three. Tiles overlap in train only, so that
    evaluation sees each pixel once.
    """
    large = {_name(p): bool(tile_size) and max(p.facts.width, p.facts.height) > tile_size for p in pictures}
    ours = [p for p in pictures if p.source.split is None and not large[_name(p)]]
    have_bands = any(p.source.split is None and large[_name(p)] for p in pictures)
    chosen = split_by_name(_groups(ours), val_share, test_share, seed, may_be_empty=have_bands)
    parts = []
    for picture in pictures:
        split = picture.source.split or chosen.get(_name(picture))
        if not large[_name(picture)]:
            parts.append(Part(picture, split, picture.boxes))
            continue
        width, height = picture.facts.width, picture.facts.height
        areas = {split: Region(0, 0, width, height)} if split else bands(width, height, val_share, test_share)
        for name, area in areas.items():
            for tile in tiles(area, tile_size, tile_overlap if name == TRAIN else 0):
                parts.append(Part(picture, name, boxes_inside(picture.boxes, tile, min_visible), tile))
    return parts


def store_tiles(parts: list[Part], folder: Path, final: Path) -> list[Stored]:
    """Write the tiles as PNG into `folder`, which will be called `final`. Order is kept; whole pictures stay put."""
    by_picture: dict[str, list[Part]] = {}
    for part in parts:
        by_picture.setdefault(_name(part.picture), []).append(part)
    stems = Counter(Path(name).stem for name in by_picture)
    folder.mkdir()

    def store(of_picture: list[Part]) -> list[Stored]:
        picture = of_picture[0].picture
        if of_picture[0].region is None:
            return [Stored(part, _name(picture), picture.facts.sha256) for part in of_picture]
        pixels = read_picture(picture.source.file, picture.facts.width * picture.facts.height)
        stem = picture.source.file.stem
        if stems[stem] > 1:
            stem += f"-{picture.facts.sha256[:8]}"
        stored = []
        for part in of_picture:
            left, top, right, bottom = part.region
            name = f"{stem}_{part.split}_{left:05}_{top:05}.png"
            Image.fromarray(pixels[top:bottom, left:right]).save(folder / name)
            stored.append(Stored(part, (final / name).as_posix(), sha256_of(folder / name)))
        return stored

    with ThreadPoolExecutor(min(4, cpu_count())) as pool:
        results = pool.map(store, by_picture.values())
        bar = tqdm(results, "cutting", len(by_picture), disable=None)
        return [stored for of_picture in bar for stored in of_picture]


def split_datasets(stored: list[Stored], category_ids: dict[str, int]) -> dict[str, CocoDataset]:
    """The three datasets, all with the same categories.

    Picture ids are the source's where each picture has its own, else counted from 1 in the order of file names.
    """
    stored = sorted(stored, key=lambda one: one.file_name)
    names = sorted(category_ids, key=category_ids.__getitem__)
    label_of = {name: label for label, name in enumerate(names)}
    source_ids = [one.part.picture.source.source_id for one in stored]
    keep_ids = None not in source_ids and len(set(source_ids)) == len(source_ids)
    picture_ids = source_ids if keep_ids else range(1, len(stored) + 1)
    pictures: dict[str, list[Picture]] = {split: [] for split in SPLITS}
    objects: dict[str, dict[int, Objects]] = {split: {} for split in SPLITS}
    for picture_id, one in zip(picture_ids, stored, strict=True):
        facts, region, split = one.part.picture.facts, one.part.region, one.part.split
        width, height = (region.width, region.height) if region else (facts.width, facts.height)
        pictures[split].append(Picture(picture_id, one.file_name, width, height))
        objects[split][picture_id] = _objects(one.part.boxes, label_of)
    ids = tuple(category_ids[name] for name in names)
    return {split: CocoDataset(tuple(pictures[split]), tuple(names), ids, objects[split]) for split in SPLITS}


def numbered_categories(category_ids: dict[str, int], pictures: Iterable[CheckedPicture]) -> dict[str, int]:
    """The source's category ids, or, where it has none, 1..K by name."""
    if category_ids:
        return category_ids
    names = sorted({box.class_name for picture in pictures for box in picture.boxes})
    return {name: number for number, name in enumerate(names, start=1)}


def split_figures(dataset: CocoDataset) -> dict:
    """pictures, negatives (pictures without an object), and boxes per class."""
    counts = Counter(int(label) for objects in dataset.objects.values() for label in objects.labels)
    return {
        "pictures": len(dataset.pictures),
        "negatives": sum(not len(objects) for objects in dataset.objects.values()),
        "boxes": {name: counts[label] for label, name in enumerate(dataset.class_names)},
    }


def _objects(boxes: tuple[Box, ...], label_of: dict[str, int]) -> Objects:
    sides = np.array([box.xyxy for box in boxes], np.float32).reshape(-1, 4)
    own = (sides[:, 2] - sides[:, 0]) * (sides[:, 3] - sides[:, 1])
    areas = [own[row] if box.area is None else box.area for row, box in enumerate(boxes)]
    labels = np.array([label_of[box.class_name] for box in boxes], np.int64)
    return Objects(sides, labels, np.array([box.iscrowd for box in boxes], bool), np.array(areas, np.float32))


def _groups(pictures: list[CheckedPicture]) -> list[list[str]]:
    copies = same_bytes(pictures)
    grouped = {id(picture) for group in copies for picture in group}
    alone = [[_name(picture)] for picture in pictures if id(picture) not in grouped]
    return [[_name(picture) for picture in group] for group in copies] + alone


def _name(picture: CheckedPicture) -> str:
    return picture.source.file.as_posix()


def _moved(picture: CheckedPicture, split: str | None) -> CheckedPicture:
    return replace(picture, source=replace(picture.source, split=split))

"""Assignment of images, and of the tiles of large ones, to splits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from retinanet.annotations.records import SPLITS, TEST, TRAIN, VAL, Box
from retinanet.errors import first_of
from retinanet.images.tiles import Region, Tiling, tiles
from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.cut import bands, boxes_inside
from retinanet.prepare.splits import SplitCandidate, draw_splits

# With as many groups of images, no image is divided among the splits.
MIN_UNDIVIDED = 10

# Groups of images that must share a split.
Linked = Sequence[Sequence[CheckedImage]]


@dataclass(frozen=True)
class Part:
    """An image, or the region of one that becomes a tile, in its split."""

    image: CheckedImage
    split: str
    boxes: tuple[Box, ...]
    region: Region | None = None  # None: the whole image


def complete_official_splits(
    images: list[CheckedImage], linked: Linked, val_share: float, seed: int
) -> tuple[list[CheckedImage], list[str]]:
    """Complete the official splits; also returns remarks that explain the changes.

    Without a test split, val becomes test. Without val, a share of train becomes val. Splits without train, or with
    nothing else, are ignored. linked: images that must share a split, unless their splits are official.
    """
    present = {image.source.split for image in images if image.source.split is not None}
    if not present:
        return images, []
    if TRAIN not in present or len(present) == 1:
        remark = f"the only official split is {', '.join(sorted(present))}: it is ignored"
        return [_moved(image, None) for image in images], [remark]
    remarks = _divided_groups(images)
    without = sum(image.source.split is None for image in images)
    if without:
        images = [image for image in images if image.source.split]
        remarks.append(f"{without} images are in no official split and are left out")
    if TEST not in present:
        images = [_moved(image, TEST) if image.source.split == VAL else image for image in images]
        remarks.append("no official test split: val is used as test")
    if present != {TRAIN, VAL, TEST}:
        train = [image for image in images if image.source.split == TRAIN]
        chosen = _draw(train, linked, val_share, 0, seed, {})
        images = [_moved(image, chosen.get(image.name, image.source.split)) for image in images]
        remarks.append(f"no official val split: {val_share:.0%} of train is held out as val")
    return images, remarks


def assign_splits(
    images: list[CheckedImage],
    linked: Linked,
    val_share: float,
    test_share: float,
    seed: int,
    tile_size: int,
    tile_overlap: float,
    min_visible: float,
) -> list[Part]:
    """Assign each image, or each tile of an image larger than tile_size px, to a split. 0: no tiles.

    A large image without an official split is divided among the three if there are fewer than MIN_UNDIVIDED groups of
    images to draw from, unless others share its group or look like it. Tiles overlap in train only, so that evaluation
    sees each pixel once. linked: images that must share a split, unless their splits are official.
    """
    tiling = Tiling(tile_size, tile_overlap)

    def parts_of(image: CheckedImage, areas: dict[str, Region]) -> list[Part]:
        if not tiling.cuts(image.facts.height, image.facts.width):
            return [Part(image, split, image.boxes) for split in areas]
        return [
            Part(image, split, boxes_inside(image.boxes, tile, min_visible), tile)
            for split, area in areas.items()
            for tile in tiles(area, tile_size, tile_overlap if split == TRAIN else 0)
        ]

    unassigned = [image for image in images if image.source.split is None]
    related = _related(unassigned, linked)
    is_divisible = len({_group(image) for image in unassigned}) < MIN_UNDIVIDED
    divided = {
        image.name: parts_of(image, bands(image.facts.width, image.facts.height, val_share, test_share))
        for image in unassigned
        if is_divisible and tiling.cuts(image.facts.height, image.facts.width) and image.name not in related
    }
    covered: dict[str, set[str]] = {split: set() for split in SPLITS}
    for part in (part for parts in divided.values() for part in parts):
        covered[part.split].update(box.class_name for box in part.boxes if not box.iscrowd)
    drawn = [image for image in unassigned if image.name not in divided]
    chosen = _draw(drawn, linked, val_share, test_share, seed, covered)
    parts: list[Part] = []
    for image in images:
        split = image.source.split or chosen.get(image.name, TRAIN)
        whole = Region(0, 0, image.facts.width, image.facts.height)
        parts += divided.get(image.name) or parts_of(image, {split: whole})
    return parts


def bands_remark(parts: Sequence[Part]) -> list[str]:
    """A remark that names the images which are divided among the splits, if there are any."""
    splits: dict[str, set[str]] = {}
    for part in parts:
        splits.setdefault(part.image.name, set()).add(part.split)
    divided = [name for name, image_splits in splits.items() if len(image_splits) > 1]
    if not divided:
        return []
    return [
        f"{len(divided)} large images are divided in bands among train, val and test, as there are fewer than "
        f"{MIN_UNDIVIDED} groups of images to draw from: {first_of(divided)}"
    ]


def _related(images: list[CheckedImage], linked: Linked) -> set[str]:
    """Names of the images that must share a split with another one."""
    groups = Counter(_group(image) for image in images)
    names = {image.name for image in images}
    linked_names = {image.name for group in linked for image in group if len(group) > 1}
    return {image.name for image in images if groups[_group(image)] > 1} | linked_names & names


def _draw(
    images: list[CheckedImage],
    linked: Linked,
    val_share: float,
    test_share: float,
    seed: int,
    covered: dict[str, set[str]],
) -> dict[str, str]:
    candidates = [
        SplitCandidate(p.name, _group(p), frozenset(b.class_name for b in p.boxes if not b.iscrowd)) for p in images
    ]
    names = {candidate.name for candidate in candidates}
    linked_names = [[name for name in (image.name for image in group) if name in names] for group in linked]
    linked_names = [group for group in linked_names if len(group) > 1]
    return draw_splits(candidates, val_share, test_share, seed, linked_names, covered)


def _divided_groups(images: list[CheckedImage]) -> list[str]:
    splits: dict[str, set[str]] = {}
    for image in images:
        splits.setdefault(_group(image), set()).add(image.source.split or TRAIN)
    divided = sorted(group for group, group_splits in splits.items() if len(group_splits) > 1)
    if not divided:
        return []
    names = first_of(divided)
    return [f"the official splits divide {len(divided)} groups, so test metrics are too optimistic: {names}"]


def _group(image: CheckedImage) -> str:
    return image.source.group or image.name


def _moved(image: CheckedImage, split: str | None) -> CheckedImage:
    return replace(image, source=replace(image.source, split=split))

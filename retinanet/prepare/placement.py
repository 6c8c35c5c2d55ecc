"""Assignment of images, and of the tiles of large ones, to splits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from retinanet.annotations.records import SPLITS, TEST, TRAIN, VAL, Box
from retinanet.images.tiles import Region, Tiling, tiles
from retinanet.prepare.checks import CheckedImage
from retinanet.prepare.cut import bands, boxes_inside
from retinanet.prepare.splits import Candidate, draw_splits

Together = Sequence[Sequence[CheckedImage]]


@dataclass(frozen=True)
class Part:
    """An image, or the region of one that becomes a tile, in its split."""

    image: CheckedImage
    split: str
    boxes: tuple[Box, ...]
    region: Region | None = None  # None: the whole image


def complete_official_splits(
    images: list[CheckedImage], together: Together, val_share: float, seed: int
) -> tuple[list[CheckedImage], list[str]]:
    """Complete the official splits; also returns remarks that explain the changes.

    Without a test split, val becomes test. Without val, a share of train becomes val. Splits without train, or with
    nothing else, are ignored. together: images that must share a split, unless their splits are official.
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
        ours = [image for image in images if image.source.split == TRAIN]
        chosen = _draw(ours, together, val_share, 0, seed, {})
        images = [_moved(image, chosen.get(_name(image), image.source.split)) for image in images]
        remarks.append(f"no official val split: {val_share:.0%} of train is held out as val")
    return images, remarks


def assign_splits(
    images: list[CheckedImage],
    together: Together,
    val_share: float,
    test_share: float,
    seed: int,
    tile_size: int,
    tile_overlap: float,
    min_visible: float,
) -> list[Part]:
    """Assign each image, or each tile of an image larger than tile_size px, to a split. 0: no tiles.

    A large image without an official split is divided among the three. Tiles overlap in train only, so that
    evaluation sees each pixel once. together: images that must share a split, unless their splits are official.
    """
    tiling = Tiling(tile_size, tile_overlap)
    large = {_name(p): tiling.cuts(p.facts.height, p.facts.width) for p in images}
    cut: dict[str, list[Part]] = {}
    for image in images:
        if large[_name(image)]:
            width, height = image.facts.width, image.facts.height
            official = image.source.split
            whole = Region(0, 0, width, height)
            areas = {official: whole} if official else bands(width, height, val_share, test_share)
            cut[_name(image)] = [
                Part(image, split, boxes_inside(image.boxes, tile, min_visible), tile)
                for split, area in areas.items()
                for tile in tiles(area, tile_size, tile_overlap if split == TRAIN else 0)
            ]
    covered: dict[str, set[str]] = {split: set() for split in SPLITS}
    for part in (part for parts in cut.values() for part in parts):
        covered[part.split].update(box.class_name for box in part.boxes if not box.iscrowd)
    ours = [p for p in images if p.source.split is None and not large[_name(p)]]
    chosen = _draw(ours, together, val_share, test_share, seed, covered)
    parts: list[Part] = []
    for image in images:
        uncut = Part(image, image.source.split or chosen.get(_name(image), TRAIN), image.boxes)
        parts += cut.get(_name(image), [uncut])
    return parts


def _draw(
    images: list[CheckedImage],
    together: Together,
    val_share: float,
    test_share: float,
    seed: int,
    covered: dict[str, set[str]],
) -> dict[str, str]:
    candidates = [
        Candidate(_name(p), _group(p), frozenset(b.class_name for b in p.boxes if not b.iscrowd)) for p in images
    ]
    names = {candidate.name for candidate in candidates}
    linked = [[name for name in map(_name, group) if name in names] for group in together]
    return draw_splits(candidates, val_share, test_share, seed, [group for group in linked if len(group) > 1], covered)


def _divided_groups(images: list[CheckedImage]) -> list[str]:
    splits: dict[str, set[str]] = {}
    for image in images:
        splits.setdefault(_group(image), set()).add(image.source.split or TRAIN)
    divided = sorted(group for group, its_splits in splits.items() if len(its_splits) > 1)
    if not divided:
        return []
    names = ", ".join(divided[:5]) + (" …" if len(divided) > 5 else "")
    return [f"the official splits divide {len(divided)} groups, so test metrics are too optimistic: {names}"]


def _group(image: CheckedImage) -> str:
    return image.source.group or _name(image)


def _name(image: CheckedImage) -> str:
    return image.source.file.as_posix()


def _moved(image: CheckedImage, split: str | None) -> CheckedImage:
    return replace(image, source=replace(image.source, split=split))

"""Which picture, or which part of a large one, goes into which split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from retinanet.annotations.records import SPLITS, TEST, TRAIN, VAL, Box
from retinanet.images.tiles import Region, Tiling, tiles
from retinanet.prepare.checks import CheckedPicture
from retinanet.prepare.cut import bands, boxes_inside
from retinanet.prepare.splits import Drawn, draw_splits

Together = Sequence[Sequence[CheckedPicture]]


@dataclass(frozen=True)
class Part:
    """A picture, or the region of one that becomes a tile, in its split."""

    picture: CheckedPicture
    split: str
    boxes: tuple[Box, ...]
    region: Region | None = None  # None: whole


def settle_official_splits(
    pictures: list[CheckedPicture], together: Together, val_share: float, seed: int
) -> tuple[list[CheckedPicture], list[str]]:
    """Make what the source says about splits complete, and say how.

    Without a test split val serves as test, without val a share of train does; splits that leave one without training
    or evaluation data are forgotten. together: pictures that are not divided where the split is ours.
    """
    present = {picture.source.split for picture in pictures if picture.source.split is not None}
    if not present:
        return pictures, []
    if TRAIN not in present or len(present) == 1:
        remark = f"the source has no split but {', '.join(sorted(present))}: divided anew"
        return [_moved(picture, None) for picture in pictures], [remark]
    remarks = _divided_groups(pictures)
    without = sum(picture.source.split is None for picture in pictures)
    if without:
        pictures = [picture for picture in pictures if picture.source.split]
        remarks.append(f"{without} pictures are in none of the official splits and are left out")
    if TEST not in present:
        pictures = [_moved(picture, TEST) if picture.source.split == VAL else picture for picture in pictures]
        remarks.append("no official test split: the official val split is the test split")
    if present != {TRAIN, VAL, TEST}:
        ours = [picture for picture in pictures if picture.source.split == TRAIN]
        chosen = _draw(ours, together, val_share, 0, seed, {})
        pictures = [_moved(picture, chosen.get(_name(picture), picture.source.split)) for picture in pictures]
        remarks.append(f"no official val split is left: {val_share:.0%} of train are held out as val")
    return pictures, remarks


def assign_splits(
    pictures: list[CheckedPicture],
    together: Together,
    val_share: float,
    test_share: float,
    seed: int,
    tile_size: int,
    tile_overlap: float,
    min_visible: float,
) -> list[Part]:
    """Give every picture, or every tile of a picture larger than tile_size (0: none is), its split.

    A large picture without an official split is divided among the three. Tiles overlap in train only, so that
    evaluation sees each pixel once. together: pictures that are not divided where the split is ours.
    """
    tiling = Tiling(tile_size, tile_overlap)
    large = {_name(p): tiling.cuts(p.facts.height, p.facts.width) for p in pictures}
    cut: dict[str, list[Part]] = {}
    for picture in pictures:
        if large[_name(picture)]:
            width, height = picture.facts.width, picture.facts.height
            official = picture.source.split
            whole = Region(0, 0, width, height)
            areas = {official: whole} if official else bands(width, height, val_share, test_share)
            cut[_name(picture)] = [
                Part(picture, split, boxes_inside(picture.boxes, tile, min_visible), tile)
                for split, area in areas.items()
                for tile in tiles(area, tile_size, tile_overlap if split == TRAIN else 0)
            ]
    served: dict[str, set[str]] = {split: set() for split in SPLITS}
    for part in (part for parts in cut.values() for part in parts):
        served[part.split].update(box.class_name for box in part.boxes if not box.iscrowd)
    ours = [p for p in pictures if p.source.split is None and not large[_name(p)]]
    chosen = _draw(ours, together, val_share, test_share, seed, served)
    parts: list[Part] = []
    for picture in pictures:
        uncut = Part(picture, picture.source.split or chosen.get(_name(picture), TRAIN), picture.boxes)
        parts += cut.get(_name(picture), [uncut])
    return parts


def _draw(
    pictures: list[CheckedPicture],
    together: Together,
    val_share: float,
    test_share: float,
    seed: int,
    served: dict[str, set[str]],
) -> dict[str, str]:
    drawn = [Drawn(_name(p), _group(p), frozenset(b.class_name for b in p.boxes if not b.iscrowd)) for p in pictures]
    names = {one.name for one in drawn}
    here = [[name for name in map(_name, alike) if name in names] for alike in together]
    return draw_splits(drawn, val_share, test_share, seed, [alike for alike in here if len(alike) > 1], served)


def _divided_groups(pictures: list[CheckedPicture]) -> list[str]:
    splits: dict[str, set[str]] = {}
    for picture in pictures:
        splits.setdefault(_group(picture), set()).add(picture.source.split or TRAIN)
    divided = sorted(group for group, of_group in splits.items() if len(of_group) > 1)
    if not divided:
        return []
    names = ", ".join(divided[:5]) + (" …" if len(divided) > 5 else "")
    return [f"the official splits divide {len(divided)} groups, which makes test figures too good: {names}"]


def _group(picture: CheckedPicture) -> str:
    return picture.source.group or _name(picture)


def _name(picture: CheckedPicture) -> str:
    return picture.source.file.as_posix()


def _moved(picture: CheckedPicture, split: str | None) -> CheckedPicture:
    return replace(picture, source=replace(picture.source, split=split))

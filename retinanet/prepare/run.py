"""From raw data to prepared data: read and check it, then decide on tiles, divide it into splits and store it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from retinanet.annotations.formats import read_source
from retinanet.annotations.records import SPLITS, SourceDataset, rename_classes
from retinanet.config.download import Package
from retinanet.config.prepare import Prepare
from retinanet.dataset.coco import CocoDataset
from retinanet.errors import AnnotationError
from retinanet.images.preprocess import InputSize
from retinanet.images.reading import Reading
from retinanet.prepare.checks import Checked, check_all, refuse_many_skipped
from retinanet.prepare.copies import Copies, find_copies, refuse_leaks
from retinanet.prepare.decide import decide
from retinanet.prepare.decisions import Decisions
from retinanet.prepare.findings import Findings, collect_findings
from retinanet.prepare.near_duplicates import clusters
from retinanet.prepare.placement import Part, assign_splits, bands_remark, complete_official_splits
from retinanet.prepare.store import Stored, numbered_categories, split_datasets, store_tiles
from retinanet.prepare.warnings import cut_objects, exposure


class Readable(NamedTuple):
    """The source in the folder raw, its usable images and boxes, {old: new name} of the renamed classes, and how its
    image files are read."""

    raw: Path
    source: SourceDataset
    checked: Checked
    renamed: dict[str, str]
    reading: Reading


class Divided(NamedTuple):
    """The images or tiles of the splits, the duplicates among the images, what was decided, and remarks on it."""

    readable: Readable
    parts: list[Part]
    copies: Copies
    decisions: Decisions
    remarks: list[str]


class Prepared(NamedTuple):
    """The datasets by split, the files that they consist of, and the findings."""

    datasets: dict[str, CocoDataset]
    stored: list[Stored]
    findings: Findings


def read_and_check(raw: Path, settings: Prepare, package: Package | None) -> Readable:
    """Read the annotations in the folder raw and check every image and box; package: the source, if it is one.

    Raises AnnotationError.
    """
    source = read_source(raw, settings.format, settings.group_column, settings.group_pattern)
    names = source.all_class_names()
    of_package = package.rename_classes if package else {}
    renames = {old: new for old, new in of_package.items() if old in names} | settings.rename_classes
    renamed = {old: new for old, new in renames.items() if old in names}
    source = rename_classes(source, renames)
    reading = Reading(settings.max_pixels, settings.white_level)
    checked = check_all(source.images, reading)
    skipped = source.skipped + checked.skipped_images
    refuse_many_skipped(skipped, len(source.images) + len(source.skipped), settings.max_skipped)
    return Readable(raw, source, checked, renamed, reading)


def divide(readable: Readable, settings: Prepare, package: Package | None, input_size: InputSize) -> Divided:
    """Cut the images into tiles if their objects need it, and divide them into splits. Raises AnnotationError."""
    decisions, reason = decide(settings, package, input_size, readable.checked.images)
    copies = find_copies(readable.checked.images)
    refuse_leaks(copies.same)
    linked = copies.linked(with_near=settings.near_duplicates == "together")
    images, remarks = complete_official_splits(readable.checked.images, linked, settings.val_share, settings.split_seed)
    parts = assign_splits(
        images,
        linked,
        settings.val_share,
        settings.test_share,
        settings.split_seed,
        decisions.tile_size,
        settings.tile_overlap,
        settings.min_visible,
    )
    _refuse_empty_splits(readable.raw, parts, decisions.tile_size)
    remarks = [*reason, *remarks, *_copies_remark(copies, settings.near_duplicates), *bands_remark(parts)]
    return Divided(readable, parts, copies, decisions, remarks)


def store(divided: Divided, tiles: Path, final: Path) -> Prepared:
    """Write the tiles into `tiles`, a folder to create, which is renamed to `final` later."""
    readable, parts = divided.readable, divided.parts
    stored = store_tiles(parts, tiles, final, readable.reading)
    datasets = split_datasets(stored, numbered_categories(readable.source, parts), readable.reading)
    warnings = [
        *exposure(readable.checked.images, readable.reading.white_level),
        *cut_objects(parts, divided.decisions.tile_size),
    ]
    findings = collect_findings(
        readable.source, readable.checked, divided.copies, stored, divided.remarks, warnings, readable.renamed
    )
    return Prepared(datasets, stored, findings)


def _copies_remark(copies: Copies, near_duplicates: str) -> list[str]:
    pairs = [(str(first.source.file), str(second.source.file)) for first, second in copies.near]
    alike = len(clusters(pairs)) if near_duplicates == "together" else 0
    several = [f"{len(copies.same)} images have several files"] if copies.same else []
    several += [f"{alike} groups of images look the same"] if alike else []
    if not several:
        return []
    return [f"{' and '.join(several)}; each of them shares a split, unless its splits are official"]


def _refuse_empty_splits(raw: Path, parts: Sequence[Part], tile_size: int) -> None:
    cut = cut_objects(parts, tile_size)
    for split in SPLITS:
        split_parts = [part for part in parts if part.split == split]
        if all(box.iscrowd for part in split_parts for box in part.boxes):
            if cut:
                raise AnnotationError(f"{raw}: {split} has {len(split_parts)} images and no objects; {cut[0]}")
            raise AnnotationError(
                f"{raw}: {split} has {len(split_parts)} images and no objects; add data, or change "
                "prepare.val_share, test_share, split_seed or near_duplicates "
                "(`together` keeps images that look the same in one split)"
            )

"""Check data/raw, split it and tile large images: writes data/prepared and reports/prepare."""

from collections.abc import Mapping

from retinanet.annotations.formats import AUTO, FORMATS, read_source
from retinanet.annotations.records import SPLITS, SourceDataset, rename_classes
from retinanet.config.choices import check_choice
from retinanet.config.params import load_params
from retinanet.config.prepare import Prepare
from retinanet.dataset.coco import CocoDataset, write_coco
from retinanet.errors import AnnotationError, exit_on_error, first_of
from retinanet.files import new_folder, write_json
from retinanet.prepare.checks import Checked, check_all, refuse_many_skipped
from retinanet.prepare.copies import Copies, find_copies, refuse_leaks
from retinanet.prepare.findings import (
    MAX_NAMED,
    Findings,
    collect_findings,
    look_alikes_across_splits,
    missing_classes,
    write_findings,
)
from retinanet.prepare.near_duplicates import clusters
from retinanet.prepare.placement import Part, assign_splits, complete_official_splits
from retinanet.prepare.store import numbered_categories, split_datasets, split_statistics, store_tiles
from stages import paths


@exit_on_error
def main() -> None:
    params = load_params(paths.PARAMS)
    check_choice(paths.PARAMS, "prepare.format", params.prepare.format, [AUTO, *FORMATS])
    print(f"prepare: checking {paths.RAW} and splitting it into train, val and test", flush=True)
    source, checked, renamed = _read_and_check(params.prepare)
    copies, parts, remarks = _split(params.prepare, checked)
    with new_folder(paths.PREPARE_REPORT) as report, new_folder(paths.PREPARED) as folder:
        stored = store_tiles(parts, folder / "tiles", paths.PREPARED / "tiles")
        datasets = split_datasets(stored, numbered_categories(source, parts))
        for split, dataset in datasets.items():
            write_coco(dataset, folder / paths.SPLITS[split].name)
        write_json(folder / paths.IMAGE_INDEX.name, dict(sorted((tile.file_name, tile.sha256) for tile in stored)))
        findings = collect_findings(source, checked, copies, stored, remarks, renamed)
        write_findings(findings, report / paths.FINDINGS.name)
    _print_summary(findings, datasets)


def _read_and_check(params: Prepare) -> tuple[SourceDataset, Checked, dict[str, str]]:
    """The source with renamed classes, its usable images and boxes, and {old: new name} of the renamed classes."""
    source = read_source(paths.RAW, params.format, params.group_column, params.group_pattern)
    renamed = {old: new for old, new in params.rename_classes.items() if old in source.all_class_names()}
    source = rename_classes(source, params.rename_classes)
    checked = check_all(source.images, params.max_pixels)
    skipped = source.skipped + checked.skipped_images
    refuse_many_skipped(skipped, len(source.images) + len(source.skipped), params.max_skipped)
    return source, checked, renamed


def _split(params: Prepare, checked: Checked) -> tuple[Copies, list[Part], list[str]]:
    """The duplicates, the images or tiles with their splits, and remarks on the splits."""
    copies = find_copies(checked.images)
    refuse_leaks(copies.same)
    linked = copies.linked(with_near=params.near_duplicates == "together")
    images, remarks = complete_official_splits(checked.images, linked, params.val_share, params.split_seed)
    parts = assign_splits(
        images,
        linked,
        params.val_share,
        params.test_share,
        params.split_seed,
        params.tile_size,
        params.tile_overlap,
        params.min_visible,
    )
    _refuse_empty_splits(parts)
    return copies, parts, remarks + _copies_remark(copies, params.near_duplicates)


def _copies_remark(copies: Copies, near_duplicates: str) -> list[str]:
    pairs = [(str(first.source.file), str(second.source.file)) for first, second in copies.near]
    alike = len(clusters(pairs)) if near_duplicates == "together" else 0
    if not copies.same and not alike:
        return []
    return [
        f"{len(copies.same)} images have several files and {alike} groups of images look the same; each of them shares "
        "a split, unless its splits are official"
    ]


def _refuse_empty_splits(parts: list[Part]) -> None:
    for split in SPLITS:
        split_parts = [part for part in parts if part.split == split]
        if all(box.iscrowd for part in split_parts for box in part.boxes):
            raise AnnotationError(
                f"{paths.RAW}: {split} has {len(split_parts)} images and no objects; add data, or change "
                "prepare.val_share, test_share, split_seed or near_duplicates "
                "(`together` keeps images that look the same in one split)"
            )


def _print_summary(findings: Findings, datasets: Mapping[str, CocoDataset]) -> None:
    for remark in findings.remarks:
        print(f"prepare: {remark}")
    statistics = {split: split_statistics(dataset) for split, dataset in datasets.items()}
    counts = {split: values["boxes"] for split, values in statistics.items()}
    for warning in [*missing_classes(counts), *look_alikes_across_splits(findings)]:
        print(f"prepare: warning: {warning}")
    for split, values in statistics.items():
        largest_first = sorted(values["boxes"].items(), key=lambda row: -row[1])
        boxes = first_of([f"{count} {name}" for name, count in largest_first], MAX_NAMED)
        crowds = f"; {values['crowds']} ignored regions" if values["crowds"] else ""
        print(f"prepare: {split:5} {values['images']} images ({values['negatives']} without objects): {boxes}{crowds}")
    print(
        f"prepare: {paths.PREPARED} made from {findings.format}: {len(findings.skipped_images)} images and "
        f"{len(findings.skipped_boxes)} boxes skipped, {len(findings.clipped_boxes)} boxes clipped"
    )


if __name__ == "__main__":
    main()

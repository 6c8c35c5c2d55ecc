"""Check data/raw, split it and tile large images: writes data/prepared and reports/prepare."""

from collections.abc import Mapping, Sequence

from retinanet.annotations.formats import AUTO, FORMATS, read_source
from retinanet.annotations.records import SPLITS, SourceDataset, rename_classes
from retinanet.config.choices import check_choice
from retinanet.config.params import load_params
from retinanet.config.prepare import Prepare
from retinanet.config.settings import Params
from retinanet.dataset.coco import CocoDataset, write_coco
from retinanet.errors import AnnotationError, exit_on_error, first_of
from retinanet.files import new_folder, write_json
from retinanet.images.preprocess import InputSize
from retinanet.prepare.checks import Checked, check_all, refuse_many_skipped
from retinanet.prepare.copies import Copies, find_copies, refuse_leaks
from retinanet.prepare.decide import decide
from retinanet.prepare.decisions import write_decisions
from retinanet.prepare.findings import (
    Findings,
    collect_findings,
    look_alikes_across_splits,
    missing_classes,
    write_findings,
)
from retinanet.prepare.near_duplicates import clusters
from retinanet.prepare.placement import Part, assign_splits, bands_remark, complete_official_splits
from retinanet.prepare.store import numbered_categories, split_datasets, split_statistics, store_tiles
from retinanet.prepare.warnings import crowded_images, cut_objects, dark_images
from stages import paths


@exit_on_error
def main() -> None:
    params = load_params(paths.PARAMS)
    check_choice(paths.PARAMS, "prepare.format", params.prepare.format, [AUTO, *FORMATS])
    print(f"prepare: checking {paths.RAW} and splitting it into train, val and test", flush=True)
    source, checked, renamed = _read_and_check(params)
    input_size = InputSize(params.model.short_side, params.model.long_side)
    decisions, reason = decide(params.prepare, params.download.chosen_package(), input_size, checked.images)
    copies, parts, remarks = _split(params.prepare, decisions.tile_size, checked)
    with new_folder(paths.PREPARE_REPORT) as report, new_folder(paths.PREPARED) as folder:
        stored = store_tiles(parts, folder / "tiles", paths.PREPARED / "tiles")
        datasets = split_datasets(stored, numbered_categories(source, parts))
        for split, dataset in datasets.items():
            write_coco(dataset, folder / paths.SPLITS[split].name)
        write_json(folder / paths.IMAGE_INDEX.name, dict(sorted((tile.file_name, tile.sha256) for tile in stored)))
        write_decisions(decisions, folder / paths.DECISIONS.name)
        warnings = [*dark_images(checked.images), *cut_objects(parts, decisions.tile_size)]
        findings = collect_findings(source, checked, copies, stored, [*reason, *remarks], warnings, renamed)
        write_findings(findings, report / paths.FINDINGS.name)
    _print_summary(findings, datasets, crowded_images(parts, params.evaluate.detections_per_image))


def _read_and_check(params: Params) -> tuple[SourceDataset, Checked, dict[str, str]]:
    """The source with renamed classes, its usable images and boxes, and {old: new name} of the renamed classes."""
    settings, package = params.prepare, params.download.chosen_package()
    source = read_source(paths.RAW, settings.format, settings.group_column, settings.group_pattern)
    names = source.all_class_names()
    of_package = package.rename_classes if package else {}
    renames = {old: new for old, new in of_package.items() if old in names} | settings.rename_classes
    renamed = {old: new for old, new in renames.items() if old in names}
    source = rename_classes(source, renames)
    checked = check_all(source.images, settings.max_pixels)
    skipped = source.skipped + checked.skipped_images
    refuse_many_skipped(skipped, len(source.images) + len(source.skipped), settings.max_skipped)
    return source, checked, renamed


def _split(params: Prepare, tile_size: int, checked: Checked) -> tuple[Copies, list[Part], list[str]]:
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
        tile_size,
        params.tile_overlap,
        params.min_visible,
    )
    _refuse_empty_splits(parts, tile_size)
    return copies, parts, remarks + _copies_remark(copies, params.near_duplicates) + bands_remark(parts)


def _copies_remark(copies: Copies, near_duplicates: str) -> list[str]:
    pairs = [(str(first.source.file), str(second.source.file)) for first, second in copies.near]
    alike = len(clusters(pairs)) if near_duplicates == "together" else 0
    if not copies.same and not alike:
        return []
    return [
        f"{len(copies.same)} images have several files and {alike} groups of images look the same; each of them shares "
        "a split, unless its splits are official"
    ]


def _refuse_empty_splits(parts: list[Part], tile_size: int) -> None:
    cut = cut_objects(parts, tile_size)
    for split in SPLITS:
        split_parts = [part for part in parts if part.split == split]
        if all(box.iscrowd for part in split_parts for box in part.boxes):
            if cut:
                raise AnnotationError(f"{paths.RAW}: {split} has {len(split_parts)} images and no objects; {cut[0]}")
            raise AnnotationError(
                f"{paths.RAW}: {split} has {len(split_parts)} images and no objects; add data, or change "
                "prepare.val_share, test_share, split_seed or near_duplicates "
                "(`together` keeps images that look the same in one split)"
            )


def _print_summary(findings: Findings, datasets: Mapping[str, CocoDataset], warnings: Sequence[str]) -> None:
    for old, new in findings.renamed_classes.items():
        print(f"prepare: class {old} is renamed to {new}")
    for remark in findings.remarks:
        print(f"prepare: {remark}")
    statistics = {split: split_statistics(dataset) for split, dataset in datasets.items()}
    counts = {split: values["boxes"] for split, values in statistics.items()}
    warnings = [*findings.warnings, *warnings, *missing_classes(counts), *look_alikes_across_splits(findings)]
    for warning in warnings:
        print(f"prepare: warning: {warning}")
    for split, values in statistics.items():
        largest_first = sorted(values["boxes"].items(), key=lambda row: -row[1])
        boxes = first_of([f"{count} {name}" for name, count in largest_first])
        crowds = f"; {values['crowds']} ignored regions" if values["crowds"] else ""
        print(f"prepare: {split:5} {values['images']} images ({values['negatives']} without objects): {boxes}{crowds}")
    print(
        f"prepare: {paths.PREPARED} made from {findings.format}: {len(findings.skipped_images)} images and "
        f"{len(findings.skipped_boxes)} boxes skipped, {len(findings.clipped_boxes)} boxes clipped"
        + (f", {len(findings.equal_boxes)} equal boxes counted once" if findings.equal_boxes else "")
    )
    suspicious = len(findings.contradicting_boxes) + len(findings.unexpectedly_empty)
    if suspicious:
        print(f"prepare: {suspicious} annotations look like mistakes; reports/data/index.html lists them")


if __name__ == "__main__":
    main()

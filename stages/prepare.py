"""Check data/raw, divide it into splits and tile large images: data/prepared, and what was found in reports/prepare."""

from collections.abc import Mapping

from retinanet.annotations.formats import AUTO, FORMATS, read_source
from retinanet.annotations.records import SPLITS, TRAIN, SourceDataset, rename_classes
from retinanet.config.choices import check_choice
from retinanet.config.params import load_params
from retinanet.config.prepare import Prepare
from retinanet.dataset.coco import CocoDataset, write_coco
from retinanet.errors import AnnotationError, exit_on_error
from retinanet.files import new_folder, write_json
from retinanet.prepare.checks import Checked, check_all, refuse_many_skipped
from retinanet.prepare.copies import Copies, find_copies, look_alikes, refuse_leaks
from retinanet.prepare.findings import (
    Findings,
    collect_findings,
    look_alikes_across_splits,
    missing_classes,
    write_findings,
)
from retinanet.prepare.placement import Part, assign_splits, settle_official_splits
from retinanet.prepare.store import numbered_categories, split_datasets, split_statistics, store_tiles
from stages import paths

CLASSES_LISTED = 8  # of each split


@exit_on_error
def main() -> None:
    params = load_params(paths.PARAMS)
    check_choice(paths.PARAMS, "prepare.format", params.prepare.format, [AUTO, *FORMATS])
    print(f"prepare: {paths.RAW} checked and divided into train, val and test", flush=True)
    source, checked, renamed = _read(params.prepare)
    copies, parts, remarks = _divide(params.prepare, checked)
    with new_folder(paths.PREPARE_REPORT) as report, new_folder(paths.PREPARED) as folder:
        stored = store_tiles(parts, folder / "tiles", paths.PREPARED / "tiles")
        datasets = split_datasets(stored, numbered_categories(source, parts))
        for split, dataset in datasets.items():
            write_coco(dataset, folder / paths.split_json(split).name)
        write_json(folder / paths.IMAGE_INDEX.name, dict(sorted((one.file_name, one.sha256) for one in stored)))
        findings = collect_findings(source, checked, copies, stored, remarks, renamed)
        write_findings(findings, report / paths.FINDINGS.name)
    _print_summary(findings, datasets)


def _read(params: Prepare) -> tuple[SourceDataset, Checked, dict[str, str]]:
    """What the source says, what of it can be used, and the new class names by the old ones."""
    source = read_source(paths.RAW, params.format, params.group_column, params.group_pattern)
    renamed = {old: new for old, new in params.rename_classes.items() if old in source.all_class_names()}
    source = rename_classes(source, params.rename_classes)
    checked = check_all(source.images, params.max_pixels)
    skipped = source.skipped + checked.skipped_images
    refuse_many_skipped(skipped, len(source.images) + len(source.skipped), params.max_skipped)
    return source, checked, renamed


def _divide(params: Prepare, checked: Checked) -> tuple[Copies, list[Part], list[str]]:
    """Images that are there twice, the parts of all images in their splits, and what to say about the splits."""
    copies = find_copies(checked.images)
    refuse_leaks(copies.same)
    together = copies.together(with_near=params.near_duplicates == "together")
    images, remarks = settle_official_splits(checked.images, together, params.val_share, params.split_seed)
    parts = assign_splits(
        images,
        together,
        params.val_share,
        params.test_share,
        params.split_seed,
        params.tile_size,
        params.tile_overlap,
        params.min_visible,
    )
    _refuse_nothing(parts)
    return copies, parts, remarks + _said_of(copies, params.near_duplicates)


def _said_of(copies: Copies, near_duplicates: str) -> list[str]:
    alike = len(look_alikes(copies.near)) if near_duplicates == "together" else 0
    if not copies.same and not alike:
        return []
    return [
        f"images under several names: {len(copies.same)}; groups of others that look the same: {alike}; each group "
        "shares a split where the split is ours"
    ]


def _refuse_nothing(parts: list[Part]) -> None:
    for split in SPLITS:
        own = [part for part in parts if part.split == split]
        if all(box.iscrowd for part in own for box in part.boxes):
            raise AnnotationError(
                f"{paths.RAW}: {split} gets {len(own)} images and no object; add data, or change prepare.val_share, "
                "test_share, split_seed or near_duplicates (`together` keeps look-alikes in one split)"
            )


def _print_summary(findings: Findings, datasets: Mapping[str, CocoDataset]) -> None:
    for remark in findings.remarks:
        print(f"prepare: {remark}")
    statistics = {split: split_statistics(dataset) for split, dataset in datasets.items()}
    counts = {split: of_split["boxes"] for split, of_split in statistics.items()}
    for warning in [*missing_classes(counts, TRAIN), *look_alikes_across_splits(findings)]:
        print(f"prepare: warning: {warning}")
    for split, of_split in statistics.items():
        largest = sorted(of_split["boxes"].items(), key=lambda row: -row[1])[:CLASSES_LISTED]
        more = " …" * (len(of_split["boxes"]) > len(largest))
        boxes = ", ".join(f"{count} {name}" for name, count in largest) + more
        crowds = f"; {of_split['crowds']} ignored regions" if of_split["crowds"] else ""
        print(
            f"prepare: {split:5} {of_split['images']} images ({of_split['negatives']} without objects): {boxes}{crowds}"
        )
    print(
        f"prepare: {paths.PREPARED} made from {findings.format}: {len(findings.skipped_images)} images and "
        f"{len(findings.skipped_boxes)} boxes skipped, {len(findings.clipped_boxes)} boxes clipped"
    )


if __name__ == "__main__":
    main()

"""Check data/raw, divide it into splits and cut large pictures: data/prepared, and what was found in reports/data."""

from pathlib import Path

from retinanet.annotations.formats import read_source
from retinanet.annotations.records import SPLITS, AnnotatedSet, rename_classes
from retinanet.config.params import load_params
from retinanet.config.settings import Params, Prepare
from retinanet.data_report.coverage import AnchorSettings
from retinanet.data_report.page import write_page
from retinanet.data_report.statistics import Found, examine
from retinanet.dataset.coco import write_coco
from retinanet.errors import AnnotationError, exit_on_error
from retinanet.files import new_folder, write_json
from retinanet.prepare.checks import Checked, check_all, refuse_many_skipped
from retinanet.prepare.copies import Copies, find_copies, look_alikes, refuse_leaks
from retinanet.prepare.placement import Part, assign_splits, settle_official_splits
from retinanet.prepare.store import numbered_categories, split_datasets, store_tiles

RAW = Path("data/raw")
PREPARED = Path("data/prepared")
REPORT = Path("reports/data")
CLASSES_SAID = 8  # of each split


@exit_on_error
def main() -> None:
    params = load_params()
    print(f"prepare: {RAW} checked and divided into train, val and test", flush=True)
    source, checked, renamed = _read(params.prepare)
    copies, parts, remarks = _divide(params.prepare, checked)
    with new_folder(REPORT) as report, new_folder(PREPARED) as folder:
        stored = store_tiles(parts, folder / "tiles", PREPARED / "tiles")
        datasets = split_datasets(stored, numbered_categories(source, parts))
        for split, dataset in datasets.items():
            write_coco(dataset, folder / f"{split}.json")
        write_json(folder / "index.json", dict(sorted((one.file_name, one.sha256) for one in stored)))
        found = Found(source, checked, copies, stored, datasets, remarks, renamed)
        figures = _examine(found, params)
        write_json(report / "figures.json", figures)
        write_page(report, found, figures, lambda name: _as_it_lies(name, folder), params.prepare.min_coverage)
    _say(figures)


def _read(params: Prepare) -> tuple[AnnotatedSet, Checked, dict[str, str]]:
    """What the source says, what of it can be used, and the new class names by the old ones."""
    source = read_source(RAW, params.format, params.group_column, params.group_pattern)
    renamed = {old: new for old, new in params.rename_classes.items() if old in source.all_class_names()}
    source = rename_classes(source, params.rename_classes)
    checked = check_all(source.pictures, params.max_pixels)
    skipped = source.skipped + checked.skipped_pictures
    refuse_many_skipped(skipped, len(source.pictures) + len(source.skipped), params.max_skipped)
    return source, checked, renamed


def _divide(params: Prepare, checked: Checked) -> tuple[Copies, list[Part], list[str]]:
    """Pictures that are there twice, the parts of all pictures in their splits, and what to say about the splits."""
    copies = find_copies(checked.pictures)
    refuse_leaks(copies.same)
    together = copies.together(with_near=params.near_duplicates == "together")
    pictures, remarks = settle_official_splits(checked.pictures, together, params.val_share, params.split_seed)
    parts = assign_splits(
        pictures,
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
        f"pictures under several names: {len(copies.same)}; groups of others that look the same: {alike}; each group "
        "shares a split where the split is ours"
    ]


def _examine(found: Found, params: Params) -> dict:
    model = params.model
    anchors = model.anchors
    settings = AnchorSettings(
        tuple(anchors.sizes), anchors.scales_per_octave, tuple(anchors.ratios), anchors.convention
    )
    return examine(found, settings, model.short_side, model.long_side, params.prepare.min_coverage)


def _refuse_nothing(parts: list[Part]) -> None:
    for split in SPLITS:
        own = [part for part in parts if part.split == split]
        if all(box.iscrowd for part in own for box in part.boxes):
            raise AnnotationError(
                f"{RAW}: {split} gets {len(own)} pictures and no object; add data, or change prepare.val_share, "
                "test_share, split_seed or near_duplicates (`together` keeps look-alikes in one split)"
            )


def _as_it_lies(file_name: str, folder: Path) -> Path:
    """A prepared picture's file before the new folder has its name."""
    path = Path(file_name)
    return folder / path.relative_to(PREPARED) if path.is_relative_to(PREPARED) else path


def _say(figures: dict) -> None:
    for remark in figures["remarks"]:
        print(f"prepare: {remark}")
    for warning in figures["warnings"]:
        print(f"prepare: warning: {warning}")
    for split, of_split in figures["splits"].items():
        most = sorted(of_split["boxes"].items(), key=lambda row: -row[1])[:CLASSES_SAID]
        boxes = ", ".join(f"{count} {name}" for name, count in most) + " …" * (len(of_split["boxes"]) > len(most))
        crowds = f"; {of_split['crowds']} crowds or cut-off rests" if of_split["crowds"] else ""
        print(
            f"prepare: {split:5} {of_split['pictures']} pictures ({of_split['negatives']} without objects): "
            f"{boxes}{crowds}"
        )
    print(
        f"prepare: {PREPARED} made from {figures['format']}; {len(figures['skipped_pictures'])} pictures and "
        f"{len(figures['skipped_boxes'])} boxes skipped, {len(figures['clipped_boxes'])} boxes clipped: "
        f"{REPORT / 'index.html'}"
    )


if __name__ == "__main__":
    main()

"""Check data/raw, divide it into splits, cut large pictures, and write data/prepared and reports/prepare.json."""

from collections import Counter
from pathlib import Path

from retinanet.data.annotated import AnnotatedSet, rename_classes
from retinanet.data.checks import Checked, check_all, refuse_many_skipped
from retinanet.data.coco import write_coco
from retinanet.data.copies import find_copies, refuse_leaks
from retinanet.data.files import new_folder, write_json
from retinanet.data.formats import read_source
from retinanet.data.placement import assign_splits, settle_official_splits
from retinanet.data.prepared import Stored, numbered_categories, split_datasets, split_figures, store_tiles
from retinanet.errors import AnnotationError, exit_on_error
from retinanet.params import load_params

RAW = Path("data/raw")
PREPARED = Path("data/prepared")
REPORT = Path("reports/prepare.json")


@exit_on_error
def main() -> None:
    params = load_params().prepare
    print(f"prepare: {RAW} checked and divided into train, val and test", flush=True)
    source = read_source(RAW, params.format, params.group_column, params.group_pattern)
    source = rename_classes(source, params.rename_classes)
    checked = check_all(source.pictures, params.max_pixels)
    skipped = source.skipped + checked.skipped_pictures
    refuse_many_skipped(skipped, len(source.pictures) + len(source.skipped), params.max_skipped)
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
    with new_folder(PREPARED) as folder:
        stored = store_tiles(parts, folder / "tiles", PREPARED / "tiles")
        numbered = numbered_categories(source, pictures)
        datasets = split_datasets(stored, numbered)
        for split, dataset in datasets.items():
            write_coco(dataset, folder / f"{split}.json")
        write_json(folder / "index.json", {one.file_name: one.sha256 for one in sorted(stored, key=_file_name)})
        figures = {split: split_figures(dataset) for split, dataset in datasets.items()}
        _refuse_nothing(figures)
    missing = {
        split: [name for name, count in of_split["boxes"].items() if not count] for split, of_split in figures.items()
    }
    remarks = (
        source.remarks
        + remarks
        + [f"no {name} in {split}: left out of its figures" for split, names in missing.items() for name in names]
    )
    if copies.same:
        remarks.append(f"{len(copies.same)} pictures lie there under several names; copies are in one split")
    write_json(REPORT, _report(source, checked, figures, remarks, numbered))
    _say(figures, remarks, skipped, checked)


def _report(source: AnnotatedSet, checked: Checked, figures: dict, remarks: list[str], category_ids: dict) -> dict:
    traits = Counter(trait for picture in checked.pictures for trait in picture.facts.traits)
    return {
        "format": source.format,
        "category_ids": category_ids,
        "splits": figures,
        "remarks": remarks,
        "clipped_boxes": len(checked.clipped_boxes),
        "read_as_rgb": dict(sorted(traits.items())),
        "skipped_pictures": [list(skipped[:2]) for skipped in source.skipped + checked.skipped_pictures],
        "skipped_boxes": [list(skipped[:2]) for skipped in checked.skipped_boxes],
    }


def _refuse_nothing(figures: dict) -> None:
    for split, of_split in figures.items():
        if not sum(of_split["boxes"].values()):
            raise AnnotationError(
                f"{RAW}: {split} gets {of_split['pictures']} pictures and no object; add data, or change "
                "prepare.val_share, test_share or split_seed in params.yaml"
            )


def _say(figures: dict, remarks: list[str], skipped: list, checked: Checked) -> None:
    for remark in remarks:
        print(f"prepare: {remark}")
    for split, of_split in figures.items():
        boxes = ", ".join(f"{count} {name}" for name, count in of_split["boxes"].items())
        print(f"prepare: {split:5} {of_split['pictures']} pictures ({of_split['negatives']} without objects): {boxes}")
    print(
        f"prepare: {PREPARED} made; {len(skipped)} pictures and {len(checked.skipped_boxes)} boxes skipped, "
        f"{len(checked.clipped_boxes)} boxes clipped: {REPORT}"
    )


def _file_name(stored: Stored) -> str:
    return stored.file_name


if __name__ == "__main__":
    main()

"""The data's page: one HTML file with its pictures inside, which opens anywhere and needs nothing else."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from retinanet.annotations.records import SPLITS, TRAIN, Finding
from retinanet.data_report.coverage import THRESHOLDS
from retinanet.data_report.statistics import Found
from retinanet.data_report.thumbnails import look, sample
from retinanet.dataset.coco import CocoDataset
from retinanet.drawing import COLOURS, CROWD_COLOUR, CROWD_NAME
from retinanet.pages.render import css_colour, jpeg_url, render_page

SAMPLES = 4  # of each split
SHOWN = 24  # findings of a kind with their picture; the others are in figures.json
CHARTS = {
    "box_sides": "Objects by side, √(width · height) in px at the training size",
    "box_ratios": "Objects by height / width",
    "objects_a_picture": "Pictures by number of objects",
    "picture_sizes": "Pictures by size in px",
}


def write_page(folder: Path, found: Found, figures: Mapping, where: Callable[[str], Path], least: float) -> None:
    """Write index.html, and the samples once more as pictures/*.jpg. where: a prepared picture's file as it lies now.

    Classes of which anchors reach a share below `least` are marked.
    """
    samples = _samples(found.datasets, where)
    (folder / "pictures").mkdir()
    for one in samples:
        (folder / "pictures" / one["file"]).write_bytes(one["jpeg"])
    names = found.datasets[TRAIN].class_names
    legend = list(zip(names, map(css_colour, COLOURS), strict=False)) if len(names) <= len(COLOURS) else []
    if any(figures["splits"][split]["crowds"] for split in SPLITS):
        legend.append((CROWD_NAME, css_colour(CROWD_COLOUR)))
    text = render_page(
        "data",
        figures=figures,
        facts=_facts(figures),
        classes=_class_rows(figures, least),
        least=least,
        legend=legend,
        charts=[(title, _bars(figures["distributions"][key])) for key, title in CHARTS.items()],
        samples=[(one["title"], jpeg_url(one["jpeg"])) for one in samples],
        alike=_alike(figures),
        kinds=_kinds(found),
        shown=SHOWN,
    )
    (folder / "index.html").write_text(text, encoding="utf-8", errors="replace")


def _samples(datasets: Mapping[str, CocoDataset], where: Callable[[str], Path]) -> list[dict]:
    """Of each split, pictures with objects from all over it."""
    found = []
    for split, dataset in datasets.items():
        rows = [picture for picture in dataset.pictures if dataset.objects[picture.id].count]
        chosen = np.unique(np.linspace(0, len(rows) - 1, min(SAMPLES, len(rows))).round().astype(int))
        for number, row in enumerate(chosen, start=1):
            picture = rows[row]
            content = sample(where(picture.file_name), dataset.objects[picture.id], dataset.class_names)
            title = f"{split}: {Path(picture.file_name).name}, {dataset.objects[picture.id].count} objects"
            found.append({"file": f"{split}_{number}.jpg", "title": title, "jpeg": content})
    return found


def _facts(figures: Mapping) -> dict[str, str]:
    splits = figures["splits"]
    facts = {"format": figures["format"], "classes": str(len(figures["category_ids"]))}
    for split in SPLITS:
        boxes = sum(splits[split]["boxes"].values())
        facts[split] = f"{splits[split]['pictures']:,} pictures, {boxes:,} objects"
    if crowds := sum(splits[split]["crowds"] for split in SPLITS):
        facts["crowds or cut-off rests"] = f"{crowds:,}"
    for key in ("skipped_pictures", "skipped_boxes", "clipped_boxes"):
        facts[key.replace("_", " ")] = f"{len(figures[key]):,}"
    return facts


def _class_rows(figures: Mapping, least: float) -> list[dict]:
    covered = figures["anchor_coverage"]["classes"]
    counts = {name: [figures["splits"][split]["boxes"][name] for split in SPLITS] for name in figures["category_ids"]}
    most = max((sum(of_class) for of_class in counts.values()), default=0) or 1
    rows = []
    for label, (name, category_id) in enumerate(figures["category_ids"].items()):
        shares = [covered.get(name, {}).get(f"IoU {threshold}") for threshold in THRESHOLDS]
        rows.append(
            {
                "label": label,
                "category_id": category_id,
                "name": name,
                "counts": counts[name],
                "widths": [100 * count / most for count in counts[name]],
                "shares": ["none" if share is None else f"{share:.1%}" for share in shares],
                "poor": shares[0] is not None and shares[0] < least,
            }
        )
    return rows


def _bars(counts: Mapping[str, int]) -> list[tuple[str, int, float]]:
    most = max(counts.values(), default=0) or 1
    return [(name, count, 100 * count / most) for name, count in counts.items()]


def _alike(figures: Mapping) -> list[dict]:
    groups = []
    for kind, title in (("same_bytes", "the same file"), ("near_duplicates", "look the same")):
        # Those that lie in several splits come first.
        for group in islice(sorted(figures[kind], key=lambda one: len(set(one.values())) < 2), SHOWN // 2):
            pictures = [
                {"file": file, "split": split, "picture": _optional(look(file))}
                for file, split in islice(group.items(), 4)
            ]
            rest = len(group) - len(pictures)
            groups.append(
                {
                    "title": title,
                    "pictures": pictures,
                    "rest": rest,
                    "leak": len(set(group.values()) - {"left out"}) > 1,
                }
            )
    return groups


def _kinds(found: Found) -> list[tuple[str, str, int, list[dict]]]:
    checked = found.checked
    kinds = (
        ("Skipped pictures", "Left out of every split.", [*found.source.skipped, *checked.skipped_pictures]),
        ("Skipped boxes", "Left out; their pictures are kept.", checked.skipped_boxes),
        ("Clipped boxes", "Drawn as they were written; cut at the picture's edge.", checked.clipped_boxes),
    )
    return [(title, why, len(all_of_it), _cards(all_of_it)) for title, why, all_of_it in kinds]


def _cards(findings: Sequence[Finding]) -> list[dict]:
    return [
        {"file": one.file, "reason": one.reason, "picture": _optional(look(one.file, one.xyxy))}
        for one in findings[:SHOWN]
    ]


def _optional(content: bytes | None) -> str:
    return jpeg_url(content) if content else ""

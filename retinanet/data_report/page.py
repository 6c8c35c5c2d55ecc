"""The data report as one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from retinanet.annotations.records import SPLITS, TRAIN, Finding
from retinanet.data_report.coverage import THRESHOLDS
from retinanet.data_report.thumbnails import sample, thumbnail
from retinanet.dataset.coco import CocoDataset
from retinanet.drawing import COLORS, IGNORED_COLOR, IGNORED_NAME
from retinanet.images.reading import Reading
from retinanet.images.sampling import evenly_spaced
from retinanet.pages.render import css_color, jpeg_url, render_page
from retinanet.prepare.findings import FINDING_LISTS, Findings

SAMPLES = 4  # of each split
MAX_SHOWN = 24  # findings of a kind that are shown; all are in statistics.json
CHARTS = {
    "box_sides": "Objects by side, √(width · height) in px at the training size",
    "box_ratios": "Objects by height / width",
    "objects_per_image": "Images by number of objects",
    "image_sizes": "Images by size in px",
}


def write_page(
    folder: Path,
    findings: Findings,
    datasets: Mapping[str, CocoDataset],
    statistics: Mapping,
    min_coverage: float,
) -> None:
    """Write index.html, and its samples also as images/*.jpg.

    Classes with an anchor coverage at IoU 0.5 below min_coverage are highlighted.
    """
    samples = _samples(datasets)
    (folder / "images").mkdir()
    for drawn in samples:
        (folder / "images" / drawn["file"]).write_bytes(drawn["jpeg"])
    names, reading = datasets[TRAIN].class_names, datasets[TRAIN].reading
    legend = list(zip(names, map(css_color, COLORS), strict=False)) if len(names) <= len(COLORS) else []
    if any(statistics["splits"][split]["crowds"] for split in SPLITS):
        legend.append((IGNORED_NAME, css_color(IGNORED_COLOR)))
    text = render_page(
        "data",
        statistics=statistics,
        facts=_facts(statistics),
        classes=_class_rows(statistics, min_coverage),
        min_coverage=min_coverage,
        legend=legend,
        charts=[(title, _bars(statistics["distributions"][key])) for key, title in CHARTS.items()],
        samples=[(drawn["title"], jpeg_url(drawn["jpeg"])) for drawn in samples],
        look_alikes=_look_alikes(statistics, reading),
        kinds=_kinds(findings, reading),
        max_shown=MAX_SHOWN,
    )
    (folder / "index.html").write_text(text, encoding="utf-8", errors="replace")


def _samples(datasets: Mapping[str, CocoDataset]) -> list[dict]:
    """SAMPLES images with objects of each split, evenly spaced."""
    samples = []
    for split, dataset in datasets.items():
        with_objects = [image for image in dataset.images if dataset.objects[image.id].count]
        for number, image in enumerate(evenly_spaced(with_objects, SAMPLES), start=1):
            content = sample(Path(image.file_name), dataset.objects[image.id], dataset.class_names, dataset.reading)
            title = f"{split}: {Path(image.file_name).name}, {dataset.objects[image.id].count} objects"
            samples.append({"file": f"{split}_{number}.jpg", "title": title, "jpeg": content})
    return samples


def _facts(statistics: Mapping) -> dict[str, str]:
    splits = statistics["splits"]
    facts = {"format": statistics["format"], "classes": str(len(statistics["category_ids"]))}
    for split in SPLITS:
        boxes = sum(splits[split]["boxes"].values())
        facts[split] = f"{splits[split]['images']:,} images, {boxes:,} objects"
    if ignored := sum(splits[split]["crowds"] for split in SPLITS):
        facts["ignored regions"] = f"{ignored:,}"
    for key in FINDING_LISTS:
        facts[key.replace("_", " ")] = f"{len(statistics[key]):,}"
    return facts


def _class_rows(statistics: Mapping, min_coverage: float) -> list[dict]:
    covered = statistics["anchor_coverage"]["classes"]
    counts = {
        name: [statistics["splits"][split]["boxes"][name] for split in SPLITS] for name in statistics["category_ids"]
    }
    max_count = max(map(sum, counts.values()), default=0) or 1
    rows = []
    for label, (name, category_id) in enumerate(statistics["category_ids"].items()):
        shares = [covered.get(name, {}).get(f"IoU {threshold}") for threshold in THRESHOLDS]
        rows.append(
            {
                "label": label,
                "category_id": category_id,
                "name": name,
                "counts": counts[name],
                "widths": [100 * count / max_count for count in counts[name]],
                "shares": ["n/a" if share is None else f"{share:.1%}" for share in shares],
                "poor": shares[0] is not None and shares[0] < min_coverage,
            }
        )
    return rows


def _bars(counts: Mapping[str, int]) -> list[tuple[str, int, float]]:
    max_count = max(counts.values(), default=0) or 1
    return [(name, count, 100 * count / max_count) for name, count in counts.items()]


def _look_alikes(statistics: Mapping, reading: Reading) -> list[dict]:
    groups = []
    for kind, title in (("same_bytes", "identical files"), ("near_duplicates", "look alike")):
        # Groups in several splits come first.
        for group in islice(sorted(statistics[kind], key=lambda group: len(set(group.values())) < 2), MAX_SHOWN // 2):
            images = [
                {"file": file, "split": split, "image": _optional(thumbnail(file, reading=reading))}
                for file, split in islice(group.items(), 4)
            ]
            groups.append(
                {
                    "title": title,
                    "images": images,
                    "others": len(group) - len(images),
                    "is_leak": len(set(group.values()) - {"left out"}) > 1,
                }
            )
    return groups


def _kinds(findings: Findings, reading: Reading) -> list[tuple[str, str, int, list[dict]]]:
    kinds = (
        ("Skipped images", "Not in any split.", findings.skipped_images),
        ("Skipped boxes", "Removed; their images are kept.", findings.skipped_boxes),
        ("Clipped boxes", "Shown as annotated; clipped to the image.", findings.clipped_boxes),
        ("Equal boxes", "Annotated more than once; counted once.", findings.equal_boxes),
        ("Contradicting boxes", "Two classes for what looks like one object; kept.", findings.contradicting_boxes),
        ("Images without objects", "Among images full of them: not annotated yet?", findings.unexpectedly_empty),
    )
    return [(title, note, len(found), _cards(found, reading)) for title, note, found in kinds]


def _cards(findings: Sequence[Finding], reading: Reading) -> list[dict]:
    return [
        {
            "file": finding.file,
            "reason": finding.reason,
            "image": _optional(thumbnail(finding.file, finding.xyxy, reading)),
        }
        for finding in findings[:MAX_SHOWN]
    ]


def _optional(content: bytes | None) -> str:
    return jpeg_url(content) if content else ""

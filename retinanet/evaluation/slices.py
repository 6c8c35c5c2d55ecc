"""Metrics by slice of the test set: by folder, group, image size, number of objects, or part of the file name."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath

import numpy as np

from retinanet.dataset.coco import CocoDataset, ImageInfo
from retinanet.evaluation.intervals import intervals, metric_values
from retinanet.evaluation.matches import Matches, unit_rows
from retinanet.evaluation.operating_points import class_rows

# A kind of slice with more parts says little about each.
MAX_PARTS = 20
SEVERAL = "several"
COLUMNS = ("slice", "part", "images", "objects", "AP50", "AP50_low", "AP50_high", "AP", "precision", "recall")
# What a slice needs to be called the worst.
MIN_OBJECTS = 20


def slice_table(
    matches: Matches, ground_truth: CocoDataset, thresholds: Sequence[float], pattern: str = ""
) -> list[dict]:
    """A row of COLUMNS for each slice; AP50_low and AP50_high are the edges of the 95% interval of AP50.

    The units of the matches are divided in each way that gives 2 to MAX_PARTS parts with objects; a group whose images
    are of several parts is in none of them. pattern is a regular expression for file names, whose first group is
    the part. precision and recall are means over the classes with objects, at the thresholds, (K,). A value without an
    interval has None as edges.
    """
    rows = []
    for name, part_of in _divisions(ground_truth, pattern).items():
        parts = _unit_parts(ground_truth, part_of, len(matches.images))
        of_parts = {part: matches.of_units(parts == part) for part in sorted({*parts} - {SEVERAL}, key=_first_number)}
        filled = {part: of_part for part, of_part in of_parts.items() if of_part.objects.any()}
        if 2 <= len(filled) <= MAX_PARTS:
            rows += [{"slice": name, "part": part} | _row(of_part, thresholds) for part, of_part in filled.items()]
    return rows


def worst_slice(rows: Sequence[Mapping]) -> Mapping | None:
    """The row with the lowest AP50 among those with at least MIN_OBJECTS objects, or None."""
    return min((row for row in rows if row["objects"] >= MIN_OBJECTS), key=lambda row: row["AP50"], default=None)


def _row(matches: Matches, thresholds: Sequence[float]) -> dict:
    interval, metrics = intervals(matches)["AP50"], metric_values(matches)
    has_objects: list[bool] = (matches.objects.sum(axis=0) > 0).tolist()
    classes = [row for row, exists in zip(class_rows(matches, thresholds), has_objects, strict=True) if exists]
    low, high = (None if interval.reason else round(edge, 4) for edge in (interval.low, interval.high))
    return {
        "images": int(matches.images.sum()),
        "objects": int(matches.objects.sum()),
        "AP50": round(interval.value, 4),
        "AP50_low": low,
        "AP50_high": high,
        "AP": round(metrics["AP"], 4),
    } | {name: round(float(np.mean([row[name] for row in classes])), 4) for name in ("precision", "recall")}


def _divisions(ground_truth: CocoDataset, pattern: str) -> dict[str, dict[int, str]]:
    """The part of each image, by its id, for each kind of slice."""
    images = ground_truth.images
    counts = [ground_truth.objects[image.id].count for image in images]
    sides = [round((image.width * image.height) ** 0.5) for image in images]
    kinds = {
        "folder": [PurePath(image.file_name).parent.name for image in images],
        "group": [image.group or "" for image in images],
        "image size": _sizes(images, sides),
        "objects in the image": _thirds(counts, ""),
    }
    if pattern:
        found = [re.search(pattern, image.file_name) for image in images]
        kinds["slice_pattern"] = [(match.group(1) or "") if match else "no match" for match in found]
    return {name: {image.id: part for image, part in zip(images, parts, strict=True)} for name, parts in kinds.items()}


def _sizes(images: Sequence[ImageInfo], sides: Sequence[int]) -> list[str]:
    sizes = [f"{image.width} x {image.height}" for image in images]
    return sizes if len(set(sizes)) <= 3 else _thirds(sides, " px")


def _thirds(values: Sequence[int], unit: str) -> list[str]:
    """The third of the values that each belongs to, as a range of values; equal values are in one part."""
    edges = np.unique(np.quantile(values, [1 / 3, 2 / 3], method="higher"))
    part_of = np.searchsorted(edges, values)
    members = [[value for value, other in zip(values, part_of, strict=True) if other == part] for part in part_of]
    ends = [dict.fromkeys((min(of_part), max(of_part))) for of_part in members]
    return [" to ".join(map(str, of_part)) + unit for of_part in ends]


def _first_number(part: str) -> tuple[int, str]:
    """The key to sort parts by: ranges by where they begin, and names alphabetically."""
    digits = re.match(r"\d*", part)
    return int(digits[0] or 0) if digits else 0, part


def _unit_parts(ground_truth: CocoDataset, part_of: Mapping[int, str], units: int) -> np.ndarray:
    """(U,) the part of each unit."""
    parts: list[set[str]] = [set() for _ in range(units)]
    for image_id, row in unit_rows(ground_truth).items():
        parts[row].add(part_of[image_id])
    return np.array([next(iter(of_unit)) if len(of_unit) == 1 else SEVERAL for of_unit in parts], object)

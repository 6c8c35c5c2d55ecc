"""Metrics by slice of the test set: by folder, group, image size, number of objects, or part of the file name.

A slice has a kind and a part: ("folder", "night").
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

import numpy as np

from retinanet.dataset.coco import CocoDataset, ImageInfo
from retinanet.evaluation.intervals import MIN_PAIRED_UNITS, Difference, differences, intervals, metric_values
from retinanet.evaluation.matches import Matches, unit_rows
from retinanet.evaluation.operating_points import class_rows

# A kind of slice with more parts says little about each.
MAX_PARTS = 20
SEVERAL = "several"
COLUMNS = ("slice", "part", "images", "objects", "AP50", "AP50_low", "AP50_high", "AP", "precision", "recall")
# What a slice needs to be called the worst.
MIN_OBJECTS = 20


def slices_of(ground_truth: CocoDataset, pattern: str = "") -> dict[tuple[str, str], np.ndarray]:
    """The mask (U,) bool of the units of each slice, by kind and part.

    The units are divided in each way that gives 2 to MAX_PARTS parts with objects; a group whose images are of several
    parts is in none of them. pattern is a regular expression for file names, whose first group is the part.
    """
    rows = unit_rows(ground_truth)
    objects = np.zeros(max(rows.values()) + 1, np.int64)
    for image_id, row in rows.items():
        objects[row] += ground_truth.objects[image_id].count
    masks: dict[tuple[str, str], np.ndarray] = {}
    for kind, part_of in _divisions(ground_truth, pattern).items():
        parts = _unit_parts(part_of, rows, len(objects))
        of_parts = {part: parts == part for part in sorted({*parts} - {SEVERAL}, key=_first_number)}
        filled = {(kind, part): mask for part, mask in of_parts.items() if objects[mask].any()}
        masks |= filled if 2 <= len(filled) <= MAX_PARTS else {}
    return masks


def slice_table(matches: Matches, thresholds: Sequence[float]) -> list[dict]:
    """A row of COLUMNS for each slice of the matches; AP50_low and AP50_high are the edges of the 95% interval of AP50.

    precision and recall are means over the classes with objects, at the thresholds, (K,). A value without an interval
    has None as edges.
    """
    return [
        {"slice": kind, "part": part} | _row(matches.of_units(mask), thresholds)
        for (kind, part), mask in matches.slices.items()
    ]


def slice_differences(new: Matches, old: Matches, metric: str) -> dict[tuple[str, str], Difference]:
    """The gain of a metric from `old` to `new`, two models on the same images, in each slice with an interval.

    metric is one of those of all classes that have intervals; its mean is over the classes that enough of the slice's
    units have, since a rarer class would leave most slices without an interval. The slices are those of `new` or, if it
    has none stored, of `old`.
    """
    found: dict[tuple[str, str], Difference] = {}
    for name, mask in (new.slices or old.slices).items():
        of_new, of_old = new.of_units(mask), old.of_units(mask)
        objects = of_new.objects * ((of_new.objects > 0).sum(axis=0) >= MIN_PAIRED_UNITS)
        if objects.any():
            row = differences(replace(of_new, objects=objects), replace(of_old, objects=objects))[metric]
            found |= {} if row.reason else {name: row}
    return found


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


def _unit_parts(part_of: Mapping[int, str], rows: Mapping[int, int], units: int) -> np.ndarray:
    """(U,) the part of each unit; rows are the units of the images."""
    parts: list[set[str]] = [set() for _ in range(units)]
    for image_id, row in rows.items():
        parts[row].add(part_of[image_id])
    return np.array([next(iter(of_unit)) if len(of_unit) == 1 else SEVERAL for of_unit in parts], object)

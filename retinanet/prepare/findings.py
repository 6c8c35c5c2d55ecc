"""Findings of prepare: reports/prepare/findings.json, from which the data report is made."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path

from retinanet.annotations.records import SPLITS, TRAIN, Finding, SourceDataset, Xyxy
from retinanet.errors import AnnotationError, first_of
from retinanet.files import write_text
from retinanet.prepare.checks import Checked
from retinanet.prepare.copies import Copies
from retinanet.prepare.store import Stored
from retinanet.prepare.suspicious import contradicting_boxes, unexpectedly_empty

FINDING_LISTS = (
    "skipped_images",
    "skipped_boxes",
    "clipped_boxes",
    "equal_boxes",
    "contradicting_boxes",
    "unexpectedly_empty",
)


@dataclass(frozen=True)
class Findings:
    """What prepare found in the source.

    renamed_classes: {old name: new name}. traits: {trait: number of images}, for images that are not plain 8-bit RGB.
    splits_of: {image file: its split, or the splits of its tiles}. same_bytes: groups of files with the same bytes.
    look_alikes: pairs of different files that look the same.
    """

    format: str
    renamed_classes: dict[str, str]
    remarks: list[str]
    warnings: list[str]
    skipped_images: list[Finding]
    skipped_boxes: list[Finding]
    clipped_boxes: list[Finding]
    equal_boxes: list[Finding]
    contradicting_boxes: list[Finding]
    unexpectedly_empty: list[Finding]
    traits: dict[str, int]
    splits_of: dict[str, str]
    same_bytes: list[list[str]]
    look_alikes: list[tuple[str, str]]


def collect_findings(
    source: SourceDataset,
    checked: Checked,
    copies: Copies,
    stored: Sequence[Stored],
    remarks: Sequence[str],
    warnings: Sequence[str],
    renamed_classes: Mapping[str, str],
) -> Findings:
    splits: dict[str, set[str]] = {}
    for tile in stored:
        splits.setdefault(str(tile.part.image.source.file), set()).add(tile.part.split)
    return Findings(
        format=source.format,
        renamed_classes=dict(renamed_classes),
        remarks=[*source.remarks, *remarks],
        warnings=list(warnings),
        skipped_images=[*source.skipped, *checked.skipped_images],
        skipped_boxes=checked.skipped_boxes,
        clipped_boxes=checked.clipped_boxes,
        equal_boxes=checked.equal_boxes,
        contradicting_boxes=contradicting_boxes(checked.images),
        unexpectedly_empty=unexpectedly_empty(checked.images),
        traits=dict(sorted(Counter(trait for image in checked.images for trait in image.facts.traits).items())),
        splits_of={file: " and ".join(s for s in SPLITS if s in file_splits) for file, file_splits in splits.items()},
        same_bytes=[[str(image.source.file) for image in group] for group in copies.same],
        look_alikes=[(str(pair.first.source.file), str(pair.second.source.file)) for pair in copies.near],
    )


def write_findings(findings: Findings, path: Path) -> None:
    content = asdict(findings)
    for key in FINDING_LISTS:
        content[key] = [_as_row(finding) for finding in getattr(findings, key)]
    # Escaped, so that file names that are not UTF-8 survive.
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_findings(path: Path) -> Findings:
    """Raises AnnotationError if the file is missing."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AnnotationError(f"{path}: {error.strerror}; run `dvc repro prepare`") from error
    for key in FINDING_LISTS:
        content[key] = [Finding(row["file"], row["reason"], _as_box(row.get("xyxy"))) for row in content[key]]
    return Findings(**content | {"look_alikes": [(a, b) for a, b in content["look_alikes"]]})


def missing_classes(splits: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A warning for each split that lacks objects of some classes; splits is {split: {class: number of objects}}."""
    warnings = []
    for split, counts in splits.items():
        missing = [name for name, count in counts.items() if not count]
        if missing:
            effect = "they cannot be learned" if split == TRAIN else "they get no metric"
            warnings.append(f"{split} has no object of these classes: {first_of(missing)}; {effect}")
    return warnings


def look_alikes_across_splits(findings: Findings) -> list[str]:
    """A warning if images that look the same are in different splits."""
    pairs = [
        f"{first} ({split}) and {second} ({other})"
        for first, second in findings.look_alikes
        if (split := findings.splits_of.get(first)) and (other := findings.splits_of.get(second)) and split != other
    ]
    if not pairs:
        return []
    count = "1 pair of images looks the same but is" if len(pairs) == 1 else f"{len(pairs)} pairs look the same but are"
    return [f"{count} in different splits: {first_of(pairs, separator='; ')}"]


def _as_row(finding: Finding) -> dict:
    row: dict[str, object] = {"file": finding.file, "reason": finding.reason}
    if finding.xyxy and all(isfinite(side) for side in finding.xyxy):
        row["xyxy"] = list(finding.xyxy)
    return row


def _as_box(sides: Iterable[float] | None) -> Xyxy | None:
    if sides is None:
        return None
    left, top, right, bottom = sides
    return left, top, right, bottom

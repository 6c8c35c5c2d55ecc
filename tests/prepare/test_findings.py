from pathlib import Path

import pytest

from retinanet.annotations.records import Finding
from retinanet.errors import AnnotationError
from retinanet.prepare.findings import (
    FINDING_LISTS,
    Findings,
    look_alikes_across_splits,
    missing_classes,
    read_findings,
    write_findings,
)

NAN = float("nan")


def findings(**changed) -> Findings:
    lists = (*FINDING_LISTS, "remarks", "warnings", "same_bytes", "look_alikes")
    empty = {key: [] for key in lists} | {"format": "coco", "renamed_classes": {}, "traits": {}, "splits_of": {}}
    return Findings(**empty | changed)


def test_findings_are_read_as_they_were_written(tmp_path: Path):
    written = findings(
        skipped_images=[Finding("a.png", "empty")],
        skipped_boxes=[Finding("b.png", "outside", (1.0, 2.0, 3.0, 4.0))],
        splits_of={"b\udcff.png": "train and val"},  # a file name that is not UTF-8
        look_alikes=[("a.png", "b.png")],
    )
    write_findings(written, tmp_path / "findings.json")
    assert read_findings(tmp_path / "findings.json") == written


def test_a_box_that_json_cannot_hold_is_left_out(tmp_path: Path):
    write_findings(findings(skipped_boxes=[Finding("a.png", "not finite", (0, 0, NAN, 1))]), tmp_path / "findings.json")
    assert read_findings(tmp_path / "findings.json").skipped_boxes == [Finding("a.png", "not finite")]


def test_missing_findings_name_the_command(tmp_path: Path):
    with pytest.raises(AnnotationError, match=r"findings.json: No such file or directory; run `dvc repro prepare`"):
        read_findings(tmp_path / "findings.json")


def test_missing_classes_by_split():
    counts = {"train": {"cat": 3, "dog": 0}, "val": {"cat": 1, "dog": 1}, "test": {"cat": 0, "dog": 0}}
    assert missing_classes(counts) == [
        "train has no object of these classes: dog; they cannot be learned",
        "test has no object of these classes: cat, dog; they get no metric",
    ]


def test_look_alikes_are_reported_only_across_splits():
    pairs = [("a", "b"), ("a", "c"), ("a", "left out")]
    found = findings(look_alikes=pairs, splits_of={"a": "train", "b": "train", "c": "val"})
    assert look_alikes_across_splits(found) == [
        "1 pair of images looks the same but is in different splits: a (train) and c (val)"
    ]
    assert look_alikes_across_splits(findings(look_alikes=pairs[:1], splits_of={"a": "train", "b": "train"})) == []

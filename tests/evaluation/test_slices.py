from dataclasses import replace

import numpy as np
import pytest
from support.found_images import found_images
from support.scored_boxes import dataset, random_results, result

from retinanet.dataset.coco import CocoDataset
from retinanet.evaluation.coco_metrics import coco_metrics, evaluate
from retinanet.evaluation.matches import Matches, matches_of
from retinanet.evaluation.slices import COLUMNS, slice_differences, slice_table, slices_of, worst_slice

BOX = [0, 0, 100, 100]
THRESHOLDS = (0.3, 0.3)


def renamed(truth: CocoDataset, *names: str) -> CocoDataset:
    images = tuple(replace(image, file_name=name) for image, name in zip(truth.images, names, strict=True))
    return replace(truth, images=images)


def table(truth: CocoDataset, rows: list[dict], pattern: str = "") -> list[dict]:
    return slice_table(matches_of(evaluate(truth, rows), truth, slices_of(truth, pattern)), THRESHOLDS)


def part_of(rows: list[dict], kind: str) -> dict[str, dict]:
    return {row["part"]: row for row in rows if row["slice"] == kind}


def test_folders_are_slices():
    """The object in folder day is found, that in folder night is missed."""
    truth = renamed(dataset([(BOX, 0)], [(BOX, 0)]), "a/day/1.png", "a/night/2.png")
    slices = part_of(table(truth, [result(1, BOX, 0, 0.9)]), "folder")
    assert set(slices["day"]) == set(COLUMNS)
    assert [(name, row["images"], row["objects"]) for name, row in slices.items()] == [("day", 1, 1), ("night", 1, 1)]
    assert [(row["AP50"], row["precision"], row["recall"]) for row in slices.values()] == [(1, 1, 1), (0, 0, 0)]
    assert slices["day"]["AP50_low"] is None  # too few images for an interval


def test_metrics_of_a_part_are_those_of_its_images_alone():
    truth, rows = random_results(3, images=60)
    truth = renamed(truth, *(f"{'left' if i % 3 else 'right'}/{i}.png" for i in range(60)))
    images = tuple(image for image in truth.images if image.file_name.startswith("left"))
    alone = replace(truth, images=images, objects={image.id: truth.objects[image.id] for image in images})
    expected = coco_metrics(alone, [row for row in rows if row["image_id"] in alone.objects])
    row = part_of(table(truth, rows), "folder")["left"]
    assert (row["AP50"], row["AP"]) == pytest.approx((expected["AP50"], expected["AP"]), abs=1e-4)


def test_a_pattern_names_the_part():
    truth = renamed(dataset([(BOX, 0)], [(BOX, 0)], [(BOX, 0)]), "cam1_a.png", "cam2_b.png", "other.png")
    assert set(part_of(table(truth, [], r"(cam\d)_"), "slice_pattern")) == {"cam1", "cam2", "no match"}


def test_groups_are_slices_and_are_in_no_slice_that_divides_them():
    truth = dataset(*[[(BOX, 0)]] * 4, groups=("x", "x", "y", "z"))
    rows = table(renamed(truth, "a/1.png", "b/2.png", "a/3.png", "b/4.png"), [])
    assert {part: row["images"] for part, row in part_of(rows, "group").items()} == {"x": 2, "y": 1, "z": 1}
    assert {part: row["images"] for part, row in part_of(rows, "folder").items()} == {"a": 1, "b": 1}


def test_images_are_divided_by_size_and_by_number_of_objects():
    truth = dataset(*[[(BOX, 0)] * number for number in (1, 1, 4, 5, 9, 9)])
    small, large = replace(truth.images[0], width=200, height=200), truth.images[1:]
    slices = table(replace(truth, images=(small, *large)), [])
    assert set(part_of(slices, "image size")) == {"200 x 200", "300 x 300"}
    assert [row["part"] for row in slices if row["slice"] == "objects in the image"] == ["1 to 4", "5 to 9"]


def test_ranges_are_in_order_and_a_single_number_is_no_range():
    truth = dataset(*[[(BOX, 0)] * number for number in (12, 12, 9, 9, 1, 1)])
    parts = [row["part"] for row in table(truth, []) if row["slice"] == "objects in the image"]
    assert parts == ["1 to 9", "12"]


def test_what_does_not_divide_the_images_is_no_slice():
    assert table(dataset([(BOX, 0)], [(BOX, 0)]), []) == []
    names = [f"{i}/a.png" for i in range(30)]
    assert part_of(table(renamed(dataset(*[[(BOX, 0)]] * 30), *names), []), "folder") == {}


def test_the_worst_slice_has_enough_objects():
    rows = [{"AP50": 0.1, "objects": 3}, {"AP50": 0.5, "objects": 40}, {"AP50": 0.7, "objects": 90}]
    assert worst_slice(rows) == {"AP50": 0.5, "objects": 40}
    assert worst_slice(rows[:1]) is None


def test_matches_of_some_units_keep_their_order():
    truth, rows = random_results(0, images=10)
    matches = matches_of(evaluate(truth, rows), truth)
    kept = np.arange(10) % 2 == 0
    half = matches.of_units(kept)
    assert half.images.tolist() == [1] * 5
    assert half.scores.tolist() == matches.scores[matches.units % 2 == 0].tolist()
    assert set(half.units.tolist()) <= set(range(5))


def by_turns(matches: Matches, *parts: str) -> Matches:
    """The images are in the folders by turns."""
    turn = np.arange(len(matches.images)) % len(parts)
    return replace(matches, slices={("folder", part): turn == i for i, part in enumerate(parts)})


def test_the_difference_of_a_slice_is_that_of_its_images():
    """Of 100 images, the one finds the first 60, the other the last 60: in each folder, 30 of 50."""
    old, new = found_images(60), by_turns(found_images(60, first=40), "day", "night")
    found = slice_differences(new, old, "AP50")
    assert list(found) == [("folder", "day"), ("folder", "night")]
    assert [row.value for row in found.values()] == pytest.approx([0, 0], abs=1e-9)
    assert {row.units for row in found.values()} == {50}
    assert slice_differences(old, new, "AP50").keys() == found.keys()  # if only the older run has stored its slices
    assert slice_differences(old, old, "AP50") == {}


@pytest.mark.parametrize(("images", "compared"), [(40, ["day", "night"]), (39, ["day"])])
def test_a_slice_needs_20_images_to_be_compared(images, compared):
    new = by_turns(found_images(images, images), "day", "night")
    assert [part for _, part in slice_differences(new, found_images(images // 2, images), "AP50")] == compared


def test_a_rare_class_does_not_keep_a_slice_from_being_compared():
    """Of 80 images, 78 have a cat and 2 have a dog; each folder has half of each. Cats are found, and were not."""
    old, new = found_images(0, 80, labels=2), by_turns(found_images(80, 80, labels=2), "day", "night")
    objects = np.zeros((80, 2), np.int64)
    objects[:78, 0], objects[78:, 1] = 1, 1
    cats = np.flatnonzero(new.units < 78)
    columns = {"labels": np.zeros(78, np.int64), "units": np.arange(78), "scores": new.scores[cats]}
    flags = {"is_true": new.is_true[:, cats], "is_ignored": new.is_ignored[:, cats]}
    new = replace(new, objects=objects, **columns, **flags)
    assert [row.value for row in slice_differences(new, replace(old, objects=objects), "AP50").values()] == [1, 1]

from dataclasses import replace

import numpy as np
import pytest
from support.found_images import found_images

from retinanet.evaluation.intervals import intervals
from retinanet.evaluation.matches import Matches
from retinanet.tracking.comparison import Evaluated, Gate, compare

GATE = Gate("AP50", floor=0.0)


def evaluated(matches: Matches) -> Evaluated:
    return Evaluated(intervals(matches)["AP50"].value, matches)


OLD = evaluated(found_images(50))


def test_a_gain_whose_interval_lies_above_0_is_better():
    verdict = compare(evaluated(found_images(70)), OLD, GATE)
    assert verdict.answer == "better"
    assert verdict.reason.startswith("it gains +0.18") and "(95% interval +0.1" in verdict.reason


def test_a_gain_that_may_be_chance_is_undecided_and_says_how_many_images_would_tell():
    """3 of 100 images more: the standard deviation of an image is 0.17, so 2.8^2 x 0.17^2 / 0.03^2 = 254 images."""
    verdict = compare(evaluated(found_images(53)), OLD, GATE)
    assert verdict.answer == "undecided"
    images = int(verdict.reason.split("about ")[1].split(" more")[0])
    assert 130 <= images <= 180
    assert verdict.reason.endswith("more test images would tell (power 80%)")


@pytest.mark.parametrize("found", [50, 45, 20])
def test_an_equal_or_worse_version_is_not_better(found):
    verdict = compare(evaluated(found_images(found)), OLD, GATE)
    assert verdict.answer == "not better"
    assert verdict.reason.startswith("it gains +0.0000" if found == 50 else "it gains -0.")


def test_a_gain_below_min_gain_is_not_better_although_it_is_certain():
    verdict = compare(evaluated(found_images(70)), OLD, GATE._replace(min_gain=0.3))
    assert (verdict.answer, verdict.reason.split("; ")[1]) == ("not better", "promote.min_gain is 0.3")


def test_a_version_that_loses_a_class_is_not_better():
    """120 images, cats and dogs by turns: the new version finds all cats and no dog, the old one a third of each."""
    all_cats = found_images(120, 120, labels=2)
    kept = all_cats.labels == 0
    columns = (all_cats.scores[kept], all_cats.labels[kept], all_cats.units[kept])
    flags = (all_cats.is_true[:, kept], all_cats.is_ignored[:, kept])
    new = evaluated(Matches(all_cats.class_names, all_cats.images, all_cats.objects, *columns, *flags))
    old = evaluated(found_images(40, 120, labels=2))
    assert new.value > old.value
    verdict = compare(new, old, GATE._replace(max_class_loss=0.05))
    assert verdict.answer == "not better"
    assert verdict.reason.startswith("AP50/dog changes by -0.3") and "promote.max_class_loss is 0.05" in verdict.reason


def day_and_night(found: int, nights: int = 40, first: int = 0) -> Evaluated:
    """200 images with an object, the first of them taken at night; `found` objects are found, from the first on."""
    night = np.arange(200) < nights
    slices = {("folder", "night"): night, ("folder", "day"): ~night}
    return evaluated(replace(found_images(found, 200, first), slices=slices))


@pytest.mark.parametrize(("nights", "answer"), [(40, "not better"), (19, "better")])
def test_a_better_version_that_loses_a_slice_is_not_better(nights, answer):
    """The new one finds all by day and none by night, the old one 100 from the first on; 19 images are too few."""
    new, old = day_and_night(200 - nights, nights, first=nights), day_and_night(100, nights)
    verdict = compare(new, old, GATE._replace(max_class_loss=0.05))
    assert verdict.answer == answer
    if answer == "not better":
        assert verdict.reason.startswith("AP50 of the slice folder: night changes by -1.0000 (98.33% interval -1.0000")
        # Both folders and the one class.
        assert verdict.reason.endswith("of 3 classes and slices; promote.max_class_loss is 0.05")


def test_a_slice_may_fall_by_what_is_allowed():
    new, old = day_and_night(160, first=40), day_and_night(100)
    assert compare(new, old, GATE._replace(max_class_loss=1)).answer == "better"


def test_the_loss_of_one_of_many_slices_needs_more_confidence():
    """By night 5 of 40 objects are lost: -0.125 with a standard error of 0.053, which is 2.36 of them."""
    new, old = evaluated(found_images(165, 200, first=5)), evaluated(found_images(40, 200))
    night = np.arange(200) < 40
    slices = {("folder", "night"): night}
    more = {("slice_pattern", str(camera)): np.arange(200) % 10 == camera for camera in range(10)}
    gate = GATE._replace(max_class_loss=0.0)
    few, many = (
        compare(Evaluated(new.value, replace(new.matches, slices=held)), old, gate) for held in (slices, slices | more)
    )
    assert few.answer == "not better" and few.reason.startswith("AP50 of the slice folder: night changes by -0.12")
    assert many.answer == "better"


def test_without_matches_or_with_few_images_a_gain_is_undecided_with_the_reason():
    verdict = compare(Evaluated(0.6), Evaluated(0.5), GATE)
    assert verdict == ("undecided", "it gains +0.1000, for which there is no interval on this test set")
    few = compare(evaluated(found_images(9, 10)), evaluated(found_images(3, 10)), GATE)
    assert few.answer == "undecided" and "it rests on 10 independent images or groups" in few.reason


def test_matches_of_another_test_set_are_not_compared():
    other = found_images(90, 101)
    assert "there is no interval" in compare(Evaluated(0.9, other), OLD, GATE).reason
    groups = found_images(90)
    images = groups.images.copy()
    images[0] = 2
    twice = Matches(
        groups.class_names,
        images,
        *[getattr(groups, n) for n in ("objects", "scores", "labels", "units")],
        groups.is_true,
        groups.is_ignored,
    )
    assert "there is no interval" in compare(Evaluated(0.9, twice), OLD, GATE).reason


def test_a_gain_on_no_number_of_images_is_said():
    """The two find as many images, but not the same ones."""
    new = found_images(50, first=50)
    barely = Evaluated(OLD.value + 1e-9, new)
    verdict = compare(barely, OLD, GATE)
    assert verdict.answer == "undecided"
    assert verdict.reason.endswith("no reasonable number of test images would tell")


def test_the_interval_widens_with_each_version_that_the_test_set_has_decided_about():
    """A gain that is clear for the first version is undecided for the hundredth."""
    new = evaluated(found_images(57))
    first, second, hundredth = (compare(new, OLD, GATE, earlier) for earlier in (0, 1, 99))
    assert (first.answer, hundredth.answer) == ("better", "undecided")
    assert "(95% interval" in first.reason and "decided about" not in first.reason
    assert "(97.5% interval" in second.reason and "has decided about 1 version before" in second.reason
    assert "(99.95% interval" in hundredth.reason and "has decided about 99 versions before" in hundredth.reason

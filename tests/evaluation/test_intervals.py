import math

import numpy as np
import pytest
from scipy import stats
from support.scored_boxes import random_results

from benchmarks.evaluation import called_better, coverage
from retinanet.evaluation import intervals as intervals_module
from retinanet.evaluation.coco_metrics import evaluate, summarize
from retinanet.evaluation.intervals import (
    deciding_edges,
    differences,
    interval_report,
    intervals,
    metric_values,
    units_to_decide,
)
from retinanet.evaluation.matches import Matches, matches_of

NAMES = ["AP", "AP50", "AP75", "AP/cat", "AP50/cat", "AP/dog", "AP50/dog"]


def of_images(found: list[bool], class_names=("cat",)) -> Matches:
    """An image with one object for each entry: whether it is found, with one score for all. AP is 1 up to the share."""
    images = np.flatnonzero(found)
    is_true = np.ones((10, len(images)), bool)
    objects = np.ones((len(found), 1), np.int64)
    scores, labels = np.full(len(images), 0.5), np.zeros(len(images), np.int64)
    return Matches(class_names, np.ones(len(found), np.int64), objects, scores, labels, images, is_true, ~is_true)


def test_values_are_those_of_pycocotools():
    truth, rows = random_results(3, images=40)
    evaluation = evaluate(truth, rows)
    expected = summarize(evaluation, truth)
    found = intervals(matches_of(evaluation, truth))
    assert list(found) == NAMES
    assert metric_values(matches_of(evaluation, truth)) == pytest.approx({name: expected[name] for name in NAMES})
    assert {name: found[name].value for name in NAMES} == pytest.approx(
        {name: expected[name] for name in NAMES}, abs=1e-12
    )


def test_interval_of_a_share_is_the_binomial_one_on_the_logit_scale():
    # 60 of 100 objects are found and nothing else: AP is about the share p, and the jackknife gives p (1 - p) / 99.
    interval = intervals(of_images([i % 5 < 3 for i in range(100)]))["AP50"]
    assert interval.value == pytest.approx(61 / 101)
    half = stats.t.ppf(0.975, 99) * math.sqrt(0.6 * 0.4 / 99) / (0.6 * 0.4)
    expected = [1 / (1 + math.exp(-(math.log(0.6 / 0.4) + side * half))) for side in (-1, 1)]
    assert [interval.low, interval.high] == pytest.approx(expected, abs=0.02)
    assert str(interval) == f"0.604 (95% interval {interval.low:.3f} to {interval.high:.3f})"


@pytest.mark.parametrize("units", [1, 2, 12])
def test_few_units_have_a_reason_instead_of_an_interval(units):
    interval = intervals(of_images([True, False] * (units // 2) or [True]))["AP50"]
    assert math.isnan(interval.low) and math.isnan(interval.high)
    assert (
        f"it rests on {units} independent images or groups; an interval needs" in interval.reason
        and str(interval) == f"{interval.value:.3f}"
    )


def test_a_value_of_1_on_every_image_has_no_interval():
    assert intervals(of_images([True] * 100))["AP50"].reason == "every image gives the same value"


def test_a_rare_class_limits_the_units_that_the_mean_rests_on():
    common, objects = of_images([i % 5 < 3 for i in range(100)]), np.zeros((100, 2), np.int64)
    objects[:, 0], objects[:10, 1] = 1, 1
    columns = [np.concatenate([a, b]) for a, b in ((common.scores, [0.5] * 5), (common.labels, [1] * 5))]
    units = np.concatenate([common.units, np.arange(5)])
    is_true = np.ones((10, len(units)), bool)
    found = intervals(Matches(("cat", "dog"), common.images, objects, *columns, units, is_true, ~is_true))
    assert not found["AP50/cat"].reason
    assert found["AP50/dog"].reason.startswith("it rests on 10 independent")
    # The variance of dog, 0.25 / 9, outweighs that of cat, 0.24 / 99.
    assert found["AP50"].reason.startswith("it rests on 11 independent")


def test_images_of_a_group_are_one_unit():
    groups = tuple(f"scene {i // 2}" for i in range(40))
    truth, rows = random_results(3, images=40, groups=groups)
    matches = matches_of(evaluate(truth, rows), truth)
    report = interval_report(matches, intervals(matches))
    assert (report["images"], report["independent units"]) == (40, 20)
    assert report["metrics"]["AP"]["no interval"].startswith("it rests on 20 independent")


def test_many_units_are_left_out_in_blocks(monkeypatch):
    found = [i % 5 < 3 for i in range(300)]
    alone = intervals(of_images(found))["AP50"]
    monkeypatch.setattr(intervals_module, "MAX_BLOCKS", 300)
    in_blocks = intervals(of_images(found))["AP50"]
    assert alone.value == in_blocks.value
    assert alone.high - alone.low == pytest.approx(in_blocks.high - in_blocks.low, rel=0.15)


def test_difference_of_two_models_on_the_same_images():
    # The new one finds 10 of 100 more, and none less: the mean of the paired differences is 0.1, their variance 0.09.
    old, new = [i % 10 < 5 for i in range(100)], [i % 10 < 6 for i in range(100)]
    gained = differences(of_images(new), of_images(old))["AP50"]
    assert gained.value == pytest.approx(10 / 101)
    half = stats.t.ppf(0.975, 99) * 0.3 / math.sqrt(99)
    assert [gained.low, gained.high] == pytest.approx([0.1 - half, 0.1 + half], abs=0.01)
    assert gained.unit_deviation == pytest.approx(0.3, abs=0.02)


def test_difference_of_a_model_to_itself_is_0():
    matches = of_images([i % 5 < 3 for i in range(100)])
    gained = differences(matches, matches)["AP50"]
    assert gained[:3] == (0, 0, 0)
    assert units_to_decide(gained) == math.inf


def test_units_to_decide_follow_the_formula_of_a_paired_comparison():
    old, new = [i % 10 < 5 for i in range(100)], [i % 10 < 6 for i in range(100)]
    gained = differences(of_images(new), of_images(old))["AP50"]
    # (1.96 + 0.84)^2 * 0.09 / 0.01
    assert units_to_decide(gained) == pytest.approx(70.6, rel=0.1)


def test_report_and_edges_have_an_interval_or_its_reason():
    found = intervals(of_images([i % 5 < 3 for i in range(100)]))
    report = interval_report(of_images([True] * 100), found)
    assert (report["images"], report["independent units"], report["level"]) == (100, 100, 0.95)
    assert set(report["metrics"]["AP/cat"]) == {"value", "low", "high"}
    assert list(deciding_edges(found)) == ["AP50_low", "AP50_high", "AP_low", "AP_high"]
    few = intervals(of_images([True, False]))
    assert set(interval_report(of_images([True, False]), few)["metrics"]["AP"]) == {"value", "no interval"}
    assert deciding_edges(few) == {}


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "most_images"), [(72, 1), (60, 4)])
def test_intervals_hold_the_truth_in_92_to_98_percent(groups, most_images):
    counts = coverage(sets=400, groups=groups, most_images=most_images)
    for name in ("AP", "AP50"):
        held, made = counts[name]
        assert made == 400
        assert 0.92 <= held / made <= 0.98, name


@pytest.mark.slow
def test_at_most_one_in_20_equally_good_models_is_called_better():
    assert called_better(pairs=300, groups=72) <= 0.05
    assert called_better(pairs=300, groups=30) <= 0.05

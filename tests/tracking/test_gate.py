from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.found_images import found_images
from support.production import MODEL, in_production, previous

from retinanet.errors import EvaluationError
from retinanet.evaluation.intervals import intervals, metric_values
from retinanet.tracking.comparison import Evaluated, Gate
from retinanet.tracking.promotion import promote
from retinanet.tracking.registry import find_version
from retinanet.tracking.store import open_client

# The versions of most tests have no detections, so that their gains have no interval.
GATE = Gate("AP50", floor=0.3, accepts_undecided=True)


def test_promote_refuses_a_first_version_below_the_floor(make_version):
    low, enough = make_version(0.29), make_version(0.3)
    refused = promote(MODEL, low, GATE)
    assert (refused.accepted, in_production()) == (False, None)
    assert "below the floor of 0.3" in refused.reason
    assert promote(MODEL, enough, GATE).accepted
    assert (in_production(), previous()) == (enough, None)


def test_promote_refuses_worse_and_equal_versions_and_accepts_a_better_one(make_version):
    standing, worse, equal, better = (
        make_version(value, model_sha256=name) for name, value in (("a", 0.5), ("b", 0.4999), ("c", 0.5), ("d", 0.5001))
    )
    promote(MODEL, standing, GATE)
    for version in (worse, equal):
        decision = promote(MODEL, version, GATE)
        assert (decision.accepted, in_production()) == (False, standing)
        assert "not better" in decision.reason
    assert promote(MODEL, better, GATE).accepted
    assert (in_production(), previous()) == (better, standing)


def test_promote_refuses_a_gain_below_min_gain(make_version):
    promote(MODEL, make_version(0.5), GATE)
    gate = GATE._replace(min_gain=0.1)
    assert "promote.min_gain is 0.1" in promote(MODEL, make_version(0.59), gate).reason
    assert promote(MODEL, make_version(0.6), gate).accepted


def test_promote_answers_undecided_if_a_gain_has_no_interval(make_version):
    promote(MODEL, make_version(0.5), GATE)
    gate = GATE._replace(accepts_undecided=False)
    decision = promote(MODEL, make_version(0.6), gate)
    assert (decision.accepted, decision.undecided, in_production()) == (False, True, 1)
    assert decision.reason == (
        "undecided: version 2 has AP50 0.6000, version 1 in production 0.5000; it gains +0.1000, for which there is no "
        "interval on this test set"
    )
    accepted = promote(MODEL, 2, GATE)
    assert (accepted.accepted, accepted.undecided) == (True, False)
    assert accepted.reason.endswith("; promote.when_undecided is accept")


def test_promote_compares_the_detections_that_the_runs_have_stored(make_version):
    """100 images of one object: production finds 50, one candidate 52 and another 70 of them."""
    gate = GATE._replace(accepts_undecided=False)
    values = {}
    for found in (50, 52, 70):
        matches = found_images(found)
        values[found] = intervals(matches)["AP50"].value
        make_version(values[found], model_sha256=str(found), matches=matches)
    assert promote(MODEL, 1, gate).accepted
    decision = promote(MODEL, 2, gate)
    assert (decision.accepted, decision.undecided, in_production()) == (False, True, 1)
    assert "(95% interval -" in decision.reason and "more test images would tell (power 80%)" in decision.reason
    better = promote(MODEL, 3, gate)
    assert (better.accepted, in_production()) == (True, 3)
    assert better.reason.startswith("better: version 3") and "(97.5% interval +" in better.reason


def test_promote_refuses_a_version_that_loses_a_slice_which_its_run_has_stored(make_version):
    """100 images, 40 of them taken at night: production finds 50, the candidate 60 by day and none by night."""
    night = np.arange(100) < 40
    for number, matches in enumerate((found_images(50), found_images(60, first=40))):
        stored = replace(matches, slices={("folder", "night"): night, ("folder", "day"): ~night})
        make_version(metric_values(matches)["AP50"], model_sha256=str(number), matches=stored)
    gate = Gate("AP50", floor=0.3, max_class_loss=0.05, accepts_undecided=True)
    assert promote(MODEL, 1, gate).accepted
    decision = promote(MODEL, 2, gate)
    assert (decision.accepted, decision.undecided, in_production()) == (False, False, 1)
    assert "AP50 of the slice folder: night changes by -1.0000" in decision.reason


def test_promote_does_not_believe_detections_that_do_not_give_the_registered_metric(make_version):
    make_version(0.5, matches=found_images(50))
    make_version(0.9, matches=found_images(52))
    promote(MODEL, 1, GATE)
    assert "there is no interval" in promote(MODEL, 2, GATE._replace(accepts_undecided=False)).reason


SPEED = {"AP50": 0.5, "latency_p95_ms": 40.04, "latency_ms": 31.0, "peak_memory_mb": 250.0}


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({}, None),
        ({"max_latency_ms": 40.1, "max_memory_mb": 250}, None),
        ({"max_latency_ms": 40}, "has latency_p95_ms 40.0, measured on a toy, 2 threads; promote.max_latency_ms is 40"),
        (
            {"max_memory_mb": 249.5},
            "has peak_memory_mb 250.0, measured on a toy, 2 threads; promote.max_memory_mb is 249.5",
        ),
    ],
)
def test_promote_refuses_a_version_that_is_too_slow_or_too_large(make_version, limits, reason):
    tags = {"dirty": "false", "speed.processor": "a toy, 2 threads"}
    decision = promote(MODEL, make_version(metrics=SPEED, provenance=tags), GATE._replace(**limits))
    assert decision.accepted == (reason is None)
    assert reason is None or decision.reason == f"version 1 {reason}"


def test_promote_refuses_a_version_of_unknown_speed_if_there_is_a_limit(make_version):
    decision = promote(MODEL, make_version(), GATE._replace(max_latency_ms=1000))
    assert not decision.accepted
    assert (
        "version 1 was registered without latency_p95_ms, which promote.max_latency_ms limits; set it to 0, or delete"
        in (decision.reason)
    )


@pytest.mark.parametrize(("value", "reason"), [(None, "without AP50"), (float("nan"), "not a finite number")])
def test_promote_refuses_a_missing_or_nan_metric(make_version, value, reason):
    version = make_version(metrics={} if value is None else {"AP50": value})
    decision = promote(MODEL, version, GATE)
    assert not decision.accepted
    assert reason in decision.reason


def test_promote_refuses_a_version_whose_run_failed(make_version):
    client, version = open_client(), make_version()
    run_id = find_version(client, MODEL, version).run_id
    client.set_terminated(run_id, "FAILED")
    assert "is FAILED" in promote(MODEL, version, GATE).reason
    assert in_production() is None


def test_promote_refuses_a_version_without_a_run(root):
    client = open_client()
    client.create_registered_model(MODEL)
    version = client.create_model_version(MODEL, str(root))
    assert "is missing, not FINISHED" in promote(MODEL, int(version.version), GATE).reason


def test_promote_refuses_uncommitted_code_until_it_is_committed(make_version, commit_all):
    Path("dvc.yaml").write_text("stages: {changed: {cmd: ls}}\n")
    version = make_version()
    decision = promote(MODEL, version, GATE)
    assert not decision.accepted
    assert "(dvc.yaml); commit and promote again" in decision.reason
    assert promote(MODEL, version, GATE, dry_run=True, allow_dirty=True).accepted
    commit_all()
    assert promote(MODEL, version, GATE).accepted


def test_promote_refuses_uncommitted_code_if_other_code_was_committed(make_version, commit_all):
    Path("dvc.yaml").write_text("stages: {changed: {cmd: ls}}\n")
    version = make_version()
    Path("dvc.yaml").write_text("stages: {}\n")
    decision = promote(MODEL, version, GATE)
    assert not decision.accepted
    assert "commit the code that made it" in decision.reason


def test_promote_evaluates_production_again_if_its_metric_has_another_digest(make_version):
    standing, candidate = make_version(0.9, "last year"), make_version(0.5, "today")
    promote(MODEL, standing, GATE)
    assert "evaluated with another test set" in promote(MODEL, candidate, GATE, "today").reason
    measured = []

    def measure(version):
        measured.append(int(version.version))
        return Evaluated(0.45)

    decision = promote(MODEL, candidate, GATE, "today", measure)
    assert (decision.accepted, measured) == (True, [standing])
    assert "version 1 in production 0.4500 (evaluated again on the current test set)" in decision.reason
    assert find_version(open_client(), MODEL, standing).tags["metric.AP50"] == "0.9"


def test_promote_evaluates_a_candidate_again_if_its_metric_has_another_digest(make_version):
    promote(MODEL, make_version(0.5, "today"), GATE)
    candidate = make_version(0.9, "last year")
    assert "0.4000" in promote(MODEL, candidate, GATE, "today", lambda version: Evaluated(0.4)).reason
    assert in_production() == 1


def test_promote_refuses_if_production_cannot_be_evaluated_again(make_version):
    promote(MODEL, make_version(0.9, "last year"), GATE)

    def measure(version):
        raise EvaluationError("no such image")

    decision = promote(MODEL, make_version(0.95, "today"), GATE, "today", measure)
    assert (decision.accepted, in_production()) == (False, 1)
    assert "no such image" in decision.reason


def test_a_test_set_counts_the_versions_that_it_has_decided_about(make_version):
    """The second candidate is judged with more confidence; a dry run and the same version again are not counted."""
    for found in (50, 60, 61):
        matches = found_images(found)
        make_version(found / 100, matches=matches, metrics={"AP50": metric_values(matches)["AP50"]})
    promote(MODEL, 1, GATE)
    for dry_run in (True, True, False, False):
        decision = promote(MODEL, 2, Gate("AP50", 0.3, min_gain=0.5), dry_run=dry_run)
        assert not decision.accepted and "(95% interval" in decision.reason
    decision = promote(MODEL, 3, GATE, dry_run=True)
    assert "(97.5% interval" in decision.reason and "decided about 1 version before" in decision.reason

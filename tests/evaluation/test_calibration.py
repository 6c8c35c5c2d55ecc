from dataclasses import replace

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from support.found_images import found_images

from retinanet.evaluation.calibration import calibration_error, draw_reliability, reliability
from retinanet.evaluation.matches import Matches


def matches(scores, is_true) -> Matches:
    """Detections of one class with these scores and outcomes."""
    return replace(found_images(len(scores)), scores=np.array(scores), is_true=np.array([is_true] * 10))


def test_precision_of_each_tenth_of_the_scores():
    rows = reliability(matches([0.95, 0.92, 0.91, 0.35, 0.31], [True, True, False, False, True]))
    assert rows == [
        {"from": 0.3, "to": 0.4, "detections": 2, "mean_score": 0.33, "precision": 0.5},
        {"from": 0.9, "to": 1.0, "detections": 3, "mean_score": 0.9267, "precision": 0.6667},
    ]
    assert calibration_error(rows) == pytest.approx((2 * 0.17 + 3 * 0.26) / 5)


def test_rows_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    scores = np.sort(np.append(generator.random(95), [0.1, 0.2, 0.5, 0.7, 1.0]))[::-1]
    is_true = generator.random(100) < scores
    rows = reliability(matches(scores, is_true))
    precision, mean_score = calibration_curve(is_true, scores, n_bins=10)
    np.testing.assert_allclose([row["precision"] for row in rows], precision, atol=1e-4)
    np.testing.assert_allclose([row["mean_score"] for row in rows], mean_score, atol=1e-4)
    assert sum(row["detections"] for row in rows) == 100


def test_detections_in_ignored_regions_are_left_out():
    found = matches([0.9, 0.8], [True, False])
    found = replace(found, is_ignored=np.array([[False, True]] * 10))
    assert [row["detections"] for row in reliability(found)] == [1]


def test_without_detections_there_is_no_error_and_an_empty_plot(tmp_path):
    assert reliability(found_images(0)) == []
    assert calibration_error([]) == 0
    draw_reliability([], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size

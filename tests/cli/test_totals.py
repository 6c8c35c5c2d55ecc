import numpy as np
import pytest
from scipy import stats

from retinanet.cli.totals import total_of


def test_total_is_the_sum_of_detections_corrected_by_the_mean_error():
    # ten of twenty images are counted; on two of them the detector missed an object
    detected = np.full(20, 3)
    detected[:10] = 2
    rows, counted = np.arange(0, 20, 2), np.where(np.arange(10) < 5, 2, 3)
    counted[[0, 9]] += 1
    total = total_of(detected, rows, counted)
    assert total.detected == 50
    # The weight that fits best is (covariance 2.5) / (variance 2.5) = 1: 50 + 20 * 2 / 10.
    assert total.value == pytest.approx(54)
    squares = 10 * 0.2 * 0.8 + 2  # of the errors, and two unseen ones
    half = stats.t.ppf(0.975, 9) * 20 * (squares / 9) ** 0.5 * (0.5 / 10) ** 0.5
    assert (total.low, total.high) == pytest.approx((54 - half, 54 + half))


def test_when_every_image_is_counted_the_total_is_exact():
    detected, counted = np.arange(12), np.arange(12) + 1
    total = total_of(detected, np.arange(12), counted)
    assert total == pytest.approx((78, 78, 78, 66, 0))


def test_a_detector_that_knows_nothing_is_not_trusted():
    detected = np.tile([0, 10], 50)
    counted = np.repeat([4, 6], 10)
    total = total_of(detected, np.arange(20), counted)
    assert total.value == pytest.approx(500)  # 100 images of 5, whatever is detected


def test_an_interval_without_a_seen_error_has_a_width():
    detected = np.ones(160, np.int64)
    total = total_of(detected, np.arange(20), detected[:20])
    assert total.low < 150 and total.high > 170 and total.more > 0


def test_the_total_is_at_least_what_was_counted():
    detected = np.zeros(40, np.int64)
    counted = np.zeros(20, np.int64)
    counted[0] = 1
    assert total_of(detected, np.arange(20), counted).low == 1


@pytest.mark.parametrize("rate", [0.02, 0.2, 2.0])
@pytest.mark.parametrize("count", [20, 60])
def test_intervals_hold_the_total_also_where_errors_are_rare(rate, count):
    """Errors of `rate` objects an image: with 0.02, most draws of 20 images show none."""
    generator = np.random.default_rng(0)
    truth = generator.poisson(3, 160)
    detected = np.maximum(truth + generator.poisson(rate / 2, 160) - generator.poisson(rate / 2, 160), 0)
    held = []
    for _ in range(500):
        rows = generator.choice(160, count, replace=False)
        total = total_of(detected, rows, truth[rows])
        held.append(total.low <= truth.sum() <= total.high)
    assert np.mean(held) >= 0.93

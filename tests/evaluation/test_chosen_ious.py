import pytest
from support.scored_boxes import dataset, random_results, result

from retinanet.evaluation.chosen_ious import metrics_at_ious
from retinanet.evaluation.coco_metrics import coco_metrics

BOX = [0, 0, 100, 100]


def test_ap_at_cocos_ious_is_cocos():
    truth, rows = random_results(1, images=30)
    found, coco = metrics_at_ious(truth, rows, [0.5, 0.75], [0.3, 0.3]), coco_metrics(truth, rows)
    assert (found["AP50"], found["AP75"]) == pytest.approx((coco["AP50"], coco["AP75"]), abs=1e-12)


def test_a_box_of_iou_0_45_counts_at_0_4_and_not_at_0_5():
    """Two objects; one is found by a box that covers 45 of 100 columns, the other is missed."""
    truth = dataset([(BOX, 0)], [(BOX, 0)])
    metrics = metrics_at_ious(truth, [result(1, [0, 0, 45, 100], 0, 0.9)], [0.4, 0.5], [0.3])
    assert metrics["AP40"] == pytest.approx(51 / 101)  # recalls 0, 0.01, ..., 0.5
    assert (metrics["precision_40"], metrics["recall_40"]) == (1, 0.5)
    assert metrics["f1_40"] == pytest.approx(2 / 3)
    assert (metrics["AP50"], metrics["f1_50"]) == (0, 0)


def test_detections_below_the_threshold_of_their_class_do_not_count():
    truth = dataset([(BOX, 0)])
    rows = [result(1, BOX, 0, 0.9), result(1, [200, 200, 240, 240], 0, 0.2)]
    assert metrics_at_ious(truth, rows, [0.4], [0.3])["precision_40"] == 1
    assert metrics_at_ious(truth, rows, [0.4], [0.1])["precision_40"] == 0.5


def test_without_ious_there_are_no_metrics():
    assert metrics_at_ious(dataset([(BOX, 0)]), [], [], [0.3]) == {}

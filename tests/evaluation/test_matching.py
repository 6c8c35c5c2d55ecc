import numpy as np
import pytest
from support.scored_boxes import dataset, random_results, result

from benchmarks.pycocotools_reference import pycocotools_evaluation
from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.evaluation.coco_metrics import evaluate

BOX = [10, 10, 60, 60]


def require_equal(truth, rows, ious=()):
    """Every array equals pycocotools'."""
    ours, theirs = evaluate(truth, rows, ious), pycocotools_evaluation(truth, [dict(row) for row in rows], ious)
    precision, recall, scores = (theirs.eval[name] for name in ("precision", "recall", "scores"))
    areas = ours.precision.shape[3]
    np.testing.assert_array_equal(ours.precision, precision[:, :, :, :areas, -1])
    np.testing.assert_array_equal(ours.curve_scores, scores[:, :, :, 0, -1])
    np.testing.assert_array_equal(ours.recall[:, :, :areas], recall[:, :, :areas, -1])
    np.testing.assert_array_equal(ours.recall[:, :, areas:], recall[:, :, 0, :2])
    return ours, theirs


@pytest.mark.parametrize("seed", range(4))
def test_arrays_are_those_of_pycocotools(seed):
    ours, _ = require_equal(*random_results(seed, images=30))
    assert ours.is_ignored.any() and 0.05 < ours.precision[:, :, :, 0].mean() < 0.95


def crowded(seed: int, count: int) -> tuple[CocoDataset, list[dict]]:
    """Five images, whose ids do not ascend, of `count` detections around ten overlapping objects of all sizes."""
    rng = np.random.default_rng(seed)
    infos, objects, rows = [], {}, []
    for image_id in (7, 3, 9, 1, 5):
        low = rng.integers(0, 40, (10, 2)) * 2.5
        boxes = np.hstack([low, low + rng.integers(4, 60, (10, 2)) * 2.5]).astype(np.float32)
        infos.append(ImageInfo(image_id, f"{image_id}.png", 300, 300))
        objects[image_id] = Objects(boxes, rng.integers(0, 2, 10), rng.random(10) < 0.2)
        for _ in range(count):
            box = boxes[rng.integers(10)] + rng.integers(-3, 4, 4) * 2.5
            rows.append(result(image_id, box.tolist(), int(rng.integers(2)), float(rng.integers(20)) / 20))
    return CocoDataset(tuple(infos), ("cat", "dog"), (3, 7), objects), rows


@pytest.mark.parametrize("ious", [(), (0.3,), (0.5, 1.0)])
def test_more_than_100_detections_with_equal_scores_and_overlaps(ious):
    truth, rows = crowded(0, 260)
    ours, theirs = require_equal(truth, rows, ious)
    assert len(ours.scores) < len(rows)
    cats = [image for image in theirs.evalImgs[:5] if image]  # of all sizes, by image id
    order = np.argsort(-np.concatenate([image["dtScores"] for image in cats]), kind="mergesort")
    of_cats = ours.labels == 0
    ignored = np.concatenate([image["dtIgnore"] for image in cats], axis=1)[:, order] != 0
    matched = np.concatenate([image["dtMatches"] for image in cats], axis=1)[:, order] != 0
    np.testing.assert_array_equal(ours.is_ignored[:, of_cats], ignored)
    np.testing.assert_array_equal(ours.is_true[:, of_cats], matched & ~ignored)


@pytest.mark.parametrize(
    "rows", [[], [result(1, BOX, 1, 0.5)], [result(2, BOX, 0, 0.9)], [result(1, [80, 80, 70, 70], 0, 0.9)]]
)
def test_without_detections_of_a_class_or_of_an_image_with_objects(rows):
    require_equal(dataset([(BOX, 0), (BOX, 0, True)], []), rows)


def test_of_two_objects_the_best_detection_takes_the_one_that_it_overlaps_more():
    truth = dataset([(BOX, 0), ([14, 10, 64, 60], 0)])
    # The second overlaps the first object more, which is taken; with the other its IoU is 48 / 52.
    evaluation = evaluate(truth, [result(1, BOX, 0, 0.9), result(1, [12, 10, 62, 60], 0, 0.8)])
    assert evaluation.is_true[:, 0].all()
    assert evaluation.is_true[:, 1].tolist() == [True] * 9 + [False]

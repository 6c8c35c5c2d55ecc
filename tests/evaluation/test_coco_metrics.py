import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.errors import EvaluationError
from retinanet.evaluation.coco_metrics import SUMMARY, coco_metrics


def dataset(*images_objects, class_names=("cat", "dog"), category_ids=(3, 7)):
    """One image of 200 x 200 for each list of (box_xyxy, label) or (box_xyxy, label, iscrowd)."""
    images = tuple(ImageInfo(i, f"{i}.png", 200, 200) for i in range(1, len(images_objects) + 1))
    return CocoDataset(images, class_names, category_ids, dict(enumerate(map(_objects, images_objects), start=1)))


def _objects(rows):
    return Objects(
        np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[1] for row in rows], np.int64),
        np.array([len(row) > 2 and row[2] for row in rows], bool),
    )


def result(image_id, box_xyxy, category_id, score):
    x1, y1, x2, y2 = box_xyxy
    return {"image_id": image_id, "category_id": category_id, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}


BOX, ELSEWHERE = [10, 10, 60, 60], [100, 100, 160, 160]


def test_an_exact_box_gives_1_and_a_class_without_objects_no_metric(capsys):
    metrics = coco_metrics(dataset([(BOX, 0)], []), [result(1, BOX, 3, 0.9)])
    # 50 x 50 is COCO's medium size: there are no small or large objects and none of the other class
    names = ["AP", "AP50", "AP75", "APm", "AR1", "AR10", "AR100", "AP/cat", "AP50/cat"]
    assert metrics == pytest.approx(dict.fromkeys(names, 1))
    assert capsys.readouterr().out == ""


def test_one_of_two_objects_detected_gives_half_the_recall():
    metrics = coco_metrics(dataset([(BOX, 0), (ELSEWHERE, 0)]), [result(1, BOX, 3, 0.9)])
    assert metrics["AP50"] == pytest.approx(51 / 101)  # precision 1 at the 51 recalls 0, .01 … .5
    assert metrics["AR100"] == pytest.approx(0.5)


def test_a_box_of_iou_0_6_is_a_true_positive_at_three_of_ten_thresholds():
    metrics = coco_metrics(dataset([([0, 0, 100, 100], 0)]), [result(1, [0, 0, 100, 61], 3, 0.9)])
    assert metrics["AP"] == pytest.approx(0.3)
    assert (metrics["AP50"], metrics["AP75"]) == (pytest.approx(1), 0)


def test_a_false_positive_with_a_higher_score_halves_the_precision():
    metrics = coco_metrics(dataset([(BOX, 0)], []), [result(1, BOX, 3, 0.8), result(2, BOX, 3, 0.9)])
    assert metrics["AP50"] == pytest.approx(0.5)


def test_no_detections_give_zero():
    metrics = coco_metrics(dataset([(BOX, 0)], []), [])
    assert metrics["AP"] == metrics["AP50/cat"] == metrics["AR100"] == 0


def test_a_detection_in_an_ignored_region_does_not_lower_ap():
    truth = dataset([(BOX, 0), ([80, 80, 200, 200], 0, True)])
    assert coco_metrics(truth, [result(1, BOX, 3, 0.8), result(1, ELSEWHERE, 3, 0.9)])["AP"] == pytest.approx(1)


@pytest.mark.parametrize("truth", [dataset([]), dataset([(BOX, 0, True)])], ids=["none", "only an ignored region"])
def test_ground_truth_without_objects_raises(truth):
    with pytest.raises(EvaluationError, match="none of the 1 images has an object"):
        coco_metrics(truth, [result(1, BOX, 3, 0.9)])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (result(1, BOX, 3, float("nan")), "score nan"),
        (result(1, [0, 0, float("inf"), 1], 3, 0.5), "inf"),
        (result(9, BOX, 3, 0.5), "image 9"),
        (result(1, BOX, 4, 0.5), "category 4"),
    ],
)
def test_invalid_results_raise(row, message):
    with pytest.raises(EvaluationError, match=message):
        coco_metrics(dataset([(BOX, 0)]), [row])


def test_coco_metrics_does_not_modify_the_rows():
    rows = [result(1, BOX, 3, 0.9)]
    coco_metrics(dataset([(BOX, 0)]), rows)
    assert rows == [result(1, BOX, 3, 0.9)]


def test_equal_to_pycocotools_on_random_boxes():
    rng = np.random.default_rng(0)
    objects, annotations, rows = [], [], []
    for image_id in range(1, 9):
        corner, size = rng.integers(0, 100, (6, 2)), rng.integers(5, 200, (6, 2))
        boxes = np.hstack([corner, corner + size])
        labels, crowd = rng.integers(0, 2, 6), rng.random(6) < 0.1
        objects.append(list(zip(boxes.tolist(), labels, crowd, strict=True)))
        for i in range(6):
            bbox, category_id = [*corner[i].tolist(), *size[i].tolist()], (3, 7)[labels[i]]
            row = {"image_id": image_id, "category_id": category_id, "bbox": bbox}
            area = bbox[2] * bbox[3]
            annotations.append(row | {"id": len(annotations) + 1, "area": area, "iscrowd": int(crowd[i])})
            rows.append(row | {"bbox": [b + float(rng.normal(0, 3)) for b in bbox], "score": float(rng.random())})
            rows.append(row | {"category_id": (7, 3)[labels[i]], "score": float(rng.random() / 2)})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i} for i in range(1, 9)],
            "categories": [{"id": 3}, {"id": 7}],
            "annotations": annotations,
        }
        truth.createIndex()
        raw = COCOeval(truth, truth.loadRes([dict(row) for row in rows]), "bbox")
        raw.evaluate()
        raw.accumulate()
        raw.summarize()

    metrics = coco_metrics(dataset(*objects), rows)

    assert 0.1 < metrics["AP"] < 0.9
    assert [metrics[name] for name in SUMMARY] == raw.stats[:9].tolist()
    assert (metrics["AP/cat"] + metrics["AP/dog"]) / 2 == pytest.approx(metrics["AP"])

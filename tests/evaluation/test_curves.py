import numpy as np
import pytest
from PIL import Image

from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.evaluation.coco_metrics import evaluate, summarize
from retinanet.evaluation.curves import class_table, draw_precision_recall, precision_recall
from retinanet.evaluation.matches import matches_of


def dataset(objects_by_image, class_names=("cat", "dog")):
    """objects_by_image: for each image a list of (box_xyxy, label)."""
    images = tuple(ImageInfo(i, f"{i}.png", 200, 200) for i in range(1, len(objects_by_image) + 1))
    objects = {
        i: Objects(
            np.array([box for box, _ in rows], np.float32).reshape(-1, 4),
            np.array([label for _, label in rows], np.int64),
            np.zeros(len(rows), bool),
        )
        for i, rows in enumerate(objects_by_image, start=1)
    }
    return CocoDataset(images, class_names, tuple(range(1, len(class_names) + 1)), objects)


def result(image_id, box_xyxy, category_id, score):
    x1, y1, x2, y2 = box_xyxy
    return {"image_id": image_id, "category_id": category_id, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}


A, B, C = [0, 0, 50, 50], [100, 0, 150, 50], [0, 100, 50, 150]
TWO_CATS = dataset([[(A, 0), (B, 0)], []])
# by score: true, false, true positive
TRUE_FALSE_TRUE = [result(1, A, 1, 0.9), result(2, C, 1, 0.8), result(1, B, 1, 0.7)]


def test_precision_recall_of_two_objects_with_a_false_positive_between():
    rows = precision_recall(evaluate(TWO_CATS, TRUE_FALSE_TRUE), TWO_CATS)
    assert len(rows) == 101  # no row for dogs: there are none
    assert rows[50] == {"class": "cat", "recall": 0.5, "precision": 1.0, "score": 0.9}
    assert rows[51] == {"class": "cat", "recall": 0.51, "precision": 0.6667, "score": 0.7}


def test_mean_precision_of_the_curve_is_ap50():
    evaluation = evaluate(TWO_CATS, TRUE_FALSE_TRUE)
    mean = sum(row["precision"] for row in precision_recall(evaluation, TWO_CATS)) / 101
    assert mean == pytest.approx(summarize(evaluation, TWO_CATS)["AP50/cat"], abs=1e-4)


def test_class_table_has_a_row_for_each_class():
    cats, dogs = class_table(matches_of(evaluate(TWO_CATS, TRUE_FALSE_TRUE), TWO_CATS), [0.8, 0.3])
    assert cats == {
        "class": "cat",
        "objects": 2,
        "AP": 0.835,  # (51 * 1 + 50 * 2/3) / 101, at each IoU since boxes are exact
        "AP50": 0.835,
        "threshold": 0.8,
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "false_positives_per_image": 0.5,
    }
    assert (dogs["objects"], dogs["AP"], dogs["threshold"]) == (0, None, 0.3)


def test_class_table_without_detections():
    cats, _ = class_table(matches_of(evaluate(TWO_CATS, []), TWO_CATS), [0.5, 0.5])
    assert (cats["objects"], cats["AP"], cats["f1"]) == (2, 0.0, 0.0)


@pytest.mark.parametrize("classes", [0, 2, 12])
def test_draw_precision_recall_of_none_few_and_many_classes(tmp_path, classes):
    rows = [
        {"class": str(k), "recall": r / 100, "precision": 0.5, "score": 0.5} for k in range(classes) for r in (0, 1)
    ]
    draw_precision_recall(rows, tmp_path / "pr.png")
    with Image.open(tmp_path / "pr.png") as image:
        assert image.size == (840, 600)

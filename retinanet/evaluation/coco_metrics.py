"""COCO's figures of detection quality, computed by pycocotools."""

import contextlib
import io
import math
from collections.abc import Sequence

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from retinanet.dataset.coco import CocoDataset
from retinanet.errors import EvaluationError

SUMMARY = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100")


def coco_metrics(ground_truth: CocoDataset, results: Sequence[dict]) -> dict[str, float]:
    """AP over IoU .5 to .95, its parts by IoU, object size and class, and average recall; each in 0..1.

    results are COCO results rows, of which the best 100 of an image and class count. "AP/<class>" and "AP50/<class>"
    stand beside the means. A figure that nothing in the ground truth defines (a class or size without objects) is left
    out. Raises EvaluationError for scores or boxes that are not finite, for rows of an image or category that the
    ground truth does not have, and for ground truth without any object.
    """
    return summarize(evaluate(ground_truth, results), ground_truth)


def evaluate(ground_truth: CocoDataset, results: Sequence[dict]) -> COCOeval:
    """pycocotools' matching of all results, accumulated; raises as coco_metrics does."""
    _check(ground_truth, results)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _indexed(_as_coco(ground_truth))
        # pycocotools writes into the rows it gets. Its loadRes refuses an empty list; no annotations say the same.
        found = truth.loadRes([dict(row) for row in results]) if results else _indexed(_as_coco(ground_truth, False))
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def summarize(evaluation: COCOeval, ground_truth: CocoDataset) -> dict[str, float]:
    """The figures of an evaluation by name."""
    metrics = dict(zip(SUMMARY, evaluation.stats, strict=False))
    # precision: IoU thresholds x recalls x classes x object sizes x detections allowed
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    for label, name in enumerate(ground_truth.class_names):
        metrics[f"AP/{name}"] = precision[:, :, label].mean()
        metrics[f"AP50/{name}"] = precision[0, :, label].mean()
    # pycocotools says -1 where no object defines a figure.
    return {name: float(value) for name, value in metrics.items() if value >= 0}


def _check(ground_truth: CocoDataset, results: Sequence[dict]) -> None:
    if not any(objects.count for objects in ground_truth.objects.values()):
        raise EvaluationError(
            f"none of the {len(ground_truth.images)} images has an object, so no figure is defined; check the split"
        )
    for row in results:
        if not all(math.isfinite(number) for number in (row["score"], *row["bbox"])):
            raise EvaluationError(
                f"image {row['image_id']}: a detection has score {row['score']} and box {row['bbox']}; "
                "the model's numbers are broken, train again"
            )
        if row["image_id"] not in ground_truth.objects or row["category_id"] not in ground_truth.category_ids:
            raise EvaluationError(
                f"a detection is for image {row['image_id']}, category {row['category_id']}, which the ground truth "
                "does not have; detect on the same split again"
            )


def _indexed(content: dict) -> COCO:
    coco = COCO()
    # The stubs ask for keys that evaluating boxes does not need: an image's size, an object's outline.
    coco.dataset = content  # type: ignore[assignment]
    coco.createIndex()
    return coco


def _as_coco(dataset: CocoDataset, with_objects: bool = True) -> dict:
    annotations: list[dict] = []
    for image in dataset.images if with_objects else ():
        objects = dataset.objects[image.id]
        widths_heights = objects.boxes_xyxy[:, 2:].astype(np.float64) - objects.boxes_xyxy[:, :2]
        for row in range(len(objects)):
            annotations.append(
                {
                    # pycocotools takes id 0 for "not matched".
                    "id": len(annotations) + 1,
                    "image_id": image.id,
                    "category_id": dataset.category_ids[objects.labels[row]],
                    "bbox": [*objects.boxes_xyxy[row, :2].tolist(), *widths_heights[row].tolist()],
                    "area": float(objects.areas[row]),
                    "iscrowd": int(objects.iscrowd[row]),
                }
            )
    return {
        "images": [{"id": image.id} for image in dataset.images],
        "categories": [{"id": i} for i in dataset.category_ids],
        "annotations": annotations,
    }

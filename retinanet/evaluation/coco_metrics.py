"""COCO's detection metrics, computed by pycocotools. To add a metric, add it to summarize.

Ignored regions are annotations with iscrowd=1: COCO's crowds, and also VOC's difficult objects and objects truncated by
tiling, which are single objects. COCO's rule for crowds applies to all of them: at each IoU threshold t, a detection
that matches no object of its class, but has at least a share t of its own area inside an ignored region of that class,
is neither a true nor a false positive. The overlap with a region is intersection over detection, not IoU, and a region
takes any number of detections. So every false positive inside a difficult object is forgiven, e.g. any number of 5 x 5
boxes inside a 100 x 100 object, while VOC's own evaluation forgives only boxes with an IoU of at least 0.5. On such
data precision and AP are biased upward; recall is not. retinanet.evaluation.errors counts the ignored detections.
"""

import contextlib
import io
import math
from collections.abc import Sequence

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from retinanet.dataset.coco import CocoDataset
from retinanet.errors import EvaluationError

# The first entries of COCOeval.stats, in order.
SUMMARY = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100")


def coco_metrics(ground_truth: CocoDataset, results: Sequence[dict]) -> dict[str, float]:
    """AP over IoU 0.5 to 0.95, AP by IoU, object size and class, and average recall; each in 0..1.

    results are COCO results rows; the best 100 of each image and class are evaluated. "AP/<class>" and "AP50/<class>"
    are per class. There is no metric for a class or object size without objects. Raises EvaluationError for scores or
    boxes that are not finite, for image or category ids that the ground truth does not have, and for ground truth
    without objects.
    """
    return summarize(evaluate(ground_truth, results), ground_truth)


def evaluate(ground_truth: CocoDataset, results: Sequence[dict], ious: Sequence[float] = ()) -> COCOeval:
    """Run COCOeval: evaluate, accumulate and, unless there are other ious than COCO's, summarize.

    Raises EvaluationError like coco_metrics.
    """
    _check(ground_truth, results)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _indexed(_as_coco(ground_truth))
        # loadRes modifies the rows and rejects an empty list, which a COCO without annotations replaces.
        detected = truth.loadRes([dict(row) for row in results]) if results else _indexed(_as_coco(ground_truth, False))
        evaluation = COCOeval(truth, detected, "bbox")
        if ious:
            evaluation.params.iouThrs = np.array(ious)
        evaluation.evaluate()
        evaluation.accumulate()
        if not ious:
            evaluation.summarize()
    return evaluation


def summarize(evaluation: COCOeval, ground_truth: CocoDataset) -> dict[str, float]:
    """The metrics of an evaluation by name; -1 means that no object defines it, and such a metric is left out."""
    metrics = dict(zip(SUMMARY, evaluation.stats, strict=False))
    # eval: precision (T, R, K, areas, max_detections) of T IoU thresholds and R recalls, recall (T, K, areas, ...).
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    for label, name in enumerate(ground_truth.class_names):
        metrics[f"AP/{name}"] = precision[:, :, label].mean()
        metrics[f"AP50/{name}"] = precision[0, :, label].mean()
    return {name: float(value) for name, value in metrics.items() if value >= 0}


def _check(ground_truth: CocoDataset, results: Sequence[dict]) -> None:
    if not any(objects.count for objects in ground_truth.objects.values()):
        raise EvaluationError(
            f"none of the {len(ground_truth.images)} images has an object to evaluate; check the split"
        )
    for row in results:
        if not all(math.isfinite(number) for number in (row["score"], *row["bbox"])):
            raise EvaluationError(
                f"image {row['image_id']}: a detection has score {row['score']} and box {row['bbox']}; both must be "
                "finite: the model's weights contain NaN or infinity, train it again"
            )
        if row["image_id"] not in ground_truth.objects or row["category_id"] not in ground_truth.category_ids:
            raise EvaluationError(
                f"a detection is of image {row['image_id']} and category {row['category_id']}, which are not both in "
                "the ground truth; run detection on the same split"
            )


def _indexed(content: dict) -> COCO:
    coco = COCO()
    # The stubs require keys that box evaluation does not need, such as an image's size.
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
                    # pycocotools uses id 0 for "not matched".
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

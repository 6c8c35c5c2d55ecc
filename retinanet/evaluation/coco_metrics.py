"""COCO's detection metrics, as pycocotools computes them. To add a metric, add it to summarize.

Ignored regions are annotations with iscrowd=1: COCO's crowds, and also VOC's difficult objects and objects truncated by
tiling, which are single objects. COCO's rule for crowds applies to all of them: at each IoU threshold t, a detection
that matches no object of its class, but has at least a share t of its own area inside an ignored region of that class,
is neither a true nor a false positive. The overlap with a region is intersection over detection, not IoU, and a region
takes any number of detections. So every false positive inside a difficult object is forgiven, e.g. any number of 5 x 5
boxes inside a 100 x 100 object, while VOC's own evaluation forgives only boxes with an IoU of at least 0.5. On such
data precision and AP are biased upward; recall is not. retinanet.evaluation.errors counts the ignored detections.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from retinanet.dataset.coco import CocoDataset
from retinanet.errors import EvaluationError
from retinanet.evaluation.matching import IOUS, Annotated, Detected, Evaluation, evaluate_arrays

# The first entries of pycocotools' COCOeval.stats, in order.
SUMMARY = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100")


def coco_metrics(ground_truth: CocoDataset, results: Sequence[dict]) -> dict[str, float]:
    """AP over IoU 0.5 to 0.95, AP by IoU, object size and class, and average recall; each in 0..1.

    results are COCO results rows; the best 100 of each image and class are evaluated. "AP/<class>" and "AP50/<class>"
    are per class. There is no metric for a class or object size without objects. Raises EvaluationError for scores or
    boxes that are not finite, for image or category ids that the ground truth does not have, and for ground truth
    without objects.
    """
    return summarize(evaluate(ground_truth, results), ground_truth)


def evaluate(ground_truth: CocoDataset, results: Sequence[dict], ious: Sequence[float] = ()) -> Evaluation:
    """Match the detections to the objects at COCO's IoU thresholds, or at `ious`, for which there is no summary.

    Raises EvaluationError like coco_metrics.
    """
    if not any(objects.count for objects in ground_truth.objects.values()):
        raise EvaluationError(
            f"none of the {len(ground_truth.images)} images has an object to evaluate; check the split"
        )
    image_ids = np.array(sorted(image.id for image in ground_truth.images))
    detected = _detected(ground_truth, results, image_ids)
    sizes = len(image_ids), len(ground_truth.class_names)
    return evaluate_arrays(_annotated(ground_truth, image_ids), detected, *sizes, ious or IOUS)


def summarize(evaluation: Evaluation, ground_truth: CocoDataset) -> dict[str, float]:
    """The metrics of an evaluation by name; what no object defines is left out."""
    precision = evaluation.precision[:, :, :, 0]  # T IoU thresholds x R recalls x K classes, -1 without objects
    small, medium, large = np.moveaxis(evaluation.precision[:, :, :, 1:], 3, 0)
    recalls = [evaluation.recall[:, :, column] for column in (-2, -1, 0)]
    averaged = [precision, precision[0], precision[5], small, medium, large, *recalls]
    metrics = {name: _mean(values) for name, values in zip(SUMMARY, averaged, strict=True)}
    for label, name in enumerate(ground_truth.class_names):
        metrics[f"AP/{name}"] = precision[:, :, label].mean()
        metrics[f"AP50/{name}"] = precision[0, :, label].mean()
    return {name: float(value) for name, value in metrics.items() if value >= 0}


def _mean(values: np.ndarray) -> float:
    """The mean of those that are defined; -1 if none is."""
    defined = values[values > -1]
    return float(defined.mean()) if len(defined) else -1.0


def _detected(ground_truth: CocoDataset, results: Sequence[dict], image_ids: np.ndarray) -> Detected:
    boxes = np.fromiter(chain.from_iterable(row["bbox"] for row in results), np.float64, 4 * len(results))
    boxes = boxes.reshape(-1, 4)
    scores = np.fromiter((row["score"] for row in results), np.float64, len(results))
    of_images, images = _positions(image_ids, [row["image_id"] for row in results])
    of_classes, labels = _positions(np.array(ground_truth.category_ids), [row["category_id"] for row in results])
    finite = np.isfinite(scores) & np.isfinite(boxes).all(axis=1)
    for row in np.flatnonzero(~(finite & of_images & of_classes))[:1].tolist():
        _raise_invalid(results[row], is_finite=bool(finite[row]))
    return Detected(boxes, images, labels, scores)


def _positions(ids: np.ndarray, wanted: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """(D,) whether each is among the ascending ids, and (D,) its position there."""
    searched = np.array(wanted, np.int64)
    positions = np.searchsorted(ids, searched).clip(max=len(ids) - 1)
    return ids[positions] == searched, positions


def _raise_invalid(row: dict, is_finite: bool) -> None:
    if not is_finite:
        raise EvaluationError(
            f"image {row['image_id']}: a detection has score {row['score']} and box {row['bbox']}; both must be "
            "finite: the model's weights contain NaN or infinity, train it again"
        )
    raise EvaluationError(
        f"a detection is of image {row['image_id']} and category {row['category_id']}, which are not both in "
        "the ground truth; run detection on the same split"
    )


def _annotated(ground_truth: CocoDataset, image_ids: np.ndarray) -> Annotated:
    objects = [ground_truth.objects[image_id] for image_id in image_ids.tolist()]
    corners = np.concatenate([of_image.boxes_xyxy for of_image in objects])
    boxes_xywh = np.hstack([corners[:, :2], corners[:, 2:].astype(np.float64) - corners[:, :2]])
    images = np.repeat(np.arange(len(objects)), [len(of_image) for of_image in objects])
    labels, areas, iscrowd = (
        np.concatenate([getattr(of_image, name) for of_image in objects]) for name in ("labels", "areas", "iscrowd")
    )
    return Annotated(boxes_xywh, images, labels.astype(np.int64), areas.astype(np.float64), iscrowd.astype(bool))

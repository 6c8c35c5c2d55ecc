"""pycocotools' evaluation of a dataset of this project: what ours must equal, and is measured beside."""

import contextlib
import io
from collections.abc import Sequence

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from retinanet.dataset.coco import CocoDataset


def pycocotools_evaluation(ground_truth: CocoDataset, results: Sequence[dict], ious: Sequence[float] = ()) -> COCOeval:
    """Run COCOeval: evaluate, accumulate and, unless there are other ious than COCO's, summarize.

    results are modified.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _indexed(_as_coco(ground_truth))
        # loadRes rejects an empty list, which a COCO without annotations replaces.
        detected = truth.loadRes(list(results)) if results else _indexed(_as_coco(ground_truth, False))
        evaluation = COCOeval(truth, detected, "bbox")
        if ious:
            evaluation.params.iouThrs = np.array(ious)
        evaluation.evaluate()
        evaluation.accumulate()
        if not ious:
            evaluation.summarize()
    return evaluation


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

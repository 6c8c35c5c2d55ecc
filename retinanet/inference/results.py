"""COCO results files."""

import numpy as np

from retinanet.inference.detections import Detections


def coco_results(image_id: int, detections: Detections, category_ids: tuple[int, ...]) -> list[dict]:
    """The detections of one image as rows of a COCO results file; label k has category_ids[k]."""
    return [
        {
            "image_id": image_id,
            "category_id": category_ids[int(label)],
            "bbox": _xywh(box),
            "score": round(float(score), 6),
        }
        for box, score, label in zip(detections.boxes_xyxy, detections.scores, detections.labels, strict=True)
    ]


def _xywh(box_xyxy: np.ndarray) -> list[float]:
    left, top, right, bottom = (float(side) for side in box_xyxy)
    return [round(side, 2) for side in (left, top, right - left, bottom - top)]

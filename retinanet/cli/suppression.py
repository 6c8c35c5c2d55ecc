"""Suppression across classes, after a runtime's own suppression within each class."""

import cv2
import numpy as np

from retinanet.inference.detections import Detections


def suppress_across_classes(detections: Detections, max_iou: float) -> Detections:
    """Drop each detection whose IoU with a better one that is kept, of whatever class, exceeds max_iou."""
    if not len(detections):
        return detections
    boxes = detections.boxes_xyxy.astype(np.float64)
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    ranks = np.arange(len(detections), 0, -1)  # instead of scores: OpenCV drops those of 0
    kept = cv2.dnn.NMSBoxes(xywh.tolist(), ranks.tolist(), score_threshold=0.0, nms_threshold=max_iou)
    return detections.rows(np.asarray(kept, np.int64))

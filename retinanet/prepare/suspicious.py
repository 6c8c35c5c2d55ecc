"""Annotations that are valid, but look like mistakes: they are listed on the data report and nothing is changed."""

from collections.abc import Sequence

import numpy as np

from retinanet.annotations.records import Finding
from retinanet.prepare.checks import CheckedImage

# IoU above which two boxes mark one object.
SAME_OBJECT_IOU = 0.9
# Images without objects are listed if the median of the others has as many objects, and they are as rare.
MIN_MEDIAN_OBJECTS = 3
MAX_EMPTY_SHARE = 0.1


def contradicting_boxes(images: Sequence[CheckedImage]) -> list[Finding]:
    """Pairs of boxes of different classes with an IoU above SAME_OBJECT_IOU."""
    found = []
    for image in images:
        singles = [box for box in image.boxes if not box.iscrowd]
        names = np.array([box.class_name for box in singles])
        if len(set(names)) < 2:
            continue
        ious = _pairwise_iou(np.array([box.xyxy for box in singles]))
        for first, second in np.argwhere(np.triu(ious > SAME_OBJECT_IOU, 1) & (names[:, None] != names)):
            reason = (
                f"one object, or two with an IoU of {ious[first, second]:.2f}, is {names[first]} and {names[second]}"
            )
            found.append(Finding(str(image.source.file), reason, singles[first].xyxy))
    return found


def unexpectedly_empty(images: Sequence[CheckedImage]) -> list[Finding]:
    """Images without objects among images that are full of them: probably not annotated yet."""
    counts = np.array([sum(not box.iscrowd for box in image.boxes) for image in images])
    empty = [image for image, count in zip(images, counts, strict=True) if not count]
    if not 0 < len(empty) <= MAX_EMPTY_SHARE * len(images) or np.median(counts[counts > 0]) < MIN_MEDIAN_OBJECTS:
        return []
    reason = f"no object; half of the other images have {int(np.median(counts[counts > 0]))} or more"
    return [Finding(str(image.source.file), reason) for image in empty]


def _pairwise_iou(boxes: np.ndarray) -> np.ndarray:
    """(G, G) for boxes (G, 4) xyxy of positive size."""
    top_left = np.maximum(boxes[:, None, :2], boxes[:, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], boxes[:, 2:])
    inside = (bottom_right - top_left).clip(min=0).prod(axis=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return inside / (areas[:, None] + areas - inside)

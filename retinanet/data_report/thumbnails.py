"""Images for the data report: thumbnails of findings, and samples with their boxes."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path

import cv2
import numpy as np

from retinanet.annotations.records import Xyxy
from retinanet.dataset.coco import Objects
from retinanet.drawing import COLORS, IGNORED_COLOR, draw_boxes, jpeg
from retinanet.errors import ImageError
from retinanet.images.reading import STANDARD_READING, Reading, read_image

THUMB_SIDE = 300
SAMPLE_SIDE = 720
# Larger images have no thumbnail: decoding them takes too long.
MAX_THUMBNAIL_SOURCE_PIXELS = 200_000_000


def thumbnail(path: Path | str, xyxy: Xyxy | None = None, reading: Reading = STANDARD_READING) -> bytes | None:
    """A JPEG of the image, or of a crop around a box with the box drawn; None if the image cannot be read."""
    try:
        image = read_image(Path(path), reading._replace(max_pixels=MAX_THUMBNAIL_SOURCE_PIXELS))
    except ImageError:
        return None
    if xyxy is None or not all(isfinite(side) for side in xyxy):
        return jpeg(_fit(image, THUMB_SIDE)[0])
    height, width = image.shape[:2]
    box = np.clip(xyxy, -1e6, 1e6)  # annotated values can be arbitrarily large
    inside = np.clip(box, 0, [width, height, width, height])
    center = (inside[:2] + inside[2:]) / 2
    reach = max(80.0, 0.8 * float((inside[2:] - inside[:2]).max()))
    left, top = (int(side) for side in np.maximum(0, center - reach))
    right, bottom = (int(side) for side in np.minimum([width, height], np.ceil(center + reach)))
    crop, scale = _fit(image[top : max(bottom, top + 1), left : max(right, left + 1)], THUMB_SIDE)
    low = np.clip((box[:2] - (left, top)) * scale, -10, crop.shape[1::-1])
    high = np.clip((box[2:] - (left, top)) * scale, -10, crop.shape[1::-1])
    # An empty box is drawn with a small size.
    low, high = np.minimum(low, high - 8), np.maximum(high, low + 8)
    return jpeg(draw_boxes(crop, np.array([[*low, *high]]), [""], COLORS[2]))


def sample(
    path: Path | str, objects: Objects, class_names: Sequence[str], reading: Reading = STANDARD_READING
) -> bytes:
    """A JPEG of the image with its boxes in the color of their class and ignored regions in gray.

    Boxes have captions if there are more classes than colors.
    """
    image, scale = _fit(read_image(Path(path), reading), SAMPLE_SIDE)
    ignored = objects.boxes_xyxy[objects.iscrowd] * scale
    image = draw_boxes(image, ignored, [""] * len(ignored), IGNORED_COLOR)
    for label in np.unique(objects.labels):
        boxes = objects.boxes_xyxy[(objects.labels == label) & objects.is_single] * scale
        captions = [class_names[label] if len(class_names) > len(COLORS) else ""] * len(boxes)
        image = draw_boxes(image, boxes, captions, COLORS[label % len(COLORS)])
    return jpeg(image)


def _fit(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """Resize to a longer side of `side`, enlarging at most four times; returns the image and the scale."""
    scale = min(side / max(image.shape[:2]), 4.0)
    size = tuple(max(1, round(length * scale)) for length in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), scale

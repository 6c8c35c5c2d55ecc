"""Pictures for the page: a look at what a finding is about, and samples with their boxes."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path

import cv2
import numpy as np

from retinanet.dataset.coco import Objects
from retinanet.drawing import COLOURS, CROWD_COLOUR, draw_boxes, jpeg
from retinanet.errors import PictureError
from retinanet.images.reading import read_picture

Xyxy = tuple[float, float, float, float]
THUMB_SIDE = 300
SAMPLE_SIDE = 720
# Pixels of a picture that is only looked at; larger ones were refused or are not worth the wait.
MOST_PIXELS = 200_000_000


def look(path: Path | str, xyxy: Xyxy | None = None) -> bytes | None:
    """A JPEG of the picture, or of a box's surroundings with the box in it; None where it can't be read."""
    try:
        picture = read_picture(Path(path), MOST_PIXELS)
    except PictureError:
        return None
    if xyxy is None or not all(isfinite(side) for side in xyxy):
        return jpeg(_fit(picture, THUMB_SIDE)[0])
    height, width = picture.shape[:2]
    box = np.clip(xyxy, -1e6, 1e6)  # whatever was written has to be computed with
    inside = np.clip(box, 0, [width, height, width, height])
    centre = (inside[:2] + inside[2:]) / 2
    reach = max(80.0, 0.8 * float((inside[2:] - inside[:2]).max()))
    left, top = (int(side) for side in np.maximum(0, centre - reach))
    right, bottom = (int(side) for side in np.minimum([width, height], np.ceil(centre + reach)))
    crop, scale = _fit(picture[top : max(bottom, top + 1), left : max(right, left + 1)], THUMB_SIDE)
    low = np.clip((box[:2] - (left, top)) * scale, -10, crop.shape[1::-1])
    high = np.clip((box[2:] - (left, top)) * scale, -10, crop.shape[1::-1])
    # A box without a size is shown as a small one around its place.
    low, high = np.minimum(low, high - 8), np.maximum(high, low + 8)
    return jpeg(draw_boxes(crop, np.array([[*low, *high]]), [""], COLOURS[2]))


def sample(path: Path | str, objects: Objects, class_names: Sequence[str]) -> bytes:
    """A JPEG of the picture with the boxes of each class in its colour, named where there are more than colours, and
    crowds in grey."""
    picture, scale = _fit(read_picture(Path(path), MOST_PIXELS), SAMPLE_SIDE)
    crowds = objects.boxes_xyxy[objects.iscrowd] * scale
    picture = draw_boxes(picture, crowds, [""] * len(crowds), CROWD_COLOUR)
    for label in np.unique(objects.labels):
        boxes = objects.boxes_xyxy[(objects.labels == label) & objects.is_single] * scale
        named = len(class_names) > len(COLOURS)
        captions = [class_names[label] if named else ""] * len(boxes)
        picture = draw_boxes(picture, boxes, captions, COLOURS[label % len(COLOURS)])
    return jpeg(picture)


def _fit(picture: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """The picture with `side` as its longer side (at most four times its own), and the scale."""
    scale = min(side / max(picture.shape[:2]), 4.0)
    size = tuple(max(1, round(length * scale)) for length in picture.shape[1::-1])
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), scale

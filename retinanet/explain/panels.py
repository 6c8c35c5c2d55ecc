"""The images of the report, as arrays (H, W, 3) uint8: detections, ground truth, and heat maps."""

import cv2
import numpy as np

from retinanet.dataset.coco import Objects
from retinanet.drawing import COLORS, GROUND_TRUTH_COLOR, IGNORED_COLOR, draw_boxes
from retinanet.inference.detections import Detections

# The last color is red, which is reserved for missed objects.
CLASS_COLORS, MISSED_COLOR = COLORS[:-1], COLORS[-1]
# Longer sides in pixels.
CASE_SIDE, LABELS_SIDE = 224, 480
MIN_CROP = 64
MAX_OPACITY = 0.7


def class_color(label: int) -> tuple[int, int, int]:
    return CLASS_COLORS[label % len(CLASS_COLORS)]


def crops_panel(
    image: np.ndarray,
    heat: np.ndarray,
    box: np.ndarray,
    color: tuple[int, int, int],
    side: int,
    objects: Objects | None = None,
) -> np.ndarray:
    """Draw two crops around a box (4,), of `side` pixels: the image, with its objects in white, and its heat (H, W)."""
    top, bottom, left, right = _window(box, *image.shape[:2])
    crop, heat = image[top:bottom, left:right], heat[top:bottom, left:right]
    scale = side / max(crop.shape[:2])
    crop, heat = _scaled(crop, scale), _scaled(heat, scale)
    plain, hot = crop, heated(crop, heat)
    origin = np.array([left, top, left, top])
    if objects is not None:
        for rows, object_color in ((objects.iscrowd, IGNORED_COLOR), (objects.is_single, GROUND_TRUTH_COLOR)):
            boxes = (objects.boxes_xyxy[rows] - origin) * scale
            plain = draw_boxes(plain, boxes, [""] * len(boxes), object_color)
    # Lines are thin on small crops: a second box around the first makes them two pixels wide.
    boxes = (box - origin) * scale + np.array([[0, 0, 0, 0], [-1, -1, 1, 1]])
    return np.hstack([draw_boxes(view, boxes, ["", ""], color) for view in (plain, hot)])


def labels_panel(image: np.ndarray, objects: Objects, found: Detections) -> np.ndarray:
    """Draw the objects in white, ignored regions in gray, and over them detections with scores, colored by class."""
    boxes = np.vstack([objects.boxes_xyxy, found.boxes_xyxy])
    captions = [""] * len(objects) + [f"{score:.2f}" for score in found.scores]
    colors = [IGNORED_COLOR if crowd else GROUND_TRUTH_COLOR for crowd in objects.iscrowd]
    colors += [class_color(int(label)) for label in found.labels]
    # Boxes are drawn after scaling: lines and captions have the same size on every image.
    scale = LABELS_SIDE / max(image.shape[:2])
    panel = _scaled(image, scale)
    for color in dict.fromkeys(colors):
        rows = [row for row, other in enumerate(colors) if other == color]
        panel = draw_boxes(panel, boxes[rows] * scale, [captions[row] for row in rows], color)
    return panel


def heated(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Blend a heat map (H, W) in 0..1 over an image (H, W, 3), dark to bright and transparent at 0."""
    colors = cv2.applyColorMap((heat.clip(0, 1) * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    opacity = MAX_OPACITY * heat.clip(0, 1)[:, :, None] ** 0.5
    return (image * (1 - opacity) + colors * opacity).round().astype(np.uint8)


def _window(box: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of a square around the box, shifted into the image and clipped to it."""
    side = max(2.5 * float(max(box[2] - box[0], box[3] - box[1])), MIN_CROP)
    edges: list[int] = []
    for low, high, length in ((box[1], box[3], height), (box[0], box[2], width)):
        span = min(round(side), length)
        start = min(max(round(float(low + high) / 2 - span / 2), 0), length - span)
        edges += [start, start + span]
    top, bottom, left, right = edges
    return top, bottom, left, right


def _scaled(image: np.ndarray, scale: float) -> np.ndarray:
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)

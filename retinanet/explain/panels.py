"""The images of the report, as arrays (H, W, 3) uint8: detections, ground truth, and heat maps."""

import cv2
import numpy as np

from retinanet.dataset.coco import Objects
from retinanet.drawing import COLORS, GROUND_TRUTH_COLOR, IGNORED_COLOR, draw_boxes
from retinanet.explain.examples import Example, Explained
from retinanet.inference.detections import Detections

# The last color is red, which is reserved for missed objects.
CLASS_COLORS, MISSED_COLOR = COLORS[:-1], COLORS[-1]
# Longer sides in pixels.
IMAGE_SIDE, CROP_SIDE = 760, 320
CASE_SIDE, LABELS_SIDE = 224, 480
MIN_CROP = 64
MAX_OPACITY = 0.7


def class_color(label: int) -> tuple[int, int, int]:
    return CLASS_COLORS[label % len(CLASS_COLORS)]


def letter(position: int) -> str:
    """The label of the explained detection at this position: A to Z, then A1 and so on."""
    return chr(ord("A") + position % 26) + (str(position // 26) if position >= 26 else "")


def detections_panel(example: Example, class_names: tuple[str, ...]) -> np.ndarray:
    """Draw detections in the color of their class with their scores; explained detections also with their letter."""
    detections = example.detections
    # A caption that would cover an earlier one is not drawn, so explained detections come first.
    letters = {explained.row: letter(i) for i, explained in enumerate(example.explained)}
    rows = [*letters, *(row for row in range(len(detections)) if row not in letters)]
    captions = []
    for row in rows:
        name = [class_names[detections.labels[row]]] if len(class_names) > 1 else []
        captions.append(" ".join([*([letters[row]] if row in letters else []), *name, f"{detections.scores[row]:.2f}"]))
    colors = [class_color(int(detections.labels[row])) for row in rows]
    return _boxes_by_color(example.image, detections.boxes_xyxy[rows], captions, colors, IMAGE_SIDE)


def truth_panel(example: Example, class_names: tuple[str, ...]) -> np.ndarray:
    """Draw objects in the color of their class, those without a true positive in red, ignored regions in gray."""
    objects = example.objects
    captions = [class_names[label] if len(class_names) > 1 else "" for label in objects.labels]
    colors = [
        IGNORED_COLOR if crowd else class_color(int(label))
        for label, crowd in zip(objects.labels, objects.iscrowd, strict=True)
    ]
    for row in example.matching.unmatched:
        colors[row] = MISSED_COLOR
    return _boxes_by_color(example.image, objects.boxes_xyxy, captions, colors, IMAGE_SIDE)


def heat_panel(example: Example, explained: Explained) -> np.ndarray:
    """Draw two crops around one detection side by side, without and with the heat map."""
    box, label = example.detections.boxes_xyxy[explained.row], int(example.detections.labels[explained.row])
    return crops_panel(example.image, explained.heat, box, class_color(label), CROP_SIDE)


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
    return _boxes_by_color(image, boxes, captions, colors, LABELS_SIDE)


def heated(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Blend a heat map (H, W) in 0..1 over an image (H, W, 3), dark to bright and transparent at 0."""
    colors = cv2.applyColorMap((heat.clip(0, 1) * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    opacity = MAX_OPACITY * heat.clip(0, 1)[:, :, None] ** 0.5
    return (image * (1 - opacity) + colors * opacity).round().astype(np.uint8)


def _boxes_by_color(
    image: np.ndarray, boxes_xyxy: np.ndarray, captions: list[str], colors: list, side: int
) -> np.ndarray:
    # Boxes are drawn after scaling: lines and captions have the same size on every image.
    scale = side / max(image.shape[:2])
    panel = _scaled(image, scale)
    for color in dict.fromkeys(colors):
        rows = [row for row, other in enumerate(colors) if other == color]
        panel = draw_boxes(panel, boxes_xyxy[rows] * scale, [captions[row] for row in rows], color)
    return panel


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

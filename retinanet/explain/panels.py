"""The images of the report, as arrays (H, W, 3) uint8: detections, ground truth, and one detection's heat map."""

import cv2
import numpy as np

from retinanet.drawing import COLORS, IGNORED_COLOR, draw_boxes
from retinanet.explain.examples import Example, Explained

# The last color is red, which is reserved for missed objects.
CLASS_COLORS, MISSED_COLOR = COLORS[:-1], COLORS[-1]
# Longer sides in pixels.
IMAGE_SIDE, CROP_SIDE = 760, 320
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
    return _boxes_by_color(example.image, detections.boxes_xyxy[rows], captions, colors)


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
    return _boxes_by_color(example.image, objects.boxes_xyxy, captions, colors)


def heat_panel(example: Example, explained: Explained) -> np.ndarray:
    """Draw two crops around one detection side by side, without and with the heat map."""
    height, width = example.image.shape[:2]
    box = example.detections.boxes_xyxy[explained.row]
    top, bottom, left, right = _window(box, height, width)
    crop = example.image[top:bottom, left:right]
    heat = explained.heat[top:bottom, left:right]
    scale = CROP_SIDE / max(crop.shape[:2])
    crop, heat = _scaled(crop, scale), _scaled(heat, scale)
    color = class_color(int(example.detections.labels[explained.row]))
    box_in_crop = (box - [left, top, left, top]) * scale
    # Lines are thin on small crops: a second box around the first makes them two pixels wide.
    boxes = box_in_crop + np.array([[0, 0, 0, 0], [-1, -1, 1, 1]])
    return np.hstack([draw_boxes(view, boxes, ["", ""], color) for view in (crop, heated(crop, heat))])


def heated(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Blend a heat map (H, W) in 0..1 over an image (H, W, 3), dark to bright and transparent at 0."""
    colors = cv2.applyColorMap((heat.clip(0, 1) * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    opacity = MAX_OPACITY * heat.clip(0, 1)[:, :, None] ** 0.5
    return (image * (1 - opacity) + colors * opacity).round().astype(np.uint8)


def strip(example: Example, class_names: tuple[str, ...]) -> np.ndarray:
    """The detections and all heat panels in one row, for viewers that show only images."""
    panels = [detections_panel(example, class_names), *(heat_panel(example, e) for e in example.explained)]
    return np.hstack([_scaled(panel, CROP_SIDE / panel.shape[0])[:CROP_SIDE] for panel in panels])


def _boxes_by_color(image: np.ndarray, boxes_xyxy: np.ndarray, captions: list[str], colors: list) -> np.ndarray:
    # Boxes are drawn after scaling: lines and captions have the same size on every image.
    scale = IMAGE_SIDE / max(image.shape[:2])
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

"""Boxes with captions on images, legible on small and large ones."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from retinanet.inference.detections import Detections

Color = tuple[int, int, int]

# Far apart in hue and bright, so that neighbors differ on dark and on light images.
COLORS: tuple[Color, ...] = (
    (255, 214, 0),
    (0, 210, 255),
    (255, 95, 160),
    (140, 255, 60),
    (255, 150, 30),
    (190, 130, 255),
    (0, 255, 190),
    (255, 80, 60),
)
# Of regions that count neither way, and what a legend calls them.
CROWD_COLOR: Color = (150, 150, 150)
CROWD_NAME = "crowd, or the rest of a cut object: not counted"
# An image with a longer side below this many pixels is enlarged for its detections to be legible.
MIN_DRAWN_SIDE = 480
JPEG_QUALITY = 82


def draw_detections(image: np.ndarray, detections: Detections, class_names: Sequence[str]) -> np.ndarray:
    """A copy of an image (H, W, 3) uint8 with a box, class and score for each detection.

    Small images come back enlarged by a whole factor. Where captions would cover each other the best scores keep
    theirs; one class alone is not named at each box.
    """
    factor = -(-MIN_DRAWN_SIDE // max(image.shape[:2])) if max(image.shape[:2]) < MIN_DRAWN_SIDE else 1
    canvas = _Canvas(image.repeat(factor, axis=0).repeat(factor, axis=1))
    boxes = detections.boxes_xyxy * factor
    labels = [int(label) for label in detections.labels]
    for box, label in zip(boxes, labels, strict=True):
        canvas.outline(box, COLORS[label % len(COLORS)])
    for box, label, score in zip(boxes, labels, detections.scores, strict=True):
        name = f"{class_names[label]} " if len(class_names) > 1 else ""
        canvas.caption(box, f"{name}{score:.2f}", COLORS[label % len(COLORS)])
    return canvas.pixels()


def draw_boxes(image: np.ndarray, boxes: np.ndarray, captions: Sequence[str], color: Color) -> np.ndarray:
    """A copy of an image (H, W, 3) uint8, of the same size, with boxes (B, 4) xyxy in one color.

    An empty caption draws none; of captions that would cover each other the first stays.
    """
    canvas = _Canvas(image)
    for box in boxes:
        canvas.outline(box, color)
    for box, caption in zip(boxes, captions, strict=True):
        canvas.caption(box, caption, color)
    return canvas.pixels()


def jpeg(image: np.ndarray) -> bytes:
    """The bytes of a JPEG file of an image (H, W, 3) uint8."""
    buffer = io.BytesIO()
    # Halved colors would wash the thin lines of boxes out.
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


class _Canvas:
    """An image being drawn on; it knows where captions stand already."""

    def __init__(self, image: np.ndarray):
        self.image = Image.fromarray(np.ascontiguousarray(image))
        self.draw = ImageDraw.Draw(self.image)
        side = max(self.image.size)
        self.line = max(1, round(side / 400))
        self.font = ImageFont.load_default(max(11, round(side / 60)))
        self.taken: list[tuple[float, float, float, float]] = []

    def outline(self, box: np.ndarray, color: Color) -> None:
        left, top, right, bottom = (round(float(edge)) for edge in box)
        # Pillow draws the right and bottom edge inside its limits and refuses crossed ones.
        self.draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color, width=self.line)

    def caption(self, box: np.ndarray, text: str, color: Color) -> None:
        """Above the box, or inside its top edge where the image ends; left out where it does not fit."""
        width, height = self.draw.textbbox((0, 0), text, font=self.font)[2:]
        width, height = width + 4, height + 3
        if not text or width > self.image.width or height > self.image.height:
            return
        left = min(max(0.0, float(box[0])), self.image.width - width)
        top = float(box[1]) - height
        top = min(top if top >= 0 else max(0.0, float(box[1])), self.image.height - height)
        place = (left, top, left + width, top + height)
        if any(_overlap(place, other) for other in self.taken):
            return
        self.taken.append(place)
        self.draw.rectangle(place, fill=color)
        dark = np.dot(color, (0.299, 0.587, 0.114)) > 110
        self.draw.text((left + 2, top + 1), text, fill=(0, 0, 0) if dark else (255, 255, 255), font=self.font)

    def pixels(self) -> np.ndarray:
        return np.array(self.image)


def _overlap(a: tuple, b: tuple) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

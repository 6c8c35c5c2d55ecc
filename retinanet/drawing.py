"""Draw boxes with captions on images, legible on small and large ones."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from retinanet.dataset.coco import Objects
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
IGNORED_COLOR: Color = (150, 150, 150)
IGNORED_NAME = "ignored region (crowd or truncated object)"
GROUND_TRUTH_COLOR: Color = (255, 255, 255)
# Images with a longer side of fewer pixels are enlarged, so that captions are legible.
MIN_DRAWN_SIDE = 480
JPEG_QUALITY = 82


def draw_detections(image: np.ndarray, detections: Detections, class_names: Sequence[str]) -> np.ndarray:
    """Draw each detection's box, class and score on a copy of an image (H, W, 3) uint8.

    Small images are enlarged by an integer factor. A caption that would cover another is left out, the best scores
    first. The class is named only if there are several.
    """
    factor = _enlargement(image)
    canvas = _Canvas(_enlarged(image, factor))
    boxes = detections.boxes_xyxy * factor
    labels = [int(label) for label in detections.labels]
    for box, label in zip(boxes, labels, strict=True):
        canvas.outline(box, COLORS[label % len(COLORS)])
    for box, label, score in zip(boxes, labels, detections.scores, strict=True):
        name = f"{class_names[label]} " if len(class_names) > 1 else ""
        canvas.caption(box, f"{name}{score:.2f}", COLORS[label % len(COLORS)])
    return canvas.pixels()


def draw_objects(image: np.ndarray, objects: Objects, class_names: Sequence[str]) -> np.ndarray:
    """Draw the ground truth on a copy of an image, ignored regions in gray, at the scale of draw_detections."""
    factor = _enlargement(image)
    drawn = _enlarged(image, factor)
    names = np.array(class_names if len(class_names) > 1 else [""])[objects.labels]
    for rows, color in ((objects.iscrowd, IGNORED_COLOR), (objects.is_single, GROUND_TRUTH_COLOR)):
        drawn = draw_boxes(drawn, objects.boxes_xyxy[rows] * factor, names[rows], color)
    return drawn


def draw_boxes(image: np.ndarray, boxes: np.ndarray, captions: Sequence[str], color: Color) -> np.ndarray:
    """Draw boxes (B, 4) xyxy in one color on a copy of an image (H, W, 3) uint8.

    Empty captions are not drawn, nor is a caption that would cover an earlier one.
    """
    canvas = _Canvas(image)
    for box in boxes:
        canvas.outline(box, color)
    for box, caption in zip(boxes, captions, strict=True):
        canvas.caption(box, caption, color)
    return canvas.pixels()


def jpeg(image: np.ndarray) -> bytes:
    """Encode an image (H, W, 3) uint8 as a JPEG file."""
    buffer = io.BytesIO()
    # Chroma subsampling would blur the thin lines of boxes.
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def _enlargement(image: np.ndarray) -> int:
    return max(1, -(-MIN_DRAWN_SIDE // max(image.shape[:2])))


def _enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


class _Canvas:
    """An image being drawn on, and the captions on it."""

    def __init__(self, image: np.ndarray):
        self.image = Image.fromarray(np.ascontiguousarray(image))
        self.draw = ImageDraw.Draw(self.image)
        side = max(self.image.size)
        self.line = max(1, round(side / 400))
        self.font = ImageFont.load_default(max(11, round(side / 60)))
        self.caption_boxes: list[tuple[float, float, float, float]] = []

    def outline(self, box: np.ndarray, color: Color) -> None:
        left, top, right, bottom = (round(float(edge)) for edge in box)
        # Pillow includes the right and bottom edge and rejects boxes of negative size.
        self.draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color, width=self.line)

    def caption(self, box: np.ndarray, text: str, color: Color) -> None:
        """Write above the box, or inside its top edge at the top of the image; leave out a caption without space."""
        width, height = self.draw.textbbox((0, 0), text, font=self.font)[2:]
        width, height = width + 4, height + 3
        if not text or width > self.image.width or height > self.image.height:
            return
        left = min(max(0.0, float(box[0])), self.image.width - width)
        top = float(box[1]) - height
        top = min(top if top >= 0 else max(0.0, float(box[1])), self.image.height - height)
        caption_box = (left, top, left + width, top + height)
        if any(_overlap(caption_box, other) for other in self.caption_boxes):
            return
        self.caption_boxes.append(caption_box)
        self.draw.rectangle(caption_box, fill=color)
        is_bright = np.dot(color, (0.299, 0.587, 0.114)) > 110
        self.draw.text((left + 2, top + 1), text, fill=(0, 0, 0) if is_bright else (255, 255, 255), font=self.font)

    def pixels(self) -> np.ndarray:
        return np.array(self.image)


def _overlap(a: tuple, b: tuple) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

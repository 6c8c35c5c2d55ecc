"""The detections of one image, and the settings of decoding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retinanet.errors import first_of


@dataclass(frozen=True)
class Detections:
    """D detections on one image, best score first.

    boxes_xyxy (D, 4) float32 in pixels of that image, scores (D,) float32 in 0..1,
    labels (D,) int64 in 0..K-1.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    @classmethod
    def empty(cls) -> "Detections":
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score: float | Sequence[float]) -> "Detections":
        """Detections with at least this score, or with at least the score of their class, (K,)."""
        limit = score if isinstance(score, int | float) else np.asarray(score, np.float64)[self.labels]
        return self.rows(self.scores >= limit)

    def rows(self, index: np.ndarray) -> "Detections":
        """Select detections by a mask or by row numbers, in their order."""
        return Detections(self.boxes_xyxy[index], self.scores[index], self.labels[index])

    def resized(self, size: tuple[int, int], new_size: tuple[int, int]) -> "Detections":
        """The same detections after their image of (height, width) `size` was resized to `new_size`."""
        ratio = np.array([new_size[1] / size[1], new_size[0] / size[0]] * 2, np.float32)
        return Detections(self.boxes_xyxy * ratio, self.scores, self.labels)


def thresholds_text(class_names: Sequence[str], thresholds: Sequence[float]) -> str:
    """The score thresholds of the first classes, as a person reads them."""
    return first_of([f"{name} {score:g}" for name, score in zip(class_names, thresholds, strict=True)])


@dataclass(frozen=True)
class DecodeSettings:
    """How logits become detections: the fields of params.evaluate of the same names."""

    score_threshold: float
    nms_iou: float
    candidates_per_level: int
    detections_per_image: int


# The defaults of torchvision and, except for its 100 detections per image, of detectron2. Validation during training
# always uses them, so that changing params.evaluate never retrains; so does a weights file opened without settings.
STANDARD_DECODING = DecodeSettings(
    score_threshold=0.05, nms_iou=0.5, candidates_per_level=1000, detections_per_image=300
)

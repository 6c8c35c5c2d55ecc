"""Detections on one image, and the settings that turn scores into detections."""

from dataclasses import dataclass

import numpy as np


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
    def none(cls) -> "Detections":
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score: float) -> "Detections":
        """The detections with at least this score."""
        return self.rows(self.scores >= score)

    def rows(self, index: np.ndarray) -> "Detections":
        """The detections that a mask or an array of row numbers selects, in its order."""
        return Detections(self.boxes_xyxy[index], self.scores[index], self.labels[index])


@dataclass(frozen=True)
class DecodeSettings:
    """How scores become detections: the fields of params.evaluate of the same names."""

    score_threshold: float
    nms_iou: float
    candidates_per_level: int
    detections_per_image: int


# torchvision's and detectron2's, but for the latter's 100 detections. Validation during training uses them always, so
# that changing params.evaluate never retrains; a weights file opened without settings uses them, too.
STANDARD_DECODING = DecodeSettings(
    score_threshold=0.05, nms_iou=0.5, candidates_per_level=1000, detections_per_image=300
)

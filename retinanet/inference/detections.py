"""What a detector found on one picture."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Detections:
    """D detections on one picture, best score first.

    boxes_xyxy (D, 4) float32 in pixels of that picture, scores (D,) float32 in 0..1,
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

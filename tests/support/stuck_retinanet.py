"""A program: `retinanet` with exported models whose runtime never returns from the second image on."""

import threading
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

from retinanet.cli.main import main
from retinanet.inference.detections import Detections
from retinanet.inference.detector import Detector
from retinanet.serving import models

load_detector = models.load_detector


def load_stuck_detector(path: Path) -> Detector:
    detector, calls = load_detector(path), iter([1])

    def run(images: np.ndarray, sizes: np.ndarray) -> list[Detections]:
        if next(calls, None) is None:
            threading.Event().wait()
        return detector.run(images, sizes)

    return replace(detector, run=run)


if __name__ == "__main__":
    with patch.object(models, "load_detector", load_stuck_detector):
        main()

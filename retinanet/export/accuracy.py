"""AP of a detector on a split, with any runtime."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from retinanet.dataset.coco import CocoDataset, ImageInfo
from retinanet.evaluation.coco_metrics import evaluate, summarize
from retinanet.evaluation.intervals import Difference, differences
from retinanet.evaluation.matches import Matches, matches_of
from retinanet.images.reading import Reading, read_image
from retinanet.inference.detector import Detector
from retinanet.inference.results import coco_results


class Accuracy(NamedTuple):
    ap: float
    matches: Matches

    def gain(self, other: "Accuracy") -> Difference:
        """The gain in AP over another detector on the same images, with its interval if there are enough of them."""
        return differences(self.matches, other.matches)["AP"]


def measure_accuracy(detector: Detector, dataset: CocoDataset) -> Accuracy:
    """Detect on all images of a split, one by one. Raises EvaluationError if it has no objects."""
    results = []
    for info in dataset.images:
        (detections,) = detector([read_image(Path(info.file_name), dataset.reading)])
        results += coco_results(info.id, detections, dataset.category_ids)
    evaluation = evaluate(dataset, results)
    return Accuracy(summarize(evaluation, dataset)["AP"], matches_of(evaluation, dataset))


def read_images(infos: Sequence[ImageInfo], reading: Reading) -> list[np.ndarray]:
    return [read_image(Path(info.file_name), reading) for info in infos]

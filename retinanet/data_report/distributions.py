"""Histograms of image sizes, box sizes and ratios, and objects per image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from retinanet.data_report.coverage import TrainingBoxes
from retinanet.dataset.coco import CocoDataset

SIDES = (8, 16, 32, 64, 128, 256, 512)  # pixels
RATIOS = (0.25, 0.5, 0.8, 1.25, 2, 4)
COUNTS = (1, 2, 5, 10, 20, 50, 100)
MAX_SIZES = 8


def distributions(datasets: Mapping[str, CocoDataset], boxes: TrainingBoxes) -> dict[str, dict[str, int]]:
    """Histograms: training boxes by side and ratio, images by number of objects and by size."""
    sides = boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]
    all_images = [(dataset, image) for dataset in datasets.values() for image in dataset.images]
    sizes = Counter(f"{image.width} x {image.height}" for _, image in all_images)
    most_common = dict(sizes.most_common(MAX_SIZES))
    if others := sizes.total() - sum(most_common.values()):
        most_common["other"] = others
    return {
        "box_sides": histogram(np.sqrt(sides.prod(axis=1)), SIDES),
        "box_ratios": histogram(sides[:, 1] / sides[:, 0], RATIOS),
        "objects_per_image": histogram([d.objects[image.id].count for d, image in all_images], COUNTS, integers=True),
        "image_sizes": most_common,
    }


def histogram(values: Sequence[float] | np.ndarray, edges: Sequence[float], integers: bool = False) -> dict[str, int]:
    """The number of values below the first edge, in each [edge, next edge), and from the last edge up."""
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    names = [f"< {edges[0]:g}"]
    for low, high in pairwise(edges):
        last = high - 1 if integers else high
        names.append(f"{low:g}" if last == low else f"{low:g} to {last:g}")
    names.append(f"≥ {edges[-1]:g}")
    if integers and edges[0] == 1:
        names[0] = "0"
    return {name: int(count) for name, count in zip(names, counts, strict=True)}

"""How large images and objects are, how long, and how many on an image."""

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
    """Counts by range: of the training boxes' sides and ratios, of objects on an image, and of images' sizes."""
    sides = boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]
    everything = [(dataset, image) for dataset in datasets.values() for image in dataset.images]
    sizes = Counter(f"{image.width} x {image.height}" for _, image in everything)
    shown = dict(sizes.most_common(MAX_SIZES))
    if rest := sizes.total() - sum(shown.values()):
        shown["other"] = rest
    return {
        "box_sides": histogram(np.sqrt(sides.prod(axis=1)), SIDES),
        "box_ratios": histogram(sides[:, 1] / sides[:, 0], RATIOS),
        "objects_a_image": histogram([d.objects[p.id].count for d, p in everything], COUNTS, whole=True),
        "image_sizes": shown,
    }


def histogram(values: Sequence[float] | np.ndarray, edges: Sequence[float], whole: bool = False) -> dict[str, int]:
    """How many values lie below the first edge, between each two (the lower one included), and above the last."""
    rows = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    names = [f"< {edges[0]:g}"]
    for low, high in pairwise(edges):
        last = high - 1 if whole else high
        names.append(f"{low:g}" if last == low else f"{low:g} to {last:g}")
    names.append(f"≥ {edges[-1]:g}")
    if whole and edges[0] == 1:
        names[0] = "0"
    return {name: int(count) for name, count in zip(names, rows, strict=True)}

"""Images of ground truth and detections side by side."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from retinanet.dataset.coco import CocoDataset
from retinanet.drawing import draw_detections, draw_objects
from retinanet.images.reading import read_image
from retinanet.images.sampling import evenly_spaced
from retinanet.inference.detections import Detections

GAP = 8  # white pixels between the two


def draw_comparisons(dataset: CocoDataset, detections: Mapping[int, Detections], count: int, folder: Path) -> None:
    """Draw ground truth (left) and detections (right) of up to `count` images of the dataset into a new folder.

    detections are by image id. Files are named by image id and base name, since base names may repeat.
    """
    folder.mkdir()
    for info in evenly_spaced(dataset.images, count):
        path = Path(info.file_name)
        image = read_image(path, dataset.reading)
        ground_truth = draw_objects(image, dataset.objects[info.id], dataset.class_names)
        detected = draw_detections(image, detections[info.id], dataset.class_names)
        gap = np.full((detected.shape[0], GAP, 3), 255, np.uint8)
        Image.fromarray(np.hstack([ground_truth, gap, detected])).save(folder / f"{info.id}_{path.stem}.png")

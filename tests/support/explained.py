"""A page of explained cases on gray images, for tests of what it says and of its filter."""

from pathlib import Path

import numpy as np
from PIL import Image

from retinanet.dataset.coco import CocoDataset, ImageInfo, Objects
from retinanet.evaluation.errors import detections_above
from retinanet.explain.case_heats import ExplainedCase
from retinanet.explain.cases import select_cases
from retinanet.explain.label_checks import labels_to_check
from retinanet.explain.report import case_figure, report_html
from retinanet.explain.targets import Explanation

SIDE = 120


def class_page(folder: Path, classes: int) -> str:
    """A page of a test split with one image for each class, written to `folder`, where it has to be called.

    Class k has a hit with a score of 0.9, a false positive with 0.6, and a missed object.
    """
    infos, objects, rows = [], {}, []
    gradient = np.tile(np.linspace(40, 160, SIDE).astype(np.uint8)[None, :, None], (SIDE, 1, 3))
    for label in range(classes):
        name = f"{label}.png"
        Image.fromarray(gradient).save(folder / name)
        infos.append(ImageInfo(label + 1, name, SIDE, SIDE))
        boxes = np.array([[10, 10, 40, 40], [60, 60, 100, 100]], np.float32)
        objects[label + 1] = Objects(boxes, np.array([label, label]), np.zeros(2, bool))
        for (x, y), score in (((10, 10), 0.9), ((80, 5), 0.6)):
            rows.append({"image_id": label + 1, "category_id": label + 1, "bbox": [x, y, 30, 30], "score": score})
    names = tuple(f"class {label}" for label in range(classes))
    dataset = CocoDataset(tuple(infos), names, tuple(range(1, classes + 1)), objects)
    detections = detections_above(dataset, rows, (0.0,) * classes)
    thresholds = (0.5,) * classes
    cases = select_cases(dataset, detections, thresholds, cases_per_kind=2, max_cases=300)
    heat = np.tile(np.linspace(0, 1, SIDE, dtype=np.float32), (SIDE, 1))
    figures = {
        case: case_figure(
            ExplainedCase(case, gradient, objects[case.image_id], Explanation(heat, 4, 16, 0.25)),
            names,
            infos[case.image_id - 1].file_name,
        )
        for case in cases
    }
    to_check = labels_to_check(dataset, detections, thresholds)
    return report_html(dataset, figures, to_check, {"AP50": "0.5"}, "hirescam")

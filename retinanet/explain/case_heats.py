"""Explain cases: one pass of the network for each image, or tile, that has some."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from retinanet.dataset.coco import CocoDataset, Objects
from retinanet.evaluation.errors import NO_OBJECT
from retinanet.explain.cases import DETECTION, MISSED, Case
from retinanet.explain.targets import Explanation, Target, explain_targets
from retinanet.images.boxes import intersection
from retinanet.images.preprocess import InputSize
from retinanet.images.reading import read_image
from retinanet.images.tiles import Region
from retinanet.inference.detections import Detections
from retinanet.inference.tiling import cut
from retinanet.model.retinanet import RetinaNet
from retinanet.model.weights import TrainedModel


class ExplainedCase(NamedTuple):
    """A case and its explanation on an image (H, W, 3) uint8, or on the tile of it that begins at `origin` (x, y).

    objects are those of the image, None without ground truth.
    """

    case: Case
    image: np.ndarray
    objects: Objects | None
    explanation: Explanation
    origin: tuple[int, int] = (0, 0)

    @property
    def box_xyxy(self) -> np.ndarray:
        """(4,) the box of the case in pixels of the image or tile."""
        return self.case.box_xyxy - np.array(self.origin * 2)


class Localization(NamedTuple):
    """How well a heat map localizes a box: the share of its heat inside, and whether its maximum is inside."""

    share_inside: float
    points_inside: bool


def explain_cases(
    model: RetinaNet, dataset: CocoDataset, cases: Sequence[Case], input_size: InputSize, method: str
) -> Iterator[ExplainedCase]:
    """Explain each case, image by image in the order of the dataset. model is in eval mode; nothing is cut."""
    by_image: dict[int, list[Case]] = defaultdict(list)
    for case in cases:
        by_image[case.image_id].append(case)
    for info in dataset.images:
        if info.id not in by_image:
            continue
        image = read_image(Path(info.file_name), dataset.reading)
        targets = [Target(case.label, case.box_xyxy, case.kind == MISSED) for case in by_image[info.id]]
        explanations = explain_targets(model, image, input_size, targets, method)
        for case, explanation in zip(by_image[info.id], explanations, strict=True):
            yield ExplainedCase(case, image, dataset.objects[info.id], explanation)


def explain_detections(
    trained: TrainedModel, image: np.ndarray, detections: Detections, method: str
) -> list[ExplainedCase]:
    """Explain detections on an image of any size without ground truth, best score first.

    An image that inference cuts into tiles is explained tile by tile: each detection in the tile that shows most of it.
    """
    regions = cut(image.shape[0], image.shape[1], trained.tiling)
    rows_of: dict[Region, list[int]] = defaultdict(list)
    for row, box in enumerate(detections.boxes_xyxy):
        rows_of[_tile_of(regions, box)].append(row)
    explained: dict[int, ExplainedCase] = {}
    for region, rows in rows_of.items():
        tile = image[region.top : region.bottom, region.left : region.right]
        origin = np.array([region.left, region.top] * 2, np.float32)
        targets = [Target(int(detections.labels[row]), detections.boxes_xyxy[row] - origin) for row in rows]
        for row, found in zip(
            rows, explain_targets(trained.model, tile, trained.input_size, targets, method), strict=True
        ):
            label, score = int(detections.labels[row]), float(detections.scores[row])
            case = Case(DETECTION, "", 0, label, score, detections.boxes_xyxy[row], NO_OBJECT, 0.0)
            explained[row] = ExplainedCase(case, tile, None, found, (region.left, region.top))
    return [explained[row] for row in range(len(detections))]


def localization(heat: np.ndarray, box_xyxy: np.ndarray) -> Localization:
    """heat is (H, W), box_xyxy in its pixels; a pixel is inside if its center is. Without heat, nothing is inside."""
    rows, columns = (np.arange(length) + 0.5 for length in heat.shape)
    left, top, right, bottom = box_xyxy
    in_rows, in_columns = (rows >= top) & (rows <= bottom), (columns >= left) & (columns <= right)
    inside = heat[np.ix_(in_rows, in_columns)]
    highest = float(heat.max(initial=0))
    if highest <= 0:
        return Localization(0.0, False)
    return Localization(float(inside.sum() / heat.sum()), float(inside.max(initial=0)) >= highest)


def heat_metrics(measured: Sequence[Localization]) -> dict[str, float]:
    """Means over heat maps, by name; empty without any."""
    if not measured:
        return {}
    return {
        "heat_inside_box": float(np.mean([one.share_inside for one in measured])),
        "heat_maximum_inside_box": float(np.mean([one.points_inside for one in measured])),
    }


def _tile_of(regions: Sequence[Region], box: np.ndarray) -> Region:
    edges = np.array(regions, np.float32)
    shown = intersection(edges, box[None])
    # Of several tiles that show all of it, the one in which it is most central.
    distances = np.abs((edges[:, :2] + edges[:, 2:] - box[:2] - box[2:]) / 2).max(axis=1)
    return regions[int(np.lexsort((distances, -shown))[0])]

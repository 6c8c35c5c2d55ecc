"""Whether the anchors reach the objects: each box's best IoU with any anchor, as the network will see it.

An anchor learns an object from an IoU of 0.5 on and ignores it down to 0.4; an object below has its one best anchor
alone. The grid here is that of networks that pad their convolutions, as ResNets do: cells lie a stride apart from
pixel 0 of the image, which is resized for training and padded on its own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from retinanet.dataset.coco import CocoDataset
from retinanet.images.boxes import iou
from retinanet.images.preprocess import InputSize, fit_scale, padded_size, scaled_size
from retinanet.model.levels import LEVEL_STRIDES

THRESHOLDS = (0.5, 0.4)


class AnchorSettings(NamedTuple):
    """As in params.yaml: a size for each level in pixels, ratios as height / width."""

    sizes: tuple[float, ...]
    scales_per_octave: int
    ratios: tuple[float, ...]
    convention: str = "exact"


class TrainingBoxes(NamedTuple):
    """G boxes in pixels of the network's input: xyxy (G, 4), that input's (height, width) (G, 2), labels (G,)."""

    xyxy: np.ndarray
    input_sizes: np.ndarray
    labels: np.ndarray

    def only(self, rows: np.ndarray) -> "TrainingBoxes":
        return TrainingBoxes(self.xyxy[rows], self.input_sizes[rows], self.labels[rows])


def training_boxes(dataset: CocoDataset, input_size: InputSize) -> TrainingBoxes:
    """The dataset's boxes, crowds left out, at the size that images are resized to."""
    boxes, sizes, labels = [np.zeros((0, 4))], [np.zeros((0, 2))], [np.zeros(0, np.int64)]
    for image in dataset.images:
        objects = dataset.objects[image.id]
        single = objects.is_single
        scale = fit_scale(image.height, image.width, *input_size)
        padded = padded_size(*scaled_size(image.height, image.width, scale))
        boxes.append(objects.boxes_xyxy[single] * scale)
        sizes.append(np.tile(padded, (objects.count, 1)))
        labels.append(objects.labels[single])
    return TrainingBoxes(np.concatenate(boxes), np.concatenate(sizes), np.concatenate(labels))


def anchor_shapes(anchors: AnchorSettings) -> np.ndarray:
    """(5, A, 2) width and height of the anchors of a cell on each level, rounded where the convention rounds."""
    octave = 2 ** (np.arange(anchors.scales_per_octave) / anchors.scales_per_octave)
    sizes = np.asarray(anchors.sizes, float)[:, None] * octave  # (5, scales)
    if anchors.convention == "torchvision":
        sizes = np.trunc(sizes)
    roots = np.sqrt(np.asarray(anchors.ratios, float))[None, :, None]
    shapes = np.stack([sizes[:, None] / roots, sizes[:, None] * roots], axis=-1).reshape(len(LEVEL_STRIDES), -1, 2)
    return 2 * np.round(shapes / 2) if anchors.convention == "torchvision" else shapes


def best_ious(boxes: TrainingBoxes, anchors: AnchorSettings) -> np.ndarray:
    """(G,) the IoU of each box with the anchor that fits it best, over all cells, levels and shapes.

    Of anchors of one shape, the one whose center is nearest fits best, in x and in y alike; so only that is looked at.
    """
    best = np.zeros(len(boxes.xyxy))
    box_centers = (boxes.xyxy[:, :2] + boxes.xyxy[:, 2:]) / 2
    grid = boxes.input_sizes[:, ::-1] // LEVEL_STRIDES[0]  # columns, rows
    for level, (stride, shapes) in enumerate(zip(LEVEL_STRIDES, anchor_shapes(anchors), strict=True)):
        if level:
            grid = -(-grid // 2)
        step = boxes.input_sizes[:, ::-1] // grid if anchors.convention == "torchvision" else stride
        center = np.clip(np.round(box_centers / step), 0, grid - 1) * step
        for shape in shapes:
            anchor = np.concatenate([center - shape / 2, center + shape / 2], axis=1)
            np.maximum(best, iou(boxes.xyxy, anchor), out=best)
    return best


def coverage_by_class(ious: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, dict]:
    """For each class its boxes, and the share of them whose best IoU reaches each of THRESHOLDS; no boxes, no entry."""
    found = {}
    for label, name in enumerate(class_names):
        own = ious[labels == label]
        if len(own):
            found[name] = {"boxes": len(own)} | {f"IoU {t}": round(float((own >= t).mean()), 4) for t in THRESHOLDS}
    return found

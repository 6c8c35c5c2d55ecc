"""Anchor coverage: the best IoU of each training box with any anchor of the grid.

Anchors with an IoU of at least 0.5 are positive, those from 0.4 to 0.5 are ignored; an object below 0.4 has only its
best anchor. The grid is that of backbones with padded convolutions, such as ResNets: cells are a stride apart, from
pixel 0 of the image, which is resized for training and padded without a batch.
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
    """model.anchors of params.yaml: a size in pixels for each level, and ratios of height / width."""

    sizes: tuple[float, ...]
    scales_per_octave: int
    ratios: tuple[float, ...]
    convention: str = "exact"


class TrainingBoxes(NamedTuple):
    """G boxes in pixels of the network's input: xyxy (G, 4), their input's (height, width) (G, 2), labels (G,)."""

    xyxy: np.ndarray
    input_sizes: np.ndarray
    labels: np.ndarray

    def only(self, rows: np.ndarray) -> "TrainingBoxes":
        return TrainingBoxes(self.xyxy[rows], self.input_sizes[rows], self.labels[rows])


def training_boxes(dataset: CocoDataset, input_size: InputSize) -> TrainingBoxes:
    """The boxes of the dataset without ignored regions, scaled like their images to input_size."""
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
    """(5, A, 2) width and height of the A anchors of a cell on each level, rounded as the convention does."""
    octave = 2 ** (np.arange(anchors.scales_per_octave) / anchors.scales_per_octave)
    sizes = np.asarray(anchors.sizes, float)[:, None] * octave  # (5, scales)
    if anchors.convention == "torchvision":
        sizes = np.trunc(sizes)
    roots = np.sqrt(np.asarray(anchors.ratios, float))[None, :, None]
    shapes = np.stack([sizes[:, None] / roots, sizes[:, None] * roots], axis=-1).reshape(len(LEVEL_STRIDES), -1, 2)
    return 2 * np.round(shapes / 2) if anchors.convention == "torchvision" else shapes


def best_ious(boxes: TrainingBoxes, anchors: AnchorSettings) -> np.ndarray:
    """(G,) the maximum IoU of each box with an anchor, over all cells, levels and shapes.

    Among anchors of one shape the maximum is at the nearest center, so only that one is computed.
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
    """For each class with boxes: their number, and the share whose best IoU is at least each of THRESHOLDS."""
    coverage = {}
    for label, name in enumerate(class_names):
        class_ious = ious[labels == label]
        if len(class_ious):
            shares = {f"IoU {t}": round(float((class_ious >= t).mean()), 4) for t in THRESHOLDS}
            coverage[name] = {"boxes": len(class_ious)} | shares
    return coverage

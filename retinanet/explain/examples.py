"""Detect on one image, match the detections to the ground truth, and explain a selection of them."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch

from retinanet.dataset.coco import Objects
from retinanet.evaluation.errors import IGNORED, TRUE_POSITIVE, Matching, match_detections
from retinanet.explain.cam import hirescam
from retinanet.images.preprocess import InputSize, fitted_size, pad_batch, padding_color, resize_to
from retinanet.inference.detections import DecodeSettings, Detections
from retinanet.inference.network import decode_outputs, run_network, to_detections
from retinanet.model.levels import FIRST_LEVEL, LEVEL_STRIDES
from retinanet.model.retinanet import RetinaNet


class Explained(NamedTuple):
    """The heat map of detection `row`: heat (H, W) float32 in 0..1 on the image, computed on pyramid level P`level`.

    reason says why the detection was selected; stride is the level's, in pixels of the network's input.
    """

    row: int
    reason: str
    heat: np.ndarray
    level: int
    stride: int


class Example(NamedTuple):
    """An image (H, W, 3) uint8 with its detections, ground truth, their matching, and explained detections."""

    name: str
    image: np.ndarray
    detections: Detections
    objects: Objects
    matching: Matching
    explained: tuple[Explained, ...]


def explain_image(
    model: RetinaNet,
    name: str,
    image: np.ndarray,
    objects: Objects,
    input_size: InputSize,
    settings: DecodeSettings,
    thresholds: Sequence[float],
    count: int,
) -> Example:
    """Detect like a Detector without tiling, and explain up to `count` detections of at least the threshold of their
    class, (K,).

    model must be in eval mode. image is (H, W, 3) uint8 RGB of any size.
    """
    size = fitted_size(image.shape[0], image.shape[1], input_size)
    batch = torch.from_numpy(pad_batch([resize_to(image, size)], padding_color(model.backbone.mean)))
    with torch.no_grad():
        (decoded,) = decode_outputs(run_network(model, batch), [size], settings)
    detections = to_detections(decoded, size, image.shape[:2]).above(thresholds)
    matching = match_detections(detections, objects)
    selected = select_examples(matching.outcomes, count)
    inputs = model.normalize(batch.to(model.mean.device))
    targets = [(int(decoded.anchor_index[row]), int(decoded.labels[row])) for row, _ in selected]
    heats = hirescam(model, inputs, targets)
    explained = []
    for (row, reason), heat in zip(selected, heats, strict=True):
        level = heat.level - FIRST_LEVEL
        on_image = cam_to_image(heat.cells, LEVEL_STRIDES[level], model.origin(level), size, image.shape)
        explained.append(Explained(row, reason, on_image, heat.level, LEVEL_STRIDES[level]))
    return Example(name, image, detections, objects, matching, tuple(explained))


def select_examples(outcomes: Sequence[str], count: int) -> list[tuple[int, str]]:
    """Up to `count` rows to explain with the reason for each, given the outcomes of detections, best score first.

    The most confident true and false positives and the least confident true positive come first, then the others by
    score. Ignored detections are never selected.
    """
    true = [row for row, outcome in enumerate(outcomes) if outcome == TRUE_POSITIVE]
    false = [row for row, outcome in enumerate(outcomes) if outcome not in (TRUE_POSITIVE, IGNORED)]
    reasons: dict[int, str] = {}
    for rows, reason in (
        (true[:1], "most confident true positive"),
        (false[:1], "most confident false positive"),
        (true[-1:], "least confident true positive"),
    ):
        for row in rows:
            reasons.setdefault(row, reason)
    for row in sorted([*true, *false]):
        reasons.setdefault(row, "true positive" if row in true else "false positive")
    return list(reasons.items())[:count]


def cam_to_image(
    cells: np.ndarray, stride: int, origin: float, resized: Sequence[int], image: Sequence[int]
) -> np.ndarray:
    """Resample the cells of a pyramid map to an image: each cell at its center, linear in between.

    In pixels of the network's input, cells are `stride` apart and the first is centered on `origin`; the image, of
    shape `image` (H, W, ...), fills the input's top left `resized` (rows, columns). Returns (H, W).
    """
    inverse = np.zeros((2, 3))
    for axis, side in ((0, 1), (1, 0)):  # x runs over columns
        ratio = resized[side] / image[side]
        inverse[axis, axis], inverse[axis, 2] = ratio / stride, ((ratio - 1) / 2 - origin) / stride
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(cells, inverse, (image[1], image[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE)

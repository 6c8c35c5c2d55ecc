"""From boxes on an image to the anchors behind them, and to heat maps on the image."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from retinanet.explain.cam import METHODS, Forward, cam_to_image, heat_maps, run_forward
from retinanet.images.preprocess import InputSize, fitted_size, pad_batch, padding_color, resize_to
from retinanet.model import boxes as box_ops
from retinanet.model.levels import FIRST_LEVEL, LEVEL_STRIDES
from retinanet.model.retinanet import RetinaNet

# Anchors whose decoded boxes overlap a detection by at least this are the same detection: NMS kept the best of them.
SAME_BOX_IOU = 0.9


class Target(NamedTuple):
    """What to explain: a detection, or an object that has none (is_missed), by label and box (4,) xyxy on the image."""

    label: int
    box_xyxy: np.ndarray
    is_missed: bool = False


class Explanation(NamedTuple):
    """The heat (H, W) float32 in 0..1 on an image, computed on pyramid level P`level` for an anchor of that score.

    stride is the level's, in pixels of the network's input.
    """

    heat: np.ndarray
    level: int
    stride: int
    score: float


class ImagePass(NamedTuple):
    """The network's pass over an image of `shape` that was resized to `size`; both (height, width).

    inputs (1, 3, H, W) are normalized and padded; anchors (R, 4) are in their pixels.
    """

    inputs: Tensor
    forward: Forward
    anchors: Tensor
    size: tuple[int, int]
    shape: tuple[int, int]


def network_input(model: RetinaNet, image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """(1, 3, H, W): an image (H, W, 3) uint8 RGB, resized to (height, width) `size`, padded and normalized."""
    batch = torch.from_numpy(pad_batch([resize_to(image, size)], padding_color(model.backbone.mean)))
    return model.normalize(batch.to(model.mean.device))


def run_image(model: RetinaNet, image: np.ndarray, input_size: InputSize) -> ImagePass:
    """Apply a model in eval mode to an image (H, W, 3) uint8 RGB of any size, without tiling."""
    shape = image.shape[0], image.shape[1]
    size = fitted_size(*shape, input_size)
    inputs = network_input(model, image, size)
    anchors = model.anchors(inputs.shape[2], inputs.shape[3])
    return ImagePass(inputs, run_forward(model, inputs), anchors, size, shape)


def find_anchor(image_pass: ImagePass, target: Target) -> int:
    """The anchor of a detection, or the one that should have fired for a missed object.

    A detection's is the anchor with the best score among those whose decoded box is the detection's. A missed object's
    is the one that training assigns to it whatever the overlap (losses.matching): with the highest IoU.
    """
    forward, anchors = image_pass.forward, image_pass.anchors
    ratio = np.array([new / old for new, old in zip(image_pass.size, image_pass.shape, strict=True)][::-1] * 2)
    box = torch.from_numpy((target.box_xyxy * ratio)[None]).to(anchors)
    logits = forward.logits[:, target.label].detach().float()
    if target.is_missed:
        boxes = anchors
        least = 1.0
    else:
        decoded = box_ops.decode(forward.deltas.float(), anchors)
        boxes = box_ops.clip(decoded, torch.tensor(image_pass.size, device=anchors.device))
        least = SAME_BOX_IOU
    overlaps = box_ops.pairwise_iou(box, boxes)[0]
    candidates = overlaps >= min(least, float(overlaps.max()))
    return int(torch.where(candidates, logits, -torch.inf).argmax())


def explain_anchors(
    model: RetinaNet, image_pass: ImagePass, anchors: Sequence[tuple[int, int]], method: str
) -> list[Explanation]:
    """The heat of each (anchor_index, label); method is a name of METHODS."""
    heats = heat_maps(image_pass.forward, anchors, model.anchors_per_cell, METHODS[method])
    scores = [float(torch.sigmoid(image_pass.forward.logits[anchor].detach().float())) for anchor in anchors]
    return [
        Explanation(
            on_image(model, image_pass, heat.cells, heat.level),
            heat.level,
            LEVEL_STRIDES[heat.level - FIRST_LEVEL],
            score,
        )
        for heat, score in zip(heats, scores, strict=True)
    ]


def on_image(model: RetinaNet, image_pass: ImagePass, cells: np.ndarray, level: int) -> np.ndarray:
    """Resample a map (H_l, W_l) of pyramid level P`level` to the image, (H, W)."""
    row = level - FIRST_LEVEL
    return cam_to_image(cells, LEVEL_STRIDES[row], model.origin(row), image_pass.size, image_pass.shape)


def explain_targets(
    model: RetinaNet, image: np.ndarray, input_size: InputSize, targets: Sequence[Target], method: str
) -> list[Explanation]:
    """Explain detections and missed objects of one image in one pass of the network."""
    image_pass = run_image(model, image, input_size)
    anchors = [(find_anchor(image_pass, target), target.label) for target in targets]
    return explain_anchors(model, image_pass, anchors, method)

"""From a batch of images to detections in PyTorch: the one way, for validation, inference and explanation."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from retinanet.images.preprocess import padding_color
from retinanet.inference.detections import DecodeSettings, Detections
from retinanet.inference.detector import Detector
from retinanet.model.decode import Decoded, decode
from retinanet.model.retinanet import RetinaNet
from retinanet.model.weights import TrainedModel


class Outputs(NamedTuple):
    """What the network predicts for N images: logits (N, R, K), deltas (N, R, 4) of anchors (R, 4), level by level.

    level_sizes are how many of the R anchors each level has.
    """

    logits: Tensor
    deltas: Tensor
    anchors: Tensor
    level_sizes: list[int]


def run_network(model: RetinaNet, images: Tensor) -> Outputs:
    """images (N, H, W, 3) uint8, H and W multiples of 32, on any device."""
    size = images.shape[1], images.shape[2]
    logits, deltas = model(model.normalize(images.to(model.mean.device)))
    return Outputs(logits, deltas, model.anchors(*size), model.level_sizes(*size))


def decode_outputs(outputs: Outputs, sizes: Sequence[tuple[int, int]], settings: DecodeSettings) -> list[Decoded]:
    """sizes are (height, width) of each image inside the padding."""
    return decode(*outputs, [*sizes], *astuple(settings))


def to_detections(decoded: Decoded, size: tuple[int, int], original_size: tuple[int, int]) -> Detections:
    """Detections on an image of (height, width) `size`, in pixels of the image before it was resized."""
    ratio = np.array([original_size[1] / size[1], original_size[0] / size[0]] * 2, np.float32)
    boxes, scores, labels = (t.cpu().numpy() for t in (decoded.boxes_xyxy, decoded.scores, decoded.labels))
    return Detections(boxes * ratio, scores, labels)


def torch_detector(trained: TrainedModel, settings: DecodeSettings, device: torch.device | str = "cpu") -> Detector:
    """A Detector of a network in memory, which it moves to the device and puts in eval mode each time it runs."""
    model = trained.model.to(device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(images: np.ndarray, sizes: np.ndarray) -> list[Detections]:
        model.eval()
        inside = [(height, width) for height, width in sizes.tolist()]
        decoded = decode_outputs(run_network(model, torch.from_numpy(images)), inside, settings)
        return [to_detections(one, size, size) for one, size in zip(decoded, inside, strict=True)]

    return Detector(
        run,
        trained.class_names,
        trained.category_ids,
        trained.input_size,
        padding_color(model.backbone.mean),
        trained.tiling,
    )

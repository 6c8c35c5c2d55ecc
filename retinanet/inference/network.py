"""From a batch of images to detections in PyTorch, for validation, inference and explanation alike."""

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
from retinanet.model.folding import for_inference
from retinanet.model.retinanet import RetinaNet
from retinanet.model.weights import TrainedModel


class Outputs(NamedTuple):
    """The network's predictions for N images: logits (N, R, K), deltas (N, R, 4) and anchors (R, 4), level by level.

    anchors_per_level are the numbers of anchors of each level; they add up to R.
    """

    logits: Tensor
    deltas: Tensor
    anchors: Tensor
    anchors_per_level: list[int]


def run_network(model: RetinaNet, images: Tensor) -> Outputs:
    """Apply the model to images (N, H, W, 3) uint8 on any device, H and W multiples of 32."""
    size = images.shape[1], images.shape[2]
    logits, deltas = model(model.normalize(images.to(model.mean.device)))
    return Outputs(logits, deltas, model.anchors(*size), model.anchors_per_level(*size))


def decode_outputs(outputs: Outputs, sizes: Sequence[tuple[int, int]], settings: DecodeSettings) -> list[Decoded]:
    """Threshold, select and suppress; sizes are (height, width) of each image inside the padding."""
    return decode(*outputs, [*sizes], *astuple(settings))


def to_detections(decoded: Decoded, size: tuple[int, int], original_size: tuple[int, int]) -> Detections:
    """Detections on an image of (height, width) `size`, in pixels of the image before it was resized."""
    boxes, scores, labels = (t.cpu().numpy() for t in (decoded.boxes_xyxy, decoded.scores, decoded.labels))
    return Detections(boxes, scores, labels).resized(size, original_size)


def torch_detector(trained: TrainedModel, settings: DecodeSettings, device: torch.device | str = "cpu") -> Detector:
    """A Detector that runs a copy of the trained model on a device, with its batch norms folded, channels last.

    trained.model itself is not changed; changing it later does not change the Detector.
    """
    model = for_inference(trained.model).to(device)

    @torch.inference_mode()
    def run(images: np.ndarray, sizes: np.ndarray) -> list[Detections]:
        inside = [(height, width) for height, width in sizes.tolist()]
        decoded = decode_outputs(run_network(model, torch.from_numpy(images)), inside, settings)
        return [to_detections(found, size, size) for found, size in zip(decoded, inside, strict=True)]

    return Detector(
        run,
        trained.class_names,
        trained.category_ids,
        trained.input_size,
        padding_color(model.backbone.mean),
        trained.score_thresholds,
        trained.tiling,
        trained.reading,
    )

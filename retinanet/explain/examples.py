"""Detect on one image, match the detections to the ground truth, and explain a selection of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from retinanet.dataset.coco import Objects
from retinanet.evaluation.errors import IGNORED, TRUE_POSITIVE, Matching, match_detections
from retinanet.explain.targets import explain_anchors, run_image
from retinanet.images.preprocess import InputSize
from retinanet.inference.detections import DecodeSettings, Detections
from retinanet.inference.network import Outputs, decode_outputs, to_detections
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
    method: str = "hirescam",
) -> Example:
    """Detect like a Detector without tiling, and explain up to `count` detections of at least the threshold of their
    class, (K,).

    model must be in eval mode. image is (H, W, 3) uint8 RGB of any size.
    """
    image_pass = run_image(model, image, input_size)
    forward = image_pass.forward
    padded = image_pass.inputs.shape[-2], image_pass.inputs.shape[-1]
    outputs = Outputs(
        forward.logits[None].detach(), forward.deltas[None], image_pass.anchors, model.anchors_per_level(*padded)
    )
    (decoded,) = decode_outputs(outputs, [image_pass.size], settings)
    detections = to_detections(decoded, image_pass.size, image_pass.shape).above(thresholds)
    matching = match_detections(detections, objects)
    selected = select_examples(matching.outcomes, count)
    anchors = [(int(decoded.anchor_index[row]), int(decoded.labels[row])) for row, _ in selected]
    explanations = explain_anchors(model, image_pass, anchors, method)
    explained = tuple(
        Explained(row, reason, found.heat, found.level, found.stride)
        for (row, reason), found in zip(selected, explanations, strict=True)
    )
    return Example(name, image, detections, objects, matching, explained)


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

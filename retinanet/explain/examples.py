"""One image run through the model, its detections judged, and the telling ones explained."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch

from retinanet.dataset.coco import Objects
from retinanet.evaluation.errors import HIT, IGNORED, Judgement, judge
from retinanet.explain.cam import hirescam
from retinanet.images.preprocess import InputSize, fitted_size, pad_batch, padding_color, resize_to
from retinanet.inference.detections import DecodeSettings, Detections
from retinanet.inference.network import decode_outputs, run_network, to_detections
from retinanet.model.levels import FIRST_LEVEL, LEVEL_STRIDES
from retinanet.model.retinanet import RetinaNet


class Explained(NamedTuple):
    """Why detection `row` was made: heat (H, W) float32 in 0..1 on the image, from the map of pyramid level P`level`.

    stride is how many pixels of the network's input lie between two cells of that map.
    """

    row: int
    why: str
    heat: np.ndarray
    level: int
    stride: int


class Example(NamedTuple):
    """An image (H, W, 3) with what was found on it, what is on it, and which detections were explained."""

    name: str
    image: np.ndarray
    detections: Detections
    objects: Objects
    judgement: Judgement
    explained: tuple[Explained, ...]


def explain_image(
    model: RetinaNet,
    name: str,
    image: np.ndarray,
    objects: Objects,
    input_size: InputSize,
    settings: DecodeSettings,
    score_threshold: float,
    most: int,
) -> Example:
    """Detect as a Detector does on an image that it need not cut, and explain up to `most` of the detections.

    Those above score_threshold are kept. model is in eval mode.
    """
    size = fitted_size(image.shape[0], image.shape[1], input_size)
    batch = torch.from_numpy(pad_batch([resize_to(image, size)], padding_color(model.backbone.mean)))
    with torch.no_grad():
        (found,) = decode_outputs(run_network(model, batch), [size], settings)
    detections = to_detections(found, size, (image.shape[0], image.shape[1])).above(score_threshold)
    judgement = judge(detections, objects)
    chosen = select_examples(judgement.outcomes, most)
    inputs = model.normalize(batch.to(model.mean.device))
    heats = hirescam(model, inputs, [(int(found.anchor_index[row]), int(found.labels[row])) for row, _ in chosen])
    explained = []
    for (row, why), heat in zip(chosen, heats, strict=True):
        level = heat.level - FIRST_LEVEL
        on_image = cam_to_image(heat.cells, LEVEL_STRIDES[level], model.origin(level), size, image.shape)
        explained.append(Explained(row, why, on_image, heat.level, LEVEL_STRIDES[level]))
    return Example(name, image, detections, objects, judgement, tuple(explained))


def select_examples(outcomes: Sequence[str], most: int) -> list[tuple[int, str]]:
    """Up to `most` rows to explain and why, given outcomes best score first.

    The surest hit, the surest fault and the least sure hit come first, then the next surest, hit or fault.
    """
    hits = [row for row, outcome in enumerate(outcomes) if outcome == HIT]
    faults = [row for row, outcome in enumerate(outcomes) if outcome not in (HIT, IGNORED)]
    chosen: dict[int, str] = {}
    for rows, why in ((hits[:1], "surest hit"), (faults[:1], "surest fault"), (hits[-1:], "least sure hit")):
        for row in rows:
            chosen.setdefault(row, why)
    for row, outcome in enumerate(outcomes):
        if outcome != IGNORED:
            chosen.setdefault(row, "hit" if outcome == HIT else "fault")
    return list(chosen.items())[:most]


def cam_to_image(
    cells: np.ndarray, stride: int, origin: float, resized: Sequence[int], image: Sequence[int]
) -> np.ndarray:
    """(H, W) of an image from the cells of a map: each value where the cell looks, linear in between.

    Cells lie `stride` pixels of the network's input apart, the first on pixel `origin`; the image fills the top left
    (rows, columns) `resized` of the input and has those of `image` itself.
    """
    inverse = np.zeros((2, 3))
    for axis, side in ((0, 1), (1, 0)):  # x runs over columns
        ratio = resized[side] / image[side]
        inverse[axis, axis], inverse[axis, 2] = ratio / stride, ((ratio - 1) / 2 - origin) / stride
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(cells, inverse, (image[1], image[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE)

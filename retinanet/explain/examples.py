"""One picture run through the model, its detections judged, and the telling ones explained."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch

from retinanet.dataset.coco import Objects
from retinanet.evaluation.errors import HIT, IGNORED, Judgement, judge
from retinanet.explain.cam import FIRST_LEVEL, grad_cam
from retinanet.images.preprocess import fit_scale, pad_batch, padding_colour, resize
from retinanet.inference.detections import Detections
from retinanet.inference.detector import DecodeSettings
from retinanet.model.anchors import STRIDES
from retinanet.model.decode import decode
from retinanet.model.retinanet import RetinaNet


class Explained(NamedTuple):
    """Why detection `row` was made: heat (H, W) float32 in 0..1 on the picture, from the map of pyramid level P`level`.

    stride is how many pixels of the network's input lie between two cells of that map.
    """

    row: int
    why: str
    heat: np.ndarray
    level: int
    stride: int


class Example(NamedTuple):
    """A picture (H, W, 3) with what was found on it, what is on it, and which detections were explained."""

    name: str
    picture: np.ndarray
    detections: Detections
    objects: Objects
    judgement: Judgement
    explained: tuple[Explained, ...]


def explain_picture(
    model: RetinaNet,
    name: str,
    picture: np.ndarray,
    objects: Objects,
    settings: DecodeSettings,
    score_threshold: float,
    most: int,
) -> Example:
    """Detect as a Detector does on a picture that it need not cut, and explain up to `most` of the detections.

    Those above score_threshold are kept. model is in eval mode.
    """
    height, width = picture.shape[:2]
    scale = fit_scale(height, width, model.settings.short_side, model.settings.long_side)
    resized = resize(picture, scale)
    batch = torch.from_numpy(pad_batch([resized], padding_colour(model.backbone.mean)))
    with torch.no_grad():
        image = model.normalise(batch.to(next(model.parameters()).device))
        logits, deltas = model(image)
    size = image.shape[-2], image.shape[-1]
    found = decode(
        logits,
        deltas,
        model.anchors(*size),
        model.level_sizes(*size),
        [(resized.shape[0], resized.shape[1])],
        settings.score_threshold,
        settings.nms_iou,
        settings.candidates_per_level,
        settings.detections_per_image,
    )[0]
    ratio = np.array([picture.shape[1] / resized.shape[1], picture.shape[0] / resized.shape[0]] * 2, np.float32)
    detections = Detections(
        found.boxes_xyxy.cpu().numpy() * ratio, found.scores.cpu().numpy(), found.labels.cpu().numpy()
    ).above(score_threshold)
    judgement = judge(detections, objects)
    chosen = telling(judgement.outcomes, most)
    heats = grad_cam(model, image, [(int(found.anchor_index[row]), int(found.labels[row])) for row, _ in chosen])
    explained = []
    for (row, why), heat in zip(chosen, heats, strict=True):
        level = heat.level - FIRST_LEVEL
        on_picture = spread(heat.cells, STRIDES[level], model.origin(level), resized.shape, picture.shape)
        explained.append(Explained(row, why, on_picture, heat.level, STRIDES[level]))
    return Example(name, picture, detections, objects, judgement, tuple(explained))


def telling(outcomes: Sequence[str], most: int) -> list[tuple[int, str]]:
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


def spread(cells: np.ndarray, stride: int, origin: float, resized: Sequence[int], picture: Sequence[int]) -> np.ndarray:
    """(H, W) of a picture from the cells of a map: each value where the cell looks, linear in between.

    Cells lie `stride` pixels of the network's input apart, the first on pixel `origin`; the picture fills the top left
    (rows, columns) `resized` of the input and has those of `picture` itself.
    """
    inverse = np.zeros((2, 3))
    for axis, side in ((0, 1), (1, 0)):  # x runs over columns
        ratio = resized[side] / picture[side]
        inverse[axis, axis], inverse[axis, 2] = ratio / stride, ((ratio - 1) / 2 - origin) / stride
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(cells, inverse, (picture[1], picture[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE)
